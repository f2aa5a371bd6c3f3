import type { z } from 'zod'

import {
  ListQuery,
  PATHS,
  RegisterRequest,
  RemoveRequest,
  RevokeRequest,
  UnrevokeRequest,
} from '../machineid/wire.ts'
import { orgRoute, type ApiContext, type OrgCall, type Reply, type Route } from './api-route.ts'
import type { DeviceChanged } from './devices.ts'
import { mayAskFor } from './keys.ts'
import { notBound, Refusal, REFUSALS, wrongKind } from './refusal.ts'
import type { RegisterDenial, Registered } from './register.ts'
import type { ControlPlaneService } from './service.ts'
import type { DeviceRecord } from './store.ts'

/** Stopping is easy, restoring is hard: a stop key may revoke, but not take it back. */
export function deviceRoutes(context: ApiContext): Route[] {
  return [registerRoute(context), listRoute(context), ...changeRoutes(context)]
}

function registerRoute(context: ApiContext): Route {
  const { service } = context
  return orgRoute(context, ['runtime', 'operator', 'admin', 'full'], {
    method: 'post',
    path: PATHS.register,
    handler: 'devices/register',
    input: RegisterRequest,
    run: async (call) => {
      const { input, key, caller, orgId } = call
      if (!mayAskFor(key.bindings, input.deviceId)) throw notBound()
      if (input.restoreRemoved === true && key.kind === 'runtime') {
        throw wrongKind('runtime', ['operator', 'admin', 'full'])
      }
      const registered = await service.register(caller, orgId, input)
      recordRefusal(service, call, registered)
      return registerReply(orgId, input.deviceId, registered)
    },
  })
}

/** G8: a device that may not register is denied like one that may not work. */
function recordRefusal(
  { denials }: ControlPlaneService,
  { input, key, orgId, requestId }: OrgCall<z.infer<typeof RegisterRequest>>,
  { outcome }: Registered,
): void {
  if (outcome === 'ok' || outcome === 'exists') return
  const { boundary, tool, callId, runId, replica } = input.context ?? {}
  denials.record({
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

function registerReply(orgId: string, deviceId: string, registered: Registered): Reply {
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
  return orgRoute(context, ['viewer', 'stop', 'operator', 'admin', 'full'], {
    method: 'get',
    path: PATHS.list,
    handler: 'devices/list',
    input: ListQuery,
    run: async ({ input: { limit, cursor }, orgId }) => {
      const { org, devices } = await context.service.listDevices(orgId, {
        after: cursor === undefined ? undefined : deviceIdOfCursor(cursor),
        // One more than the page, to know whether there is a next one.
        limit: limit === undefined ? undefined : limit + 1,
      })
      const page = devices.slice(0, limit)
      const last = page.length < devices.length ? page.at(-1) : undefined
      return {
        body: {
          orgId,
          orgEpoch: org.epoch,
          devices: page.map((device) => deviceRow(device, org.cap)),
          nextCursor: last === undefined ? null : cursorOf(last.deviceId),
        },
      }
    },
  })
}

function cursorOf(deviceId: string): string {
  return Buffer.from(deviceId).toString('base64url')
}

function deviceIdOfCursor(cursor: string): string {
  const deviceId = Buffer.from(cursor, 'base64url').toString()
  if (cursorOf(deviceId) === cursor) return deviceId
  throw new Refusal('BAD_REQUEST', '"cursor" must be the nextCursor of the page before.')
}

function deviceRow(device: DeviceRecord, cap: number) {
  return {
    deviceId: device.deviceId,
    status: device.revoked ? 'revoked' : 'active',
    revoked: device.revoked,
    epoch: device.epoch,
    slot: device.slot,
    overLimit: device.slot === null || device.slot > cap,
    reason: device.reason,
    labels: device.labels,
    createdAt: new Date(device.createdAtMs).toISOString(),
    changedAt: new Date(device.changedAtMs).toISOString(),
  }
}

function changeRoutes(context: ApiContext): Route[] {
  const { service } = context
  return [
    orgRoute(context, ['stop', 'operator', 'admin', 'full'], {
      method: 'post',
      path: PATHS.revoke,
      handler: 'devices/revoke',
      input: RevokeRequest,
      run: async ({ input, caller, orgId }) => stopReply(await service.revoke(caller, orgId, input)),
    }),
    orgRoute(context, ['operator', 'admin', 'full'], {
      method: 'post',
      path: PATHS.unrevoke,
      handler: 'devices/unrevoke',
      input: UnrevokeRequest,
      run: async ({ input, caller, orgId }) => {
        const asked = { ...input, unconditional: caller.kind === 'full' }
        return { body: { ...(await service.unrevoke(caller, orgId, asked)) } }
      },
    }),
    orgRoute(context, ['operator', 'admin', 'full'], {
      method: 'post',
      path: PATHS.remove,
      handler: 'devices/remove',
      input: RemoveRequest,
      run: async ({ input, caller, orgId }) => stopReply(await service.remove(caller, orgId, input)),
    }),
  ]
}

function stopReply({ orgId, deviceId, epoch, orgEpoch }: DeviceChanged): Reply {
  return { body: { orgId, deviceId, epoch, orgEpoch } }
}
