import { existingOrg, assertEpoch, Refusal } from './refusal.ts'
import { registerDevice, visible, type RegisterAsked, type Registered } from './register.ts'
import { allDenials, standingOf } from './rules.ts'
import type { Caller, ServiceContext } from './service.ts'
import type { Change, DeviceRecord, DeviceSnapshot, OrgRecord } from './store.ts'

export interface DeviceAsked {
  readonly deviceId: string
  readonly reason?: string | undefined
}

export interface DeviceChanged {
  readonly orgId: string
  readonly deviceId: string
  /** Of the device: what `ifEpoch` is compared with. */
  readonly epoch: number
  readonly orgEpoch: number
  /** What denies the device all the same. */
  readonly stillDeniedBy: readonly string[]
}

export interface DevicePage {
  readonly org: OrgRecord
  readonly devices: readonly DeviceRecord[]
}

export interface DeviceService {
  /** Idempotent. Refuses with `EPOCH_STALE` or `EPOCH_REQUIRED`; every other no is an `outcome`. */
  register(caller: Caller, orgId: string, asked: RegisterAsked): Promise<Registered>
  /** Unconditional, and a new stop each time, so that no older form can undo it. */
  revoke(caller: Caller, orgId: string, asked: DeviceAsked): Promise<DeviceChanged>
  /** G6: against the device's epoch. `unconditional` is MachineID's own form without one, for `full` keys only. */
  unrevoke(
    caller: Caller,
    orgId: string,
    asked: DeviceAsked & { readonly ifEpoch?: number | undefined; readonly unconditional: boolean },
  ): Promise<DeviceChanged>
  /** Leaves a tombstone, which keeps its revoked flag; frees the slot. */
  remove(caller: Caller, orgId: string, asked: DeviceAsked): Promise<DeviceChanged>
  /** Without tombstones. All of them without `limit`. */
  listDevices(
    orgId: string,
    page: { readonly after?: string | undefined; readonly limit?: number | undefined },
  ): Promise<DevicePage>
}

/** What a stop or restore makes of a device; throws to refuse. */
type Apply = (device: DeviceRecord) => Partial<DeviceRecord>

export function createDeviceService(context: ServiceContext): DeviceService {
  const { store } = context
  const change = (action: string, caller: Caller, orgId: string, asked: DeviceAsked, apply: Apply) =>
    store.changeDevice(orgId, asked.deviceId, (found) =>
      stopOrRestore(context, caller, existingDevice(found), asked.reason ?? null, action, apply),
    )

  return {
    register: (caller, orgId, asked) =>
      store.changeDevice(orgId, asked.deviceId, (found) =>
        registerDevice(context, caller, existing(found), asked),
      ),
    revoke: (caller, orgId, asked) =>
      change('device.revoke', caller, orgId, asked, () => ({ revoked: true })),
    unrevoke: (caller, orgId, asked) =>
      change('device.unrevoke', caller, orgId, asked, (device) => {
        const unconditional = asked.unconditional && asked.ifEpoch === undefined
        if (!unconditional) assertEpoch(device.epoch, asked.ifEpoch, 'the device')
        return { revoked: false }
      }),
    remove: (caller, orgId, asked) =>
      change('device.remove', caller, orgId, asked, () => ({ removed: true, slot: null })),
    listDevices: async (orgId, page) => {
      const found = await store.listDevices(orgId, page)
      return { org: existingOrg(found?.org), devices: found?.devices ?? [] }
    },
  }
}

/** The device changes, the org's epoch is raised with it, and the audit row says so: one transaction. */
function stopOrRestore(
  { nowMs, audit }: ServiceContext,
  caller: Caller,
  { org, device }: { readonly org: OrgRecord; readonly device: DeviceRecord },
  reason: string | null,
  action: string,
  apply: Apply,
): Change<DeviceChanged> {
  const epoch = org.epoch + 1
  const changed: DeviceRecord = { ...device, ...apply(device), epoch, reason, changedAtMs: nowMs() }
  const changedOrg: OrgRecord = { ...org, epoch, used: org.used - slots(device) + slots(changed) }
  const { deviceId } = device
  return {
    org: changedOrg,
    device: changed,
    audit: audit(caller, action, {
      deviceId,
      reason: reason ?? undefined,
      before: visible(device),
      after: visible(changed),
    }),
    result: {
      orgId: org.orgId,
      deviceId,
      epoch,
      orgEpoch: epoch,
      stillDeniedBy: allDenials(standingOf(changedOrg, changed)),
    },
  }
}

function existing(snapshot: DeviceSnapshot | undefined): DeviceSnapshot {
  existingOrg(snapshot?.org)
  return snapshot as DeviceSnapshot
}

function existingDevice(snapshot: DeviceSnapshot | undefined): { org: OrgRecord; device: DeviceRecord } {
  const { org, device } = existing(snapshot)
  if (device !== undefined) return { org, device }
  throw new Refusal(
    'DEVICE_NOT_REGISTERED',
    'This org has no such device, so nothing was changed. Compare the ID with GET /api/v1/devices/list.',
  )
}

function slots(device: DeviceRecord): 0 | 1 {
  return device.slot === null ? 0 : 1
}
