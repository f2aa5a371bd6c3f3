import type { AskedApproval } from '../../machineid/wire-approvals.ts'
import { redact } from '../../redact.ts'
import { mayAskFor } from '../keys.ts'
import type { KeyRecord } from '../records.ts'
import { notBound, Refusal } from '../refusal.ts'
import type { Caller, ServiceContext } from '../service.ts'
import { conflict, noSuchApproval, tooMany } from './approval-refusals.ts'
import type {
  ApprovalCounts,
  ApprovalFilter,
  ApprovalPage,
  ApprovalPlace,
  ApprovalRecord,
} from './approval-store.ts'
import { askedApproval, isSameCall } from './asked-approval.ts'
import { decideApproval, waits, type ApprovalDecision } from './decide-approval.ts'

/** How much may wait. Of one key less than of the org, so that one that was stolen does not close the desk to others. */
const MAX_WAITING = { ofKey: 500, ofOrg: 1000 } as const
/** Of those that expired or were withdrawn. Nobody decided them, and a key can make any number. */
const MAX_SPARE = 1000
const EXPIRE_AT_ONCE = 2000
/** Of arguments in one page. */
const PAGE_BYTES = 1024 * 1024

/** Who looks, or asks: a key bound to devices has to do with no others. */
type Asker = Pick<KeyRecord, 'keyId' | 'bindings'>

export interface ApprovalService {
  /** Answers how many are new. Throws `BAD_REQUEST`, `KEY_NOT_BOUND_TO_DEVICE`, `APPROVAL_CONFLICT`, `TOO_MANY_APPROVALS`. */
  readonly askApprovals: (
    caller: Caller,
    orgId: string,
    key: Asker,
    asked: readonly AskedApproval[],
  ) => Promise<number>
  /** Answers how many no longer wait because of it. What is decided stays so. */
  readonly withdrawApprovals: (
    caller: Caller,
    orgId: string,
    key: Asker,
    approvalIds: readonly string[],
  ) => Promise<number>
  /**
   * Once, against the digest that was shown. Throws `APPROVAL_NOT_FOUND`, `ORG_DISABLED`, `APPROVAL_NOT_WAITING`,
   * `APPROVAL_DIGEST_MISMATCH`, `EPOCH_STALE`.
   */
  readonly decideApproval: (
    caller: Caller,
    orgId: string,
    approvalId: string,
    decision: ApprovalDecision,
  ) => Promise<void>
  /** Without what the key may not see: a page may be short, or empty, and still have a next one. */
  readonly listApprovals: (
    orgId: string,
    key: Asker,
    filter: ApprovalFilter,
    page: { readonly after?: ApprovalPlace | undefined; readonly limit: number },
  ) => Promise<ApprovalPage>
  /** Throws `APPROVAL_NOT_FOUND`. */
  readonly findApproval: (orgId: string, key: Asker, approvalId: string) => Promise<ApprovalPage>
}

export function createApprovalService(context: ServiceContext): ApprovalService {
  const { store, nowMs, change } = context

  const listApprovals: ApprovalService['listApprovals'] = async (orgId, { bindings }, filter, page) => {
    // For good: a clock that is set back brings none back.
    await store.expireApprovals(nowMs(), EXPIRE_AT_ONCE)
    const given = { ...filter, ...(filter.runId !== undefined && { runId: redact(filter.runId) }) }
    const found = await store.listApprovals(orgId, given, { ...page, maxBytes: PAGE_BYTES })
    if (found === undefined) throw new Refusal('ORG_NOT_FOUND', 'There is no such org. Check the org ID.')
    return { ...found, approvals: found.approvals.filter((approval) => isOf(bindings, approval)) }
  }

  return {
    askApprovals: async (caller, orgId, { keyId, bindings }, asked) => {
      if (!asked.every(({ deviceIds }) => deviceIds.every((id) => mayAskFor(bindings, id)))) throw notBound()
      const by = { keyId, nowMs: nowMs() }
      const given = asked.map((one, at) => askedApproval(one, at, by))
      await store.expireApprovals(by.nowMs, EXPIRE_AT_ONCE)
      const ids = given.map(({ approvalId }) => approvalId)
      return change(caller, orgId, { approvals: ids, approvalCounts: true }, (snapshot) => {
        const added = newOnes(snapshot.approvals, given)
        assertRoom(snapshot.approvalCounts, added)
        return { result: added.length, approvals: added, keepSpareApprovals: MAX_SPARE }
      })
    },

    withdrawApprovals: (caller, orgId, { bindings }, approvalIds) =>
      change(caller, orgId, { approvals: approvalIds }, (snapshot) => {
        const endedAtMs = nowMs()
        const withdrawn = snapshot.approvals
          .filter((approval) => isOf(bindings, approval) && waits(approval, endedAtMs))
          .map((approval): ApprovalRecord => ({ ...approval, state: 'withdrawn', endedAtMs }))
        return { result: withdrawn.length, approvals: withdrawn, keepSpareApprovals: MAX_SPARE }
      }),

    decideApproval: async (caller, orgId, approvalId, decision) => {
      const refused = await change(caller, orgId, { approvals: [approvalId] }, (snapshot) =>
        decideApproval(context, caller, snapshot, decision),
      )
      if (refused !== undefined) throw refused
    },

    listApprovals,
    findApproval: async (orgId, key, approvalId) => {
      const page = await listApprovals(orgId, key, { ids: [approvalId] }, { limit: 1 })
      if (page.approvals.length === 0) throw noSuchApproval()
      return page
    },
  }
}

/** Throws `APPROVAL_CONFLICT` where an id stands for another call. What is there stays as it is, whatever its state. */
function newOnes(known: readonly ApprovalRecord[], given: readonly ApprovalRecord[]): ApprovalRecord[] {
  const byId = new Map(known.map((approval) => [approval.approvalId, approval]))
  const added: ApprovalRecord[] = []
  for (const approval of given) {
    const there = byId.get(approval.approvalId)
    if (there !== undefined && !isSameCall(there, approval)) throw conflict(approval.approvalId)
    if (there !== undefined) continue
    byId.set(approval.approvalId, approval)
    added.push(approval)
  }
  return added
}

function assertRoom(counts: ApprovalCounts | undefined, added: readonly ApprovalRecord[]): void {
  const { waiting = 0, waitingOfKey = 0 } = counts ?? {}
  const more = added.filter(({ state }) => state === 'waiting').length
  if (more === 0) return
  if (waiting + more > MAX_WAITING.ofOrg || waitingOfKey + more > MAX_WAITING.ofKey) throw tooMany()
}

function isOf(bindings: KeyRecord['bindings'], { deviceIds }: ApprovalRecord): boolean {
  return deviceIds.every((deviceId) => mayAskFor(bindings, deviceId))
}
