import type { Changing, Decide } from './change.ts'
import { planAsOf } from './plan.ts'
import type { Preview } from './preview.ts'
import { assertEpoch, existingOrg, Refusal } from './refusal.ts'
import { registerDevice, visible, type RegisterAsked, type Registered } from './register.ts'
import type { DeviceRecord, LastSeen, OrgRecord } from './records.ts'
import { allDenials, standingOf } from './rules.ts'
import type { Caller, ServiceContext } from './service.ts'
import type { OrgSnapshot } from './store.ts'

export interface DeviceAsked {
  readonly deviceId: string
  readonly reason?: string | undefined
}
export interface StopAsked extends DeviceAsked {
  /** When the stop counts as overdue; it is never undone by itself. */
  readonly remindAfterSeconds?: number | undefined
}
export interface RestoreAsked extends DeviceAsked {
  readonly ifEpoch?: number | undefined
  /** MachineID's own form without an epoch, for `full` keys only. */
  readonly unconditional: boolean
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

export type ListedDevice = DeviceRecord & {
  readonly locked: boolean
  readonly lastSeen: LastSeen | undefined
}

export interface DeviceService {
  /** Idempotent. Refuses with `EPOCH_STALE` or `EPOCH_REQUIRED`; every other no is an `outcome`. */
  register(caller: Caller, orgId: string, asked: RegisterAsked): Promise<Registered>
  /** Unconditional, and a new stop each time, so that no older form can undo it. */
  revoke(caller: Caller, orgId: string, asked: StopAsked): Promise<DeviceChanged>
  previewRevoke(caller: Caller, orgId: string, asked: DeviceAsked): Promise<Preview>
  /** G6: against the device's epoch. */
  unrevoke(caller: Caller, orgId: string, asked: RestoreAsked): Promise<DeviceChanged>
  /** Leaves a tombstone, which keeps its revoked flag; frees the slot. */
  remove(caller: Caller, orgId: string, asked: DeviceAsked): Promise<DeviceChanged>
  previewRemove(caller: Caller, orgId: string, asked: DeviceAsked): Promise<Preview>
  /** Without tombstones. All of them without `limit`. */
  listDevices(
    orgId: string,
    page: { readonly after?: string | undefined; readonly limit?: number | undefined },
  ): Promise<{ readonly org: OrgRecord; readonly devices: readonly ListedDevice[] }>
}

export function createDeviceService(context: ServiceContext): DeviceService {
  const { store, nowMs, change, preview } = context
  const only = ({ deviceId }: DeviceAsked) => ({ devices: { ids: [deviceId] } })

  const revoking = (caller: Caller, asked: StopAsked) =>
    changing(context, caller, asked, 'device.revoke', (_device, atMs) => ({
      revoked: true,
      remindAtMs: remindAt(asked, atMs),
    }))
  const removing = (caller: Caller, asked: DeviceAsked) =>
    changing(context, caller, asked, 'device.remove', () => REMOVED)

  return {
    register: (caller, orgId, asked) =>
      change(caller, orgId, { ...only(asked), freeSlot: true }, (snapshot) =>
        registerDevice(context, caller, snapshot, asked),
      ),
    revoke: (caller, orgId, asked) =>
      change(caller, orgId, { ...only(asked), isStop: true }, revoking(caller, asked)),
    previewRevoke: (caller, orgId, asked) => preview(caller, orgId, only(asked), revoking(caller, asked)),
    unrevoke: (caller, orgId, asked) =>
      change(
        caller,
        orgId,
        only(asked),
        changing(context, caller, asked, 'device.unrevoke', (device) => {
          const unconditional = asked.unconditional && asked.ifEpoch === undefined
          if (!unconditional) assertEpoch(device.epoch, asked.ifEpoch, 'the device')
          return RESTORED
        }),
      ),
    remove: (caller, orgId, asked) =>
      change(caller, orgId, { ...only(asked), isStop: true }, removing(caller, asked)),
    previewRemove: (caller, orgId, asked) => preview(caller, orgId, only(asked), removing(caller, asked)),
    listDevices: async (orgId, page) => {
      const found = await store.listDevices(orgId, page)
      const org = existingOrg(found?.org)
      return { org: planAsOf(org, nowMs()), devices: found?.devices ?? [] }
    },
  }
}

export const RESTORED = { revoked: false, remindAtMs: null } as const
const REMOVED = { removed: true, slot: null, remindAtMs: null } as const

export function remindAt(
  { remindAfterSeconds }: { readonly remindAfterSeconds?: number | undefined },
  nowMs: number,
): number | null {
  return remindAfterSeconds === undefined ? null : nowMs + remindAfterSeconds * 1000
}

/** One device changes, the org's epoch is raised with it, and the audit row says so. */
function changing(
  { nowMs, entry }: Pick<ServiceContext, 'nowMs'> & Pick<Changing, 'entry'>,
  caller: Caller,
  { deviceId, reason }: DeviceAsked,
  action: string,
  apply: (device: DeviceRecord, atMs: number) => Partial<DeviceRecord>,
): Decide<DeviceChanged> {
  return (snapshot) => {
    const { org } = snapshot
    const atMs = nowMs()
    const device = existingDevice(snapshot)
    const epoch = org.epoch + 1
    const after: DeviceRecord = {
      ...device,
      ...apply(device, atMs),
      epoch,
      reason: reason ?? null,
      changedAtMs: atMs,
    }
    const orgAfter: OrgRecord = { ...org, epoch, used: org.used - slots(device) + slots(after) }
    const standing = standingOf(orgAfter, after, snapshot.lockedDevices.has(deviceId))
    return {
      org: orgAfter,
      devices: [after],
      audit: [
        entry(caller, action, {
          deviceId,
          reason: reason ?? null,
          before: visible(device),
          after: visible(after),
        }),
      ],
      result: { orgId: org.orgId, deviceId, epoch, orgEpoch: epoch, stillDeniedBy: allDenials(standing) },
    }
  }
}

function existingDevice({ devices: [device] }: OrgSnapshot): DeviceRecord {
  if (device !== undefined) return device
  throw new Refusal(
    'DEVICE_NOT_REGISTERED',
    'This org has no such device, so nothing was changed. Compare the ID with GET /api/v1/devices/list.',
  )
}

function slots(device: DeviceRecord): 0 | 1 {
  return device.slot === null ? 0 : 1
}
