import { planFields, type PlanView } from './plan.ts'
import { epochRefusal } from './refusal.ts'
import { allDenials, judgeRegister, standingOf, type RegisterRefusal } from './rules.ts'
import type { Caller, ServiceContext } from './service.ts'
import type { AuditEntry, DeviceRecord, OrgRecord } from './records.ts'
import type { Change, OrgSnapshot } from './store.ts'

export interface RegisterAsked {
  readonly deviceId: string
  readonly labels?: Readonly<Record<string, string>> | undefined
  readonly restoreRemoved?: boolean | undefined
  readonly ifEpoch?: number | undefined
}

export interface Registered extends PlanView {
  readonly outcome: 'ok' | 'exists' | RegisterDenial
  readonly epoch: number
  readonly orgEpoch: number
  /** What denies the device all the same. */
  readonly stillDeniedBy: readonly string[]
}

export type RegisterDenial = Exclude<RegisterRefusal, 'EPOCH_REQUIRED' | 'EPOCH_STALE'>

/** What registering changes. Throws `EPOCH_STALE` or `EPOCH_REQUIRED`; every other no is an `outcome`. */
export function registerDevice(
  context: Pick<ServiceContext, 'nowMs' | 'entry'>,
  caller: Caller,
  snapshot: OrgSnapshot,
  asked: RegisterAsked,
): Change<Registered> {
  const {
    org,
    devices: [device],
    lowestFreeSlot = 1,
  } = snapshot
  const locked = snapshot.lockedDevices.has(asked.deviceId)
  const { restoreRemoved = false, ifEpoch } = asked
  const verdict = judgeRegister({ org, device, lowestFreeSlot }, { restoreRemoved, ifEpoch })
  const note = (action: string, details: Partial<AuditEntry>) =>
    context.entry(caller, action, { deviceId: asked.deviceId, ...details })

  switch (verdict.admit) {
    case 'no':
      if (verdict.code === 'EPOCH_REQUIRED' || verdict.code === 'EPOCH_STALE') {
        const current = device?.epoch ?? 0
        throw epochRefusal(verdict.code, { ifEpoch, current, what: 'the removed device' })
      }
      return { result: registered(verdict.code, { org, device, locked }) }
    case 'exists':
      return relabelled({ org, device, locked }, newLabels(caller, asked), note)
    case 'new': {
      const added = newDevice(asked, verdict.slot, context.nowMs())
      const audit = note('device.register', { after: described(added) })
      return admitted({ org: { ...org, used: org.used + 1 }, device: added, locked }, audit)
    }
    case 'returning': {
      const epoch = org.epoch + 1
      const back = { ...newDevice(asked, verdict.slot, context.nowMs()), ...kept(device, asked), epoch }
      const audit = note('device.restore_removed', {
        before: described(device),
        after: described(back),
      })
      return admitted({ org: { ...org, epoch, used: org.used + 1 }, device: back, locked }, audit)
    }
  }
}

function newDevice({ deviceId, labels = {} }: RegisterAsked, slot: number, nowMs: number): DeviceRecord {
  const untouched = { revoked: false, removed: false, epoch: 0, reason: null, remindAtMs: null }
  return { deviceId, slot, labels, ...untouched, createdAtMs: nowMs, changedAtMs: nowMs }
}

/** What a tombstone brings back: above all its revoked flag. */
function kept(device: DeviceRecord | undefined, asked: RegisterAsked): Partial<DeviceRecord> {
  if (device === undefined) return {}
  const { revoked, createdAtMs, labels } = device
  return { revoked, createdAtMs, labels: asked.labels ?? labels }
}

interface Standing {
  readonly org: OrgRecord
  readonly device: DeviceRecord | undefined
  readonly locked: boolean
}

function admitted(
  after: Standing & { readonly device: DeviceRecord },
  audit: AuditEntry,
): Change<Registered> {
  return { org: after.org, devices: [after.device], audit: [audit], result: registered('ok', after) }
}

/** Registering again changes nothing but the labels, when there are new ones. It is no restore (G6). */
function relabelled(
  standing: Standing,
  labels: RegisterAsked['labels'],
  note: (action: string, details: Partial<AuditEntry>) => AuditEntry,
): Change<Registered> {
  const { device } = standing
  const result = registered('exists', standing)
  if (device === undefined || labels === undefined || sameLabels(labels, device.labels)) return { result }
  const audit = note('device.labels', { before: device.labels, after: labels })
  return { devices: [{ ...device, labels }], audit: [audit], result }
}

function registered(outcome: Registered['outcome'], { org, device, locked }: Standing): Registered {
  const plan = planFields(org)
  return {
    ...plan,
    // MachineID says so of an org that is exactly full, once something was refused for it.
    overLimit: plan.overLimit || outcome === 'DEVICE_LIMIT_REACHED',
    outcome,
    epoch: device?.epoch ?? 0,
    orgEpoch: org.epoch,
    stillDeniedBy: allDenials(standingOf(org, device, locked)),
  }
}

/** A stop by label must find a device again, whatever an agent calls it meanwhile. */
function newLabels({ kind }: Caller, { labels }: RegisterAsked): RegisterAsked['labels'] {
  return kind === 'runtime' ? undefined : labels
}

function sameLabels(
  left: Readonly<Record<string, string>>,
  right: Readonly<Record<string, string>>,
): boolean {
  const names = Object.keys(left)
  return names.length === Object.keys(right).length && names.every((name) => left[name] === right[name])
}

function described(device: DeviceRecord | undefined) {
  return device === undefined ? null : { ...visible(device), labels: device.labels }
}

/** What an audit row says of a device. */
export function visible({ revoked, removed, slot, epoch }: DeviceRecord) {
  return { revoked, removed, slot, epoch }
}
