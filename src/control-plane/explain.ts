import { PATHS } from '../machineid/paths.ts'
import { orList, PLAN_LIMITS, type KeyKind } from '../machineid/wire.ts'
import { actorOf } from './evidence-rows.ts'
import { MAY_MANAGE, MAY_RESTORE } from './key-kinds.ts'
import { keyProblem } from './keys.ts'
import type { AuditRow, DecisionRecord, KeyRecord, LockRecord, OrgRecord } from './records.ts'
import { allDenials, decide } from './rules.ts'
import type { DeviceState } from './store.ts'

/** What is known about one decision, and about what it was about, as it is now. */
export interface DecisionFacts {
  readonly decision: DecisionRecord
  /** The change that brought the denial about. */
  readonly stop: AuditRow | undefined
  /** The key that asked. */
  readonly key: KeyRecord | undefined
  readonly org: OrgRecord
  readonly device: DeviceState | undefined
  /** The active locks that match the device. */
  readonly locks: readonly LockRecord[]
  readonly nowMs: number
}

/** For whoever is woken up by it: why, by whom, what holds now, and what to do. */
export interface Explanation {
  /** One sentence. */
  readonly why: string
  readonly stop: {
    readonly action: string
    /** For example `stop:mfzwizltoq2gc3tu`, or `platform`. */
    readonly by: string
    readonly at: string
    readonly reason: string | null
    readonly epoch: number | null
  } | null
  /** The code that a validate would get. */
  readonly now: string
  /** Calls as they are to be made, and by whom. */
  readonly next: readonly string[]
}

export function explain(facts: DecisionFacts): Explanation {
  const { decision, stop, org, device, locks } = facts
  const { disabled: orgDisabled, planState, cap } = org
  const standing = { orgDisabled, planState, cap, device, locked: locks.length > 0 }
  return {
    why: whyOf(decision, stop),
    stop: stop === undefined ? null : stopOf(stop),
    now: decide(standing),
    next: nextOf(facts, allDenials(standing)),
  }
}

/** The actions that bring a denial with this code about; the newest one before it did. */
export function stopActions(code: string): readonly string[] {
  return STOP_ACTIONS[code] ?? []
}

const STOP_ACTIONS: Readonly<Record<string, readonly string[]>> = {
  ORG_DISABLED: ['org.disable'],
  PLAN_NOT_ACTIVE: ['org.plan'],
  DEVICE_REMOVED: ['device.remove'],
  DEVICE_REVOKED: ['device.revoke'],
  DEVICE_LOCKED: ['lock.add'],
  DEVICE_OVER_LIMIT: ['org.plan', 'org.plan_ended'],
}

function stopOf(row: AuditRow): NonNullable<Explanation['stop']> {
  const { epoch = null } = (row.after ?? {}) as After
  return {
    action: row.action,
    by: actorOf(row),
    at: new Date(row.atMs).toISOString(),
    reason: row.reason,
    epoch,
  }
}

/** What the rows of stops say, as far as it is told here. */
interface After {
  readonly epoch?: number
  readonly pattern?: string
  readonly planState?: string
  readonly limit?: number
}

interface Told {
  readonly id: string
  readonly asked: string
  readonly code: string
  /** ` by … at …`, and `: "…"`: empty where that is not known. */
  readonly by: string
  readonly reason: string
  readonly after: After
}

function whyOf({ code, deviceId, asked }: DecisionRecord, stop: AuditRow | undefined): string {
  const reason = stop?.reason ?? null
  const say = WHY[code] ?? (({ id }) => `${id} was denied with ${code} by ${asked}.`)
  return say({
    id: deviceId,
    asked,
    code,
    by: stop === undefined ? '' : ` by ${actorOf(stop)} at ${new Date(stop.atMs).toISOString()}`,
    reason: reason === null ? '' : `: "${reason}"`,
    after: stop?.after ?? {},
  })
}

const WHY: Readonly<Record<string, (told: Told) => string>> = {
  ALLOW: ({ id }) => `${id} was allowed.`,
  ORG_DISABLED: ({ by, reason }) => `The whole org was disabled${by}${reason}.`,
  PLAN_NOT_ACTIVE: ({ by, after: { planState = 'a state that allows nothing' } }) =>
    `The plan of the org was set to ${planState}${by}.`,
  DEVICE_NOT_REGISTERED: ({ id }) => `This org had no device ${id}.`,
  DEVICE_REMOVED: ({ id, by, reason }) => `${id} was removed${by}${reason}.`,
  DEVICE_REVOKED: ({ id, by, reason }) => `${id} was revoked${by}${reason}.`,
  DEVICE_LOCKED: ({ id, by, reason, after: { pattern } }) =>
    pattern === undefined
      ? `A lock stopped ${id}.`
      : `${id} was stopped by the lock on ${pattern}, set${by}${reason}.`,
  DEVICE_OVER_LIMIT: ({ id, by, after: { limit } }) =>
    `${id} has a slot above what the plan has room for${limit === undefined ? '' : `, which is ${limit} devices since it was changed${by}`}.`,
  DEVICE_LIMIT_REACHED: ({ id }) => `${id} could not be registered: every slot of the plan was taken.`,
}

