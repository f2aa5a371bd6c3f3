import type { z } from 'zod'

import { ChangeBatchResponse, RevokeBatchRequest, UnrevokeBatchRequest } from '../machineid/wire-devices.ts'
import { PATHS } from '../machineid/paths.ts'
import { MAX_BATCH_BODY_BYTES } from '../machineid/wire.ts'
import { mayLeaveOutEpoch } from './api-access.ts'
import { orgRoute, type ApiContext, type Route } from './api-route.ts'
import type { BatchAsked, BatchResult } from './batches.ts'
import { MAY_RESTORE, MAY_STOP } from './key-kinds.ts'

/** Many devices in one transaction: by list, by pattern or by label. */
export function batchRoutes(context: ApiContext): Route[] {
  const { service } = context
  return [
    orgRoute(context, MAY_STOP, {
      method: 'post',
      path: PATHS.revokeBatch,
      handler: 'devices/revoke_batch',
      summary: 'Stops many devices at once: a list, a pattern or a label',
      input: RevokeBatchRequest,
      output: ChangeBatchResponse,
      refusals: ['TOO_MANY_DEVICES'],
      stop: true,
      bodyLimitBytes: MAX_BATCH_BODY_BYTES,
      preview: ({ input, caller, orgId }) => service.previewRevokeBatch(caller, orgId, askedOf(input)),
      run: async ({ input, caller, orgId }) => {
        const { results, ...batch } = await service.revokeBatch(caller, orgId, askedOf(input))
        return { body: { ...batch, results: results.map(stopped) } }
      },
    }),
    orgRoute(context, MAY_RESTORE, {
      method: 'post',
      path: PATHS.unrevokeBatch,
      handler: 'devices/unrevoke_batch',
      summary: 'Restores many devices at once, each against its own epoch',
      input: UnrevokeBatchRequest,
      output: ChangeBatchResponse,
      bodyLimitBytes: MAX_BATCH_BODY_BYTES,
      run: async ({ input, caller, orgId, ...asker }) => {
        const unconditional = mayLeaveOutEpoch(asker)
        return { body: { ...(await service.unrevokeBatch(caller, orgId, { ...input, unconditional })) } }
      },
    }),
  ]
}

/** What else denies a device that was stopped is of no interest. */
function stopped({ deviceId, ok, code, epoch }: BatchResult['results'][number]) {
  return { deviceId, ok, ...(code !== undefined && { code }), epoch }
}

function askedOf(input: z.infer<typeof RevokeBatchRequest>): BatchAsked {
  const { deviceIds, pattern, label, reason, remindAfterSeconds } = input
  const options = { reason, remindAfterSeconds }
  if (deviceIds !== undefined) return { selection: { ids: deviceIds }, ...options }
  if (pattern !== undefined) return { selection: { pattern }, ...options }
  // The schema lets exactly one of the three through.
  return { selection: { label: label as NonNullable<typeof label> }, ...options }
}
