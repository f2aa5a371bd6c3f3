import type { Mail } from './mail.ts'
import type { OwnersChanged } from './owners.ts'
import type { Recovered, RecoveryLink } from './recovery-links.ts'
import type { Caller } from './service.ts'
import type { HeldSession } from './sessions/session-service.ts'

interface Occasion {
  readonly caller: Caller
  readonly atMs: number
  /** Without a slash at its end. */
  readonly consoleUrl: string
}

/** The token stands behind the #, where no server, proxy or referrer gets to see it. */
function linkOf(consoleUrl: string, token: string): string {
  return `${consoleUrl}/recover#token=${token}`
}

export function linkMail(
  to: string,
  links: readonly Pick<RecoveryLink, 'orgId' | 'token'>[],
  { caller, atMs, consoleUrl }: Occasion,
): Mail {
  const [first, ...others] = links
  const orgs = others.length === 0 ? `org ${first?.orgId}` : `${links.length} orgs`
  return {
    to,
    subject: `Sign in to ${orgs}`,
    text: lines(
      `Somebody asked for a link to ${orgs}, of which this address is an owner.`,
      'Open the link and choose there: sign in to the console, or make a new admin key. It works once, for 15 minutes.',
      ...links.map(({ orgId, token }) => `${orgId}:\n${linkOf(consoleUrl, token)}`),
      `Asked ${fromWhere(caller)}, ${time(atMs)}.`,
      'If that was not you, do nothing: nothing has changed. Do not pass the link on.',
    ),
  }
}

export function recoveredMails(
  { orgId, keyId, email, owners }: Recovered,
  { caller, atMs, consoleUrl }: Occasion,
): Mail[] {
  const text = lines(
    `A new admin key of org ${orgId} was made with a recovery link that was mailed to ${email}.`,
    `Key ID: ${keyId}\nMade ${fromWhere(caller)}, ${time(atMs)}.`,
    'If none of you did this, burn that key now, with any other admin key of the org (one from a recovery link of your own will do):',
    `curl -X POST ${consoleUrl}/api/v1/org/keys/${keyId}/burn -H "x-org-key: $HOLDPOINT_KEY"`,
    `Then find out who else reads the mail of ${email}, and look at GET /api/v1/audit for what the key has done.`,
    'Recovery itself restored no device, released no lock, enabled nothing and burned no key. It ended every session in the console.',
  )
  return owners.map((to) => ({ to, subject: `A new admin key of org ${orgId} was made by recovery`, text }))
}

export function signedInMails(
  { session, email, owners }: HeldSession & { readonly email: string; readonly owners: readonly string[] },
  { caller, atMs, consoleUrl }: Occasion,
): Mail[] {
  const { orgId, keyId, sessionId, endsAtMs } = session
  const text = lines(
    `Somebody signed in to the console of org ${orgId} with a link that was mailed to ${email}, as an admin.`,
    `Session: ${sessionId}\nKey ID: ${keyId}\nSigned in ${fromWhere(caller)}, ${time(atMs)}. It ends by ${time(endsAtMs)}.`,
    'If none of you did this, burn its key now, in the console or with any other admin key of the org:',
    `curl -X POST ${consoleUrl}/api/v1/org/keys/${keyId}/burn -H "x-org-key: $HOLDPOINT_KEY"`,
    `Then find out who else reads the mail of ${email}, and look at GET /api/v1/audit for what the session has done.`,
  )
  return owners.map((to) => ({ to, subject: `Somebody signed in to org ${orgId} by mail`, text }))
}

export function ownersMails(
  { orgId, before, owners }: OwnersChanged,
  { caller, atMs, consoleUrl }: Occasion,
): Mail[] {
  const list = (addresses: readonly string[]) =>
    addresses.length === 0 ? '  nobody' : addresses.map((address) => `  ${address}`).join('\n')
  const text = lines(
    `The owners of org ${orgId} were changed. Owners are the addresses that recovery links are mailed to.`,
    `Before:\n${list(before)}`,
    `Now:\n${list(owners)}`,
    `Changed with the ${caller.kind} key ${caller.actor} ${fromWhere(caller)}, ${time(atMs)}.`,
    'If that is wrong, burn that key and put the owners back, with any other admin key of the org:',
    `curl -X POST ${consoleUrl}/api/v1/org/keys/${caller.actor}/burn -H "x-org-key: $HOLDPOINT_KEY"`,
  )
  const told = [...new Set([...before, ...owners])]
  return told.map((to) => ({ to, subject: `The owners of org ${orgId} were changed`, text }))
}

function fromWhere({ origin }: Caller): string {
  return `from ${origin ?? 'an unknown address'}`
}

function time(atMs: number): string {
  return new Date(atMs).toISOString()
}

function lines(...paragraphs: string[]): string {
  return `${paragraphs.join('\n\n')}\n`
}
