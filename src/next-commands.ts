import { PATHS } from './machineid/paths.ts'

// What an operator types for what the authority names as the next step: told by the command line and by the console.

/** One call that the authority names as the next step, as its text has it: `POST /api/v1/… {…} with a key of kind …`. */
const CALL = /POST (\/api\/v1\/\S+) (\{.*\}) with (?:a key of kind .*|the platform token)$/
const RELEASE = /^\/api\/v1\/locks\/([^/]+)\/release$/

interface Body {
  readonly deviceId?: string
  readonly restoreRemoved?: boolean
  readonly tier?: string
  readonly limit?: number
  readonly kind?: string
  readonly bindings?: readonly string[]
}
const isA = (type: string) => (value: unknown) => typeof value === type
const FIELDS: { readonly [Name in keyof Body]-?: (value: unknown) => boolean } = {
  deviceId: isA('string'),
  restoreRemoved: isA('boolean'),
  tier: isA('string'),
  limit: isA('number'),
  kind: isA('string'),
  bindings: (value) => Array.isArray(value) && value.every(isA('string')),
}

/**
 * The command for a step that the authority names as an HTTP call; undefined for a step that is none. Epochs are left
 * out: the command looks at what holds and names the epoch itself.
 */
export function commandOf(step: string): string | undefined {
  const [, path, json] = CALL.exec(step) ?? []
  if (path === undefined || json === undefined) return undefined
  const lockId = RELEASE.exec(path)?.[1]
  if (lockId !== undefined) return `holdpoint lock release ${lockId}`
  const body = parsed(json)
  return isBody(body) ? COMMANDS[path]?.(body) : undefined
}

const COMMANDS: Readonly<Record<string, (body: Body) => string>> = {
  [PATHS.orgEnable]: () => 'holdpoint org enable',
  [PATHS.unrevoke]: ({ deviceId }) => `holdpoint devices restore ${deviceId}`,
  [PATHS.register]: ({ deviceId, restoreRemoved }) =>
    `holdpoint devices register ${deviceId}${restoreRemoved === true ? ' --restore-removed' : ''}`,
  [PATHS.remove]: () => 'holdpoint devices rm ID',
  [PATHS.orgPlan]: ({ tier, limit }) =>
    `holdpoint org plan ${tier}${limit === undefined ? '' : ` --limit ${limit}`}`,
  [PATHS.keys]: ({ kind, bindings = [] }) =>
    `holdpoint keys create --kind ${kind}${bindings.map((binding) => ` --bind ${binding}`).join('')}`,
}

function isBody(value: unknown): value is Body {
  if (typeof value !== 'object' || value === null) return false
  const fields = value as Readonly<Record<string, unknown>>
  return Object.entries(FIELDS).every(([name, fits]) => fields[name] === undefined || fits(fields[name]))
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}

/** What a stop was about, as its row of the audit has it. */
export interface Stopped {
  readonly action: string
  readonly deviceIds: readonly string[]
  readonly deviceCount: number
  readonly pattern: string | null
}

/** The command that undoes a stop, whatever else still holds. */
export function restoreCommand({ action, deviceIds, deviceCount, pattern }: Stopped): string {
  const [deviceId] = deviceIds
  switch (action) {
    case 'org.disable':
      return 'holdpoint org enable'
    case 'lock.add':
      return `holdpoint lock release ${quotedPattern(pattern)}`
    case 'device.remove':
      return `holdpoint devices register ${deviceId ?? 'ID'} --restore-removed`
    case 'device.revoke':
      return `holdpoint devices restore ${deviceCount === 1 ? deviceId : deviceIds.join(' ')}${deviceCount > deviceIds.length ? ' …' : ''}`
    default:
      return 'holdpoint keys create --kind runtime'
  }
}

/** A shell would look for files. */
export function quotedPattern(pattern: string | null): string {
  return pattern === null ? 'ID' : `'${pattern}'`
}
