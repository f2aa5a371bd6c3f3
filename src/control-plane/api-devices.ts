import type { z } from 'zod'

import {
  ChangeResponse,
  ListQuery,
  ListResponse,
  RegisterRefused,
  RegisterRequest,
  RegisterResponse,
  RemoveRequest,
  RevokeRequest,
  UnrevokeRequest,
} from '../machineid/wire-devices.ts'
import { PATHS } from '../machineid/paths.ts'
import { sendJsonText } from '../http.ts'
import { mayLeaveOutEpoch } from './api-access.ts'
import { orgRoute, type ApiContext, type JsonReply, type OrgCall, type Route } from './api-route.ts'
import type { DeviceChanged, ListedDevice } from './devices.ts'
import { MAY_RESTORE, MAY_SEE, MAY_STOP } from './key-kinds.ts'
import { mayAskFor } from './keys.ts'
import { notACursor, notBound, REFUSALS, wrongKind } from './refusal.ts'
import type { RegisterDenial, Registered } from './register.ts'
import type { ControlPlaneService } from './service.ts'
import { isoOrNull } from './times.ts'

/** Stopping is easy, restoring is hard: a stop key may revoke, but not take it back. */
export function deviceRoutes(context: ApiContext): Route[] {
  return [registerRoute(context), listRoute(context), ...changeRoutes(context)]
}

function registerRoute(context: ApiContext): Route {
  const { service } = context
  return orgRoute(context, ['runtime', ...MAY_RESTORE], {
    method: 'post',
    path: PATHS.register,
    handler: 'devices/register',
    summary: 'Makes a device known; idempotent, and no restore',
    input: RegisterRequest,
    output: RegisterResponse,
    refused: RegisterRefused,
    refusals: [
      'KEY_NOT_BOUND_TO_DEVICE',
      'DEVICE_LIMIT_REACHED',
      'DEVICE_REVOKED',
      'DEVICE_REMOVED',
      'EPOCH_STALE',
      'EPOCH_REQUIRED',
    ],
    run: async (call) => {
      const { input, key, caller, orgId } = call
      if (!mayAskFor(key.bindings, input.deviceId)) throw notBound()
      if (input.restoreRemoved === true && key.kind === 'runtime') {
        throw wrongKind('runtime', MAY_RESTORE)
      }
      const registered = await service.register(caller, orgId, input)
      recordRefusal(service, call, registered)
      return registerReply(orgId, input.deviceId, registered)
    },
  })
}

/** G8: a device that may not register is denied like one that may not work. */
function recordRefusal(
  { decisions }: ControlPlaneService,
  { input, key, orgId, requestId }: OrgCall<z.infer<typeof RegisterRequest>>,
  { outcome }: Registered,
): void {
  if (outcome === 'ok' || outcome === 'exists') return
  const { boundary, tool, callId, runId, replica } = input.context ?? {}
  decisions.record({
    requestId,
    ordinal: 0,
    orgId,
    keyId: key.keyId,
    deviceId: input.deviceId,
    code: outcome,
    asked: 'register',
    boundary: boundary ?? null,
    tool: tool ?? null,
    callId: callId ?? null,
    runId: runId ?? null,
    replica: replica ?? null,
  })
}

function registerReply(orgId: string, deviceId: string, registered: Registered): JsonReply {
  const { outcome, stillDeniedBy, ...fields } = registered
  const body = { deviceId, orgId, ...fields }
  if (outcome === 'exists') return { body: { status: 'exists', ...body } }
  if (outcome === 'ok') {
    return { body: { status: 'ok', ...body, ...(stillDeniedBy.length > 0 && { stillDeniedBy }) } }
  }
  return {
    statusCode: REFUSALS[outcome],
    body: {
      ...body,
      status: outcome === 'DEVICE_LIMIT_REACHED' ? 'blocked' : 'error',
      error: outcome.toLowerCase(),
      code: outcome,
      message: REGISTER_REFUSED[outcome],
    },
  }
}

const REGISTER_REFUSED: Record<RegisterDenial, string> = {
  DEVICE_LIMIT_REACHED:
    'Every slot of the plan is taken. Remove a device that is no longer needed, or raise the plan.',
  DEVICE_REVOKED:
    'This device is revoked, and registering does not restore it. An operator can: POST /api/v1/devices/unrevoke.',
  DEVICE_REMOVED:
    'This device was removed. An operator can bring it back: register it with restoreRemoved and ifEpoch, the epoch given here.',
}

function listRoute(context: ApiContext): Route {
  return orgRoute(context, MAY_SEE, {
    method: 'get',
    path: PATHS.list,
    handler: 'devices/list',
    summary: 'Lists the devices of the org, revoked ones too',
    input: ListQuery,
    output: ListResponse,
    run: async ({ input: { limit, cursor }, orgId, requestId }) => {
      const after = cursor === undefined ? undefined : deviceIdOfCursor(cursor)
      const { orgEpoch, rows, nextAfter } = await listDevices(context, orgId, { after, limit })
      const nextCursor = nextAfter === undefined ? null : cursorOf(nextAfter)
      const about = {
        status: 'ok',
        handler: 'devices/list',
        orgId,
        orgEpoch,
        nextCursor,
        request_id: requestId,
      }
      const text = `${JSON.stringify(about).slice(0, -1)},"devices":[${rows.join(',')}]}`
      return { respond: (_request, response) => sendJsonText(response, 200, text) }
    },
  })
}

