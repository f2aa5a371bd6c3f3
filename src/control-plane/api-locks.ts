import {
  LockListResponse,
  LockReleaseRequest,
  LockRequest,
  LockResponse,
  LocksQuery,
} from '../machineid/wire-locks.ts'
import { PATHS } from '../machineid/paths.ts'
import { orgRoute, type ApiContext, type Route } from './api-route.ts'
import { MAY_RESTORE, MAY_SEE, MAY_STOP } from './key-kinds.ts'
import type { LockRecord } from './records.ts'
import { isoOrNull } from './times.ts'

/** A lock stops a surface: every device that matches its pattern, those to come too. */
export function lockRoutes(context: ApiContext): Route[] {
  const { service } = context
  return [
    orgRoute(context, MAY_STOP, {
      method: 'post',
      path: PATHS.locks,
      handler: 'locks',
      summary: 'Stops every device that matches a pattern, present and future',
      input: LockRequest,
      output: LockResponse,
      stop: true,
      preview: ({ input, caller, orgId }) => service.previewLock(caller, orgId, input),
      run: async ({ input, caller, orgId }) => ({ body: { ...(await service.lock(caller, orgId, input)) } }),
    }),
    orgRoute(context, MAY_SEE, {
      method: 'get',
      path: PATHS.locks,
      handler: 'locks',
      summary: 'Lists the locks that are held',
      input: LocksQuery,
      output: LockListResponse,
      run: async ({ input, orgId }) => {
        const { org, locks } = await service.listLocks(orgId, { all: input.all === 'true' })
        const nowMs = service.nowMs()
        return { body: { orgId, orgEpoch: org.epoch, locks: locks.map((lock) => lockRow(lock, nowMs)) } }
      },
    }),
    orgRoute(context, MAY_RESTORE, {
      method: 'post',
      path: PATHS.lockRelease,
      handler: 'locks/release',
      summary: 'Releases a lock, against its epoch',
      input: LockReleaseRequest,
      output: LockResponse,
      refusals: ['LOCK_NOT_FOUND', 'EPOCH_STALE', 'EPOCH_REQUIRED'],
      run: async ({ input, caller, orgId, id }) => ({
        body: { ...(await service.releaseLock(caller, orgId, { ...input, lockId: id })) },
      }),
    }),
  ]
}

function lockRow({ lockId, pattern, active, epoch, reason, by, ...lock }: LockRecord, nowMs: number) {
  return {
    lockId,
    pattern,
    active,
    epoch,
    reason,
    by,
    remindAt: isoOrNull(lock.remindAtMs),
    overdue: lock.remindAtMs !== null && lock.remindAtMs <= nowMs,
    createdAt: isoOrNull(lock.createdAtMs),
    changedAt: isoOrNull(lock.changedAtMs),
  }
}
