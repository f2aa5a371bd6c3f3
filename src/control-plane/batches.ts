import { remindAt, RESTORED } from './devices.ts'
import { PREVIEW_DEVICES, type Preview } from './preview.ts'
import type { DeviceRecord, OrgRecord } from './records.ts'
import { Refusal } from './refusal.ts'
import { visible } from './register.ts'
import { allDenials, judgeEpoch, standingOf } from './rules.ts'
import type { Caller, ServiceContext } from './service.ts'
import type { Change, DeviceSelection, OrgSnapshot } from './store.ts'

/** The most devices that one pattern or label may change in one transaction. A lock has no such limit. */
const MAX_SELECTED = 10_000

export interface BatchAsked {
  readonly selection: DeviceSelection
  readonly reason?: string | undefined
  readonly remindAfterSeconds?: number | undefined
}

export interface BatchResult {
  readonly orgId: string
  readonly orgEpoch: number
  readonly changed: number
  readonly results: readonly {
    readonly deviceId: string
    readonly ok: boolean
    readonly code?: string
    readonly epoch: number
    readonly stillDeniedBy?: readonly string[]
  }[]
}

export interface BatchService {
  /** One transaction, one new epoch for all of them. A device that is not there is told so, and stops no other. */
  revokeBatch(caller: Caller, orgId: string, asked: BatchAsked): Promise<BatchResult>
  previewRevokeBatch(caller: Caller, orgId: string, asked: BatchAsked): Promise<Preview>
  /** G6: each device against its own epoch; `unconditional` as in `unrevoke`. */
  unrevokeBatch(
    caller: Caller,
    orgId: string,
    asked: {
      readonly items: readonly { readonly deviceId: string; readonly ifEpoch?: number | undefined }[]
      readonly reason?: string | undefined
      readonly unconditional: boolean
    },
  ): Promise<BatchResult>
}

export function createBatchService(context: ServiceContext): BatchService {
  const { change, preview } = context

  const revoking = (caller: Caller, asked: BatchAsked) => (snapshot: OrgSnapshot) => {
    assertNotTooMany(snapshot, asked.selection)
    const stop = (atMs: number) => ({ revoked: true, remindAtMs: remindAt(asked, atMs) })
    const ids = 'ids' in asked.selection ? asked.selection.ids : snapshot.devices.map((d) => d.deviceId)
    const verdicts = [...new Set(ids)].map((deviceId) => ({ deviceId, refused: undefined }))
    return changeEach(context, caller, snapshot, { action: 'device.revoke', verdicts, apply: stop, ...asked })
  }

  return {
    revokeBatch: (caller, orgId, asked) =>
      change(
        caller,
        orgId,
        { devices: asked.selection, deviceLimit: MAX_SELECTED, isStop: true },
        revoking(caller, asked),
      ),
    previewRevokeBatch: (caller, orgId, asked) =>
      preview(caller, orgId, { devices: asked.selection, deviceLimit: PREVIEW_DEVICES }, (snapshot) => {
        assertNotTooMany(snapshot, asked.selection)
        return revoking(caller, asked)({ ...snapshot, deviceCount: snapshot.devices.length })
      }),
    unrevokeBatch: (caller, orgId, { items, reason, unconditional }) =>
      change(caller, orgId, { devices: { ids: items.map((item) => item.deviceId) } }, (snapshot) => {
        const epochs = new Map(snapshot.devices.map((device) => [device.deviceId, device.epoch]))
        const seen = new Set<string>()
        const verdicts = items.map(({ deviceId, ifEpoch }) => {
          // The first mention changes the epoch, so a second one is as stale as a second request would be.
          const repeated = seen.has(deviceId)
          seen.add(deviceId)
          const known = epochs.get(deviceId)
          if (repeated) return { deviceId, refused: 'EPOCH_STALE' }
          if (known === undefined || (unconditional && ifEpoch === undefined))
            return { deviceId, refused: undefined }
          return { deviceId, refused: judgeEpoch(known, ifEpoch) }
        })
        return changeEach(context, caller, snapshot, {
          action: 'device.unrevoke',
          verdicts,
          apply: () => RESTORED,
          reason,
        })
      }),
  }
}

function assertNotTooMany({ deviceCount }: OrgSnapshot, selection: DeviceSelection): void {
  if (deviceCount <= MAX_SELECTED) return
  throw new Refusal(
    'TOO_MANY_DEVICES',
    `This ${'label' in selection ? 'label' : 'pattern'} matches ${deviceCount} devices, and one call changes at most ${MAX_SELECTED}. ` +
      'Stop them with a lock: POST /api/v1/locks.',
  )
}

function changeEach(
  { nowMs, entry }: ServiceContext,
  caller: Caller,
  { org, devices, lockedDevices }: OrgSnapshot,
  asked: {
    readonly action: string
    readonly verdicts: readonly { readonly deviceId: string; readonly refused: string | undefined }[]
    readonly apply: (atMs: number) => Partial<DeviceRecord>
    readonly reason?: string | undefined
  },
): Change<BatchResult> {
  const { action, verdicts, apply, reason = null } = asked
  const known = new Map(devices.map((device) => [device.deviceId, device]))
  const epoch = org.epoch + 1
  const orgAfter: OrgRecord = { ...org, epoch }
  const atMs = nowMs()
  const changed: DeviceRecord[] = []
  const audit = []
  const results = []
  for (const { deviceId, refused } of verdicts) {
    const device = known.get(deviceId)
    if (device === undefined || refused !== undefined) {
      const code = refused ?? 'DEVICE_NOT_REGISTERED'
      results.push({ deviceId, ok: false, code, epoch: device?.epoch ?? 0 })
      continue
    }
    const after = { ...device, ...apply(atMs), epoch, reason, changedAtMs: atMs }
    changed.push(after)
    known.set(deviceId, after)
    audit.push(entry(caller, action, { deviceId, reason, before: visible(device), after: visible(after) }))
    const stillDeniedBy = allDenials(standingOf(orgAfter, after, lockedDevices.has(deviceId)))
    results.push({ deviceId, ok: true, epoch, stillDeniedBy })
  }
  const result = { orgId: org.orgId, changed: changed.length, results }
  if (changed.length === 0) return { result: { ...result, orgEpoch: org.epoch } }
  return { org: orgAfter, devices: changed, audit, result: { ...result, orgEpoch: epoch } }
}
