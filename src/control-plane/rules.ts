import type { AuthorityDenialCode } from '../machineid/wire.ts'
import type { DeviceRecord, OrgRecord } from './records.ts'

// Every decision code is born here, from a plain snapshot. No clock, no promises, no store.

/** What a validate is decided from. */
export interface Standing {
  readonly orgDisabled: boolean
  readonly planState: string
  readonly cap: number
  readonly device: Pick<DeviceRecord, 'revoked' | 'removed' | 'slot'> | undefined
  /** An active lock matches the device. */
  readonly locked: boolean
}

/** Why a device is denied, in the order in which it is told: the first that holds is the code. */
const DENIALS: readonly (readonly [AuthorityDenialCode, (standing: Standing) => boolean])[] = [
  ['ORG_DISABLED', (s) => s.orgDisabled],
  ['PLAN_NOT_ACTIVE', (s) => s.planState !== 'active' && s.planState !== 'canceled'],
  ['DEVICE_NOT_REGISTERED', (s) => s.device === undefined],
  ['DEVICE_REMOVED', (s) => s.device?.removed === true],
  ['DEVICE_REVOKED', (s) => s.device?.revoked === true],
  ['DEVICE_LOCKED', (s) => s.locked],
  ['DEVICE_OVER_LIMIT', (s) => !hasSlotWithin(s.device, s.cap)],
]

export type DecisionCode = 'ALLOW' | AuthorityDenialCode

export function decide(standing: Standing): DecisionCode {
  for (const [code, holds] of DENIALS) if (holds(standing)) return code
  return 'ALLOW'
}

/** Everything that denies a device, in the same order: what is left in the way after a restore. */
export function allDenials(standing: Standing): AuthorityDenialCode[] {
  return DENIALS.filter(([, holds]) => holds(standing)).map(([code]) => code)
}

function hasSlotWithin(device: Standing['device'], cap: number): boolean {
  return device !== undefined && device.slot !== null && device.slot <= cap
}

/** How a device stands within its org as it is in a transaction. */
export function standingOf(org: OrgRecord, device: DeviceRecord | undefined, locked: boolean): Standing {
  return { orgDisabled: org.disabled, planState: org.planState, cap: org.cap, device, locked }
}

export type RegisterVerdict =
  | { readonly admit: 'new' | 'returning'; readonly slot: number }
  | { readonly admit: 'exists' }
  | { readonly admit: 'no'; readonly code: RegisterRefusal }

export type RegisterRefusal =
  'DEVICE_REMOVED' | 'DEVICE_REVOKED' | 'DEVICE_LIMIT_REACHED' | 'EPOCH_REQUIRED' | 'EPOCH_STALE'

/** G7: a slot is given only while used < cap. G6: a removed device returns only against its own epoch. */
export function judgeRegister(
  found: {
    readonly org: OrgRecord
    readonly device: DeviceRecord | undefined
    readonly lowestFreeSlot: number
  },
  asked: { readonly restoreRemoved: boolean; readonly ifEpoch: number | undefined },
): RegisterVerdict {
  const { org, device, lowestFreeSlot } = found
  if (device?.removed === true) {
    if (!asked.restoreRemoved) return { admit: 'no', code: 'DEVICE_REMOVED' }
    const stale = judgeEpoch(device.epoch, asked.ifEpoch)
    if (stale !== undefined) return { admit: 'no', code: stale }
  } else if (device !== undefined) {
    return device.revoked ? { admit: 'no', code: 'DEVICE_REVOKED' } : { admit: 'exists' }
  }
  if (org.used >= org.cap) return { admit: 'no', code: 'DEVICE_LIMIT_REACHED' }
  return { admit: device === undefined ? 'new' : 'returning', slot: lowestFreeSlot }
}

/** G6: what turns a denial into an allow is compare-and-set. Undefined when it may go on. */
export function judgeEpoch(
  current: number,
  ifEpoch: number | undefined,
): 'EPOCH_REQUIRED' | 'EPOCH_STALE' | undefined {
  if (ifEpoch === undefined) return 'EPOCH_REQUIRED'
  return ifEpoch === current ? undefined : 'EPOCH_STALE'
}
