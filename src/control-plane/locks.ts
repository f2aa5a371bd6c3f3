import type { Decide } from './change.ts'
import { remindAt } from './devices.ts'
import { PREVIEW_DEVICES, type Preview } from './preview.ts'
import type { LockRecord, OrgRecord } from './records.ts'
import { assertEpoch, existingOrg, Refusal } from './refusal.ts'
import type { Caller, ServiceContext } from './service.ts'

export interface LockAsked {
  readonly pattern: string
  readonly reason: string
  readonly remindAfterSeconds?: number | undefined
}

export interface LockChanged {
  readonly orgId: string
  readonly lockId: string
  readonly pattern: string
  readonly active: boolean
  readonly epoch: number
  readonly orgEpoch: number
}

export interface LockService {
  /** Stops every device that matches, those to come too. A pattern that is locked already is stopped anew. */
  lock(caller: Caller, orgId: string, asked: LockAsked): Promise<LockChanged>
  previewLock(caller: Caller, orgId: string, asked: LockAsked): Promise<Preview>
  /** G6: against the lock's epoch, whoever asks. */
  releaseLock(
    caller: Caller,
    orgId: string,
    asked: {
      readonly lockId: string
      readonly ifEpoch?: number | undefined
      readonly reason?: string | undefined
    },
  ): Promise<LockChanged>
  listLocks(
    orgId: string,
    options: { readonly all: boolean },
  ): Promise<{ readonly org: OrgRecord; readonly locks: readonly LockRecord[] }>
}

export function createLockService(context: ServiceContext): LockService {
  const { store, nowMs, newId, change, preview, entry } = context

  const locking =
    (caller: Caller, asked: LockAsked): Decide<LockChanged> =>
    ({ org, lock: held }) => {
      const epoch = org.epoch + 1
      const at = nowMs()
      const lock: LockRecord = {
        lockId: held?.lockId ?? newId(),
        pattern: asked.pattern,
        active: true,
        epoch,
        reason: asked.reason,
        by: caller.actor,
        remindAtMs: remindAt(asked, at),
        createdAtMs: held?.createdAtMs ?? at,
        changedAtMs: at,
      }
      return {
        org: { ...org, epoch, activeLocks: org.activeLocks + (held === undefined ? 1 : 0) },
        locks: [lock],
        audit: [
          entry(caller, 'lock.add', {
            reason: asked.reason,
            before: held === undefined ? null : visible(held),
            after: visible(lock),
          }),
        ],
        result: changed(org.orgId, lock),
      }
    }

  return {
    lock: (caller, orgId, asked) =>
      change(caller, orgId, { lock: { activePattern: asked.pattern }, isStop: true }, locking(caller, asked)),
    previewLock: (caller, orgId, asked) =>
      preview(
        caller,
        orgId,
        {
          lock: { activePattern: asked.pattern },
          devices: { pattern: asked.pattern },
          deviceLimit: PREVIEW_DEVICES,
        },
        locking(caller, asked),
      ),

    releaseLock: (caller, orgId, { lockId, ifEpoch, reason }) =>
      change(caller, orgId, { lock: { lockId } }, ({ org, lock: held }) => {
        if (held === undefined) {
          throw new Refusal(
            'LOCK_NOT_FOUND',
            'This org has no such lock. GET /api/v1/locks?all=true lists them.',
          )
        }
        assertEpoch(held.epoch, ifEpoch, 'the lock')
        const epoch = org.epoch + 1
        const lock: LockRecord = {
          ...held,
          active: false,
          epoch,
          remindAtMs: null,
          changedAtMs: nowMs(),
        }
        return {
          org: { ...org, epoch, activeLocks: org.activeLocks - (held.active ? 1 : 0) },
          locks: [lock],
          audit: [
            entry(caller, 'lock.release', {
              reason: reason ?? null,
              before: visible(held),
              after: visible(lock),
            }),
          ],
          result: changed(org.orgId, lock),
        }
      }),

    listLocks: async (orgId, options) => {
      const usage = await store.findUsage(orgId, nowMs())
      return { org: existingOrg(usage?.org), locks: await store.listLocks(orgId, options) }
    },
  }
}

function changed(orgId: string, { lockId, pattern, active, epoch }: LockRecord): LockChanged {
  return { orgId, lockId, pattern, active, epoch, orgEpoch: epoch }
}

/** What an audit row says of a lock. */
function visible({ lockId, pattern, active, epoch }: LockRecord) {
  return { lockId, pattern, active, epoch }
}