function nextOf(facts: DecisionFacts, denials: readonly string[]): string[] {
  const { decision, key, nowMs } = facts
  const steps = denials.flatMap((code) => UNDO[code]?.(facts) ?? [])
  const ended = key === undefined ? 'KEY_INVALID' : keyProblem(key, nowMs)
  if (ended !== undefined) {
    const wanted = { kind: 'runtime', bindings: [decision.deviceId] }
    steps.push(
      `The key that asked, ${decision.keyId}, is no longer good (${ended}). Issue another: ${call(PATHS.keys, wanted, MAY_MANAGE)}`,
    )
  }
  return steps.length > 0 ? steps : ['Nothing is to be done: a validate would be allowed now.']
}

/** What takes each denial away, as it stands now. */
const UNDO: Readonly<Record<string, (facts: DecisionFacts) => string[]>> = {
  ORG_DISABLED: ({ org }) => [call(PATHS.orgEnable, { ifEpoch: org.orgSwitch.epoch }, MAY_MANAGE)],
  PLAN_NOT_ACTIVE: ({ org: { orgId, planTier: tier, cap: limit } }) => [
    platformCall({ orgId, tier, ...(tier === 'custom' && { limit }) }),
  ],
  DEVICE_NOT_REGISTERED: ({ org, decision: { deviceId } }) => [
    ...room(org),
    `If the process is meant to be ${deviceId}: ${call(PATHS.register, { deviceId }, ['runtime', ...MAY_RESTORE])}`,
  ],
  DEVICE_REMOVED: ({ org, device, decision: { deviceId } }) => [
    ...room(org),
    call(PATHS.register, { deviceId, restoreRemoved: true, ifEpoch: device?.epoch ?? 0 }, MAY_RESTORE),
  ],
  DEVICE_REVOKED: ({ device, decision: { deviceId } }) => [
    device?.removed === true
      ? // Bringing it back raises the epoch.
        `Then, with the epoch that this answers: ${call(PATHS.unrevoke, { deviceId, ifEpoch: '…' }, MAY_RESTORE)}`
      : call(PATHS.unrevoke, { deviceId, ifEpoch: device?.epoch ?? 0 }, MAY_RESTORE),
  ],
  DEVICE_LOCKED: ({ locks }) =>
    locks.map(({ lockId, epoch }) =>
      call(PATHS.lockRelease.replace(':id', lockId), { ifEpoch: epoch }, MAY_RESTORE),
    ),
  DEVICE_OVER_LIMIT: ({ org: { orgId }, device }) =>
    // A device without a slot is denied for another reason, and gets one with what takes that away.
    device === undefined || device.slot === null
      ? []
      : [
          `Make the plan larger: ${platformCall({ orgId, ...planFor(device.slot) })}`,
          'Or remove a device that has a lower slot and is not needed, then this one, and register it anew: it gets the lowest slot that is free.',
        ],
}

/** What is in the way of a device that is to be registered. */
function room({ orgId, used, cap }: OrgRecord): string[] {
  if (used < cap) return []
  return [
    `Every slot is taken (${used} of ${cap}). Remove a device that is not needed: ${call(PATHS.remove, { deviceId: '…' }, MAY_RESTORE)}`,
    `Or make the plan larger: ${platformCall({ orgId, ...planFor(used + 1) })}`,
  ]
}

function planFor(devices: number): { readonly tier: string; readonly limit?: number } {
  const [tier] = Object.entries(PLAN_LIMITS).find(([, limit]) => limit >= devices) ?? []
  return tier === undefined ? { tier: 'custom', limit: devices } : { tier }
}

function call(path: string, body: object, kinds: readonly KeyKind[]): string {
  return `POST ${path} ${JSON.stringify(body)} with a key of kind ${orList(kinds)}`
}

function platformCall(body: object): string {
  return `POST ${PATHS.orgPlan} ${JSON.stringify(body)} with the platform token`
}
