// Of config.ts: variables that must be set together, or not.

type Env = Readonly<Record<string, string | undefined>>

export function oneKey(env: Env, problems: string[]): void {
  if (env['MACHINEID_ORG_KEY'] && env['MACHINEID_ORG_KEY_FILE']) {
    problems.push('MACHINEID_ORG_KEY and MACHINEID_ORG_KEY_FILE: set only one')
  }
}

/** Where each listens unless it is told otherwise. */
export const PORTS = { CONTROL_PLANE_PORT: 4100, OPERATOR_PORT: 4101, TOOL_SERVER_PORT: 4200 }

/** What runs on one machine needs a port each; 0 is any that is free. */
export function differentPorts(env: Env, problems: string[], names: readonly (keyof typeof PORTS)[]): void {
  const portOf = (name: keyof typeof PORTS) => Number(env[name] || PORTS[name])
  for (const [index, name] of names.entries()) {
    const other = names
      .slice(0, index)
      .find((before) => portOf(before) === portOf(name) && portOf(name) !== 0)
    if (other !== undefined)
      problems.push(`${name}: the same as ${other}, ${portOf(name)}; take another port`)
  }
}

export function drills(env: Env, problems: string[]): void {
  if (env['DRILL_TOKEN'] && env['DRILL_TOKEN_FILE'])
    problems.push('DRILL_TOKEN and DRILL_TOKEN_FILE: set only one')
  const needUrl = ['DRILL_TOKEN', 'DRILL_TOKEN_FILE', 'DRILL_ORG_ID'].filter((name) => env[name])
  if (!env['DRILL_TOOL_SERVER_URL'] && needUrl.length > 0)
    problems.push(`DRILL_TOOL_SERVER_URL: required with ${needUrl.join(' and ')}`)
}

export function mailFrom(env: Env, problems: string[]): void {
  if (env['SMTP_URL'] && !env['MAIL_FROM'])
    problems.push('MAIL_FROM: required with SMTP_URL; the sender that the mail server lets you use')
}

/** With a test key Stripe's own test card pays; whose card a live key charges must be said. */
export function realMoney(env: Env, problems: string[]): void {
  const isLive = /^[sr]k_live_/.test(env['STRIPE_API_KEY'] ?? '')
  if (isLive && !env['STRIPE_PAYMENT_METHOD'])
    problems.push('STRIPE_PAYMENT_METHOD: required with a live STRIPE_API_KEY; the pm_… that is charged')
  const needKey = ['STRIPE_PAYMENT_METHOD', 'STRIPE_CUSTOMER', 'STRIPE_API_BASE'].filter((name) => env[name])
  if (!env['STRIPE_API_KEY'] && needKey.length > 0)
    problems.push(`STRIPE_API_KEY: required with ${needKey.join(' and ')}`)
}

const MAKE_ONE = 'the same for all; make one with: openssl rand -hex 32'

/** What every node must know alike. */
export function sharedStore(env: Env, problems: string[]): void {
  if (env['DATABASE_URL'] && !env['PLATFORM_TOKEN'])
    problems.push(`PLATFORM_TOKEN: required with DATABASE_URL, ${MAKE_ONE}`)
  const needUrl = ['CONSISTENCY', 'VALIDATE_POOL_SIZE', 'DATABASE_POOL_SIZE'].filter((name) => env[name])
  if (!env['DATABASE_URL'] && needUrl.length > 0)
    problems.push(`DATABASE_URL: required with ${needUrl.join(' and ')}; without it the store is SQLite`)
}

/** A run that one replica has sealed must open on the others. */
export function sharedRuns(env: Env, problems: string[]): void {
  if (env['TOOL_DATABASE_URL'] && !env['RUN_STATE_KEY'])
    problems.push(`RUN_STATE_KEY: required with TOOL_DATABASE_URL, ${MAKE_ONE}`)
}
