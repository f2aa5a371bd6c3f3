import { z } from 'zod'

import { PATHS } from '../machineid/paths.ts'

/** One call that the authority names as the next step, as its text has it: `POST /api/v1/… {…} with a key of kind …`. */
const CALL = /POST (\/api\/v1\/\S+) (\{.*\}) with (?:a key of kind .*|the platform token)$/
const RELEASE = /^\/api\/v1\/locks\/([^/]+)\/release$/
const Body = z.object({
  deviceId: z.string().optional(),
  restoreRemoved: z.boolean().optional(),
  orgId: z.string().optional(),
  tier: z.string().optional(),
  limit: z.number().optional(),
  kind: z.string().optional(),
  bindings: z.array(z.string()).optional(),
})
type Body = z.infer<typeof Body>

/**
 * The command for a step that the authority names as an HTTP call; undefined for a step that is none. Epochs are left
 * out: the command looks at what holds and names the epoch itself.
 */
export function commandOf(step: string): string | undefined {
  const [, path, json] = CALL.exec(step) ?? []
  if (path === undefined || json === undefined) return undefined
  const lockId = RELEASE.exec(path)?.[1]
  if (lockId !== undefined) return `holdpoint lock release ${lockId}`
  const body = Body.safeParse(parsed(json))
  return body.success ? COMMANDS[path]?.(body.data) : undefined
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