/** How many devices are read and written out before anything else gets its turn. */
const SLICE_DEVICES = 200

/** The devices as JSON, in slices: an org may have so many that a stop would have to wait for them. */
async function listDevices(
  { service, feed }: ApiContext,
  orgId: string,
  {
    after,
    limit = Number.POSITIVE_INFINITY,
  }: { readonly after: string | undefined; readonly limit?: number | undefined },
): Promise<{
  readonly orgEpoch: number
  readonly rows: readonly string[]
  readonly nextAfter: string | undefined
}> {
  const rows: string[] = []
  let last = after
  let orgEpoch: number | undefined
  for (;;) {
    await feed.streams.turn()
    const wanted = Math.min(SLICE_DEVICES, limit - rows.length)
    // One more than that, to know whether there is a next one.
    const { org, devices } = await service.listDevices(orgId, { after: last, limit: wanted + 1 })
    // The first one's: what changed on the way is newer than it.
    orgEpoch ??= org.epoch
    const nowMs = service.nowMs()
    const slice = devices.slice(0, wanted)
    rows.push(...slice.map((device) => JSON.stringify(deviceRow(device, org.cap, nowMs))))
    last = slice.at(-1)?.deviceId ?? last
    if (devices.length <= wanted) return { orgEpoch, rows, nextAfter: undefined }
    if (rows.length >= limit) return { orgEpoch, rows, nextAfter: last }
  }
}

function cursorOf(deviceId: string): string {
  return Buffer.from(deviceId).toString('base64url')
}

function deviceIdOfCursor(cursor: string): string {
  const deviceId = Buffer.from(cursor, 'base64url').toString()
  if (cursorOf(deviceId) === cursor) return deviceId
  throw notACursor()
}

function deviceRow(device: ListedDevice, cap: number, nowMs: number) {
  const { slot, revoked, remindAtMs, lastSeen } = device
  return {
    deviceId: device.deviceId,
    status: revoked ? 'revoked' : 'active',
    revoked,
    locked: device.locked,
    epoch: device.epoch,
    slot,
    overLimit: slot === null || slot > cap,
    reason: device.reason,
    remindAt: isoOrNull(remindAtMs),
    overdue: remindAtMs !== null && remindAtMs <= nowMs,
    labels: device.labels,
    createdAt: isoOrNull(device.createdAtMs),
    changedAt: isoOrNull(device.changedAtMs),
    lastSeen:
      lastSeen === undefined
        ? null
        : { at: isoOrNull(lastSeen.atMs), code: lastSeen.code, keyId: lastSeen.keyId },
  }
}

function changeRoutes(context: ApiContext): Route[] {
  const { service } = context
  return [
    orgRoute(context, MAY_STOP, {
      method: 'post',
      path: PATHS.revoke,
      handler: 'devices/revoke',
      summary: 'Stops one device',
      input: RevokeRequest,
      output: ChangeResponse,
      refusals: ['DEVICE_NOT_REGISTERED'],
      stop: true,
      preview: ({ input, caller, orgId }) => service.previewRevoke(caller, orgId, input),
      run: async ({ input, caller, orgId }) => stopReply(await service.revoke(caller, orgId, input)),
    }),
    orgRoute(context, MAY_RESTORE, {
      method: 'post',
      path: PATHS.unrevoke,
      handler: 'devices/unrevoke',
      summary: 'Restores one device, against the epoch of its stop',
      input: UnrevokeRequest,
      output: ChangeResponse,
      refusals: ['DEVICE_NOT_REGISTERED', 'EPOCH_STALE', 'EPOCH_REQUIRED'],
      run: async ({ input, caller, orgId, ...asker }) => {
        const asked = { ...input, unconditional: mayLeaveOutEpoch(asker) }
        return { body: { ...(await service.unrevoke(caller, orgId, asked)) } }
      },
    }),
    orgRoute(context, MAY_RESTORE, {
      method: 'post',
      path: PATHS.remove,
      handler: 'devices/remove',
      summary: 'Removes a device and frees its slot; its ID stays denied',
      input: RemoveRequest,
      output: ChangeResponse,
      refusals: ['DEVICE_NOT_REGISTERED'],
      stop: true,
      preview: ({ input, caller, orgId }) => service.previewRemove(caller, orgId, input),
      run: async ({ input, caller, orgId }) => stopReply(await service.remove(caller, orgId, input)),
    }),
  ]
}

function stopReply({ orgId, deviceId, epoch, orgEpoch }: DeviceChanged): JsonReply {
  return { body: { orgId, deviceId, epoch, orgEpoch } }
}
