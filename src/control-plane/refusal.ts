import { HoldpointError } from '../errors.ts'
import { deviceIdProblem } from '../guard/device.ts'
import { orList } from '../machineid/wire.ts'
import { judgeEpoch } from './rules.ts'
import type { OrgRecord } from './records.ts'

/** What the control plane says no with, and the HTTP status of each. Nothing was changed. */
export const REFUSALS = {
  BAD_REQUEST: 400,
  TOO_MANY_DEVICES: 400,
  DEVICE_ID_INVALID: 400,
  KEY_MISSING: 401,
  KEY_INVALID: 401,
  KEY_BURNED: 401,
  KEY_EXPIRED: 401,
  SESSION_REQUIRED: 401,
  SESSION_ENDED: 401,
  PLATFORM_TOKEN_INVALID: 401,
  INSUFFICIENT_SCOPE: 403,
  KEY_NOT_BOUND_TO_DEVICE: 403,
  PLATFORM_TOKEN_NOT_CONFIGURED: 403,
  HOST_NOT_ALLOWED: 403,
  ORIGIN_NOT_ALLOWED: 403,
  CSRF_REFUSED: 403,
  HTTPS_REQUIRED: 403,
  DEVICE_REVOKED: 403,
  DEVICE_REMOVED: 403,
  DEVICE_LIMIT_REACHED: 403,
  NOT_FOUND: 404,
  ORG_NOT_FOUND: 404,
  DEVICE_NOT_REGISTERED: 404,
  LOCK_NOT_FOUND: 404,
  KEY_NOT_FOUND: 404,
  APPROVAL_NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  APPROVAL_CONFLICT: 409,
  APPROVAL_NOT_WAITING: 409,
  APPROVAL_DIGEST_MISMATCH: 409,
  ORG_DISABLED: 409,
  DRILL_EXISTS: 409,
  DRILL_RUNNING: 409,
  DRILLS_NOT_CONFIGURED: 409,
  EPOCH_STALE: 409,
  KEY_ENDED: 409,
  LAST_OWNER: 409,
  TOO_MANY_OWNERS: 409,
  RECOVERY_LINK_INVALID: 410,
  WRONG_LANE: 421,
  EPOCH_REQUIRED: 428,
  RATE_LIMITED: 429,
  TOO_MANY_STREAMS: 429,
  TOO_MANY_APPROVALS: 429,
  OVERLOADED: 503,
} as const

export type RefusalCode = keyof typeof REFUSALS

export class Refusal extends HoldpointError {
  override readonly name = 'Refusal'
  declare readonly code: RefusalCode
  /** More fields for the answer, such as the current `epoch`. */
  readonly fields: Readonly<Record<string, unknown>>

  constructor(code: RefusalCode, message: string, fields: Readonly<Record<string, unknown>> = {}) {
    super(code, message)
    this.fields = fields
  }

  get statusCode(): number {
    return REFUSALS[this.code]
  }
}

/** Compare-and-set on an epoch (G6): throws `EPOCH_STALE` or `EPOCH_REQUIRED` with the current one. */
export function assertEpoch(current: number, ifEpoch: number | undefined, what: string): void {
  const code = judgeEpoch(current, ifEpoch)
  if (code !== undefined) throw epochRefusal(code, { ifEpoch, current, what })
}

/** `what` has the epoch, for example `the device`. */
export function epochRefusal(
  code: 'EPOCH_STALE' | 'EPOCH_REQUIRED',
  asked: { readonly ifEpoch: number | undefined; readonly current: number; readonly what: string },
): Refusal {
  const { ifEpoch, current, what } = asked
  const message =
    code === 'EPOCH_STALE'
      ? `ifEpoch is ${ifEpoch}, but ${what}'s epoch is ${current}. Look at it again before you restore.`
      : `A restore needs "ifEpoch", the epoch you last saw. At present ${what}'s epoch is ${current}.`
  return new Refusal(code, message, { epoch: current })
}

export function notACursor(): Refusal {
  return new Refusal('BAD_REQUEST', '"cursor" must be the nextCursor of the page before.')
}

export function existingOrg(org: OrgRecord | undefined): OrgRecord {
  if (org === undefined) throw new Refusal('ORG_NOT_FOUND', 'There is no such org. Check the org ID.')
  return org
}

export function missingKey(): Refusal {
  return new Refusal('KEY_MISSING', 'Send the org key in the header x-org-key, never in the URL.')
}

export function invalidKey(): Refusal {
  return new Refusal(
    'KEY_INVALID',
    'This org key is not known here. Compare it, its end too, with the one that was issued.',
  )
}

/** For a genuine key whose time has passed. */
export function endedKey(problem: 'KEY_BURNED' | 'KEY_EXPIRED'): Refusal {
  return problem === 'KEY_BURNED'
    ? new Refusal(problem, 'This key was burned. Ask an admin of the org for a new one.')
    : new Refusal(problem, 'This key was rotated and its overlap has passed. Use the key that replaced it.')
}

export function wrongKind(kind: string, wanted: readonly string[]): Refusal {
  const article = /^[aeiou]/.test(kind) ? 'An' : 'A'
  return new Refusal(
    'INSUFFICIENT_SCOPE',
    `${article} ${kind} key may not do this. It takes a key of kind ${orList(wanted)}.`,
  )
}

export function notBound(): Refusal {
  return new Refusal(
    'KEY_NOT_BOUND_TO_DEVICE',
    'This runtime key is bound to other devices. Use the key of this device, or issue one that covers it.',
  )
}

/** For a value that `deviceIdProblem` complains about. The value is not told: it may be a key. */
export function invalidDeviceId(value: unknown, field = 'deviceId'): Refusal {
  const problem = deviceIdProblem(value) ?? 'Compare it with the one that was registered.'
  return new Refusal('DEVICE_ID_INVALID', `"${field}" ${whatIsWrong(value)}. ${problem}`)
}

function whatIsWrong(value: unknown): string {
  if (value === undefined) return 'is missing'
  if (typeof value !== 'string') return 'must be a string'
  return value === '' ? 'is empty' : 'is not valid'
}
