import type {
  Claimed,
  Created,
  NewRun,
  RunRecord,
  RunSave,
  RunStatus,
  RunStore,
} from '../../agents/hosted/run-store.ts'
import type { Journal } from '../../guard/journal.ts'
import { endOf, hasEnded, isResumable, jsonText, recordOf, type RunRow } from '../run-rows.ts'
import type { Session } from './session.ts'
import { addToOperatorLog, readOperatorLog } from './operator-log.ts'
import { endRun, giveBack, settleRun, takeRun } from './run-claims.ts'
import { listQuery, runRow, wholeRecord } from './run-rows.ts'
import * as sql from './run-statements.ts'
import { addSteps, readSteps } from './run-steps.ts'
import { useForCall } from './tool-approval-use.ts'
import {
  countWaiting,
  decideApprovals,
  readApprovals,
  readWaiting,
  replaceApprovals,
} from './tool-approvals.ts'
import type { ToolDatabase } from './tool-database.ts'

/** Hosted runs in the database of the journal. See the port, `RunStore`, for what each method promises. */
export function createRunStore(opened: ToolDatabase, journal: Journal): RunStore {
  const { transact, read, readNow, reach } = opened

  /** R1, R2: the row is locked until the transaction ends, and `now` is read with the lock. */
  async function lock(session: Session, text: string, value: string) {
    const [rows, now] = await Promise.all([session.query(text, [value]), readNow(session)])
    return { row: runRow(rows), now }
  }
  const lockClaimed = (session: Session, token: string) => lock(session, sql.READ_CLAIMED, token)

  async function lockSettled(session: Session, runId: string) {
    const { row, now } = await lock(session, sql.READ, runId)
    return { row: await settleRun(session, row, now), now }
  }

  async function stored(session: Session, runId: string): Promise<RunRecord> {
    const [row] = await session.query(sql.READ_WHOLE, [runId])
    if (row === undefined) throw new Error(`The run ${runId} is gone.`)
    return wholeRecord(row)
  }

  async function create(session: Session, run: NewRun, leaseMs: number): Promise<Created> {
    const now = await readNow(session)
    const { runId, caller, agent, requestDigest, contextDigest, queued } = run
    const token = queued === undefined ? crypto.randomUUID() : undefined
    const status: RunStatus = queued === undefined ? 'running' : 'queued'
    const leaseUntilMs = token === undefined ? null : now + leaseMs
    const asked = [runId, caller, agent, requestDigest, contextDigest ?? null]
    const startAtMs = now + (queued?.delayMs ?? 0)
    const values = [...asked, status, token ?? null, leaseUntilMs, startAtMs, now]
    if ((await session.run(sql.CREATE, values)) === 0) {
      await lockSettled(session, runId)
      return { created: false, run: await stored(session, runId) }
    }
    await session.run(sql.WRITE_STATE, [runId, queued?.input ?? null, null])
    return { created: true, run: await stored(session, runId), token }
  }

  async function claim(session: Session, runId: string, leaseMs: number): Promise<Claimed | undefined> {
    const { row, now } = await lockSettled(session, runId)
    if (row === undefined) return undefined
    const refused = row.status === 'running' ? 'running' : isResumable(row) ? undefined : 'not_resumable'
    if (refused !== undefined) return { claimed: false, why: refused, run: await stored(session, runId) }
    const token = await takeRun(session, row, leaseMs, now)
    return { claimed: true, token, run: await stored(session, runId) }
  }

  async function claimQueued(session: Session, leaseMs: number) {
    const now = await readNow(session)
    const row = runRow(await session.query(sql.NEXT_QUEUED, [now]))
    if (row === undefined) return undefined
    const token = await takeRun(session, row, leaseMs, now)
    return { token, run: await stored(session, row.run_id) }
  }

  async function save(session: Session, token: string, asked: RunSave): Promise<boolean> {
    const { row, now } = await lockClaimed(session, token)
    if (row === undefined) return false
    const { state, output, approvals, ...run } = row.cancel_requested === 1 ? endOf(asked) : asked
    const ended = [jsonText(run.denial), jsonText(run.problem), run.contextDigest ?? null, now]
    await Promise.all([
      session.run(sql.SAVE, [run.status, Number(run.resumable), ...ended, row.run_id]),
      session.run(sql.WRITE_STATE, [row.run_id, state ?? null, output ?? null]),
      replaceApprovals(session, row.run_id, approvals, now),
    ])
    reach('run.saving')
    return true
  }

  async function cancel(session: Session, runId: string, by: string, reason: string | undefined) {
    const { row, now } = await lockSettled(session, runId)
    if (row === undefined || hasEnded(row)) return false
    await addToOperatorLog(session, { atMs: now, by, action: 'run.cancel', subject: runId, runId, reason })
    if (row.status !== 'running') {
      await endRun(session, runId, 'cancelled', undefined, now)
      return 'cancelled'
    }
    await session.run(sql.REQUEST_CANCEL, [now, runId])
    return 'requested'
  }

  /** Asked again and again: where there is nothing to do it only looks. */
  const isAny = (text: string) =>
    read(async (session) => (await session.query(text, [await readNow(session)])).length > 0)

  return {
    journal,
    create: async (run, leaseMs) => {
      const created = await transact((session) => create(session, run, leaseMs))
      if (created.created) reach('run.created')
      return created
    },
    find: (runId) =>
      read(async (session) => {
        const [row] = await session.query(sql.READ_WHOLE, [runId])
        return row === undefined ? undefined : wholeRecord(row)
      }),
    statusOf: (runId) =>
      read(async (session) => {
        const [row] = await session.query(sql.STATUS, [runId])
        return row?.['status'] as RunStatus | undefined
      }),
    list: (filter) =>
      read(async (session) => {
        const { text, values } = listQuery(filter)
        return ((await session.query(text, values)) as unknown as RunRow[]).map(recordOf)
      }),
    counts: () =>
      read(async (session) => {
        const [rows, now] = await Promise.all([session.query(sql.COUNTS), readNow(session)])
        const counted = new Map(rows.map((row) => [row['status'], Number(row['runs'])]))
        const runs = (status: RunStatus) => counted.get(status) ?? 0
        return {
          queued: runs('queued'),
          running: runs('running'),
          interrupted: runs('interrupted'),
          waitingApprovals: await countWaiting(session, now),
        }
      }),
    claim: (runId, leaseMs) => transact((session) => claim(session, runId, leaseMs)),
    claimQueued: async (leaseMs) => {
      if (!(await isAny(sql.ANY_QUEUED))) return undefined
      return transact((session) => claimQueued(session, leaseMs))
    },
    markStarted: (token) =>
      transact(async (session) => {
        const { row } = await lockClaimed(session, token)
        if (row?.status_before === 'queued') await session.run(sql.FORGET_STATE, [row.run_id])
        return row !== undefined
      }),
    markBeyond: (token) => transact(async (session) => (await session.run(sql.MARK_BEYOND, [token])) === 1),
    renew: (token, leaseMs) =>
      transact(async (session) => {
        const { row, now } = await lockClaimed(session, token)
        if (row === undefined) return 'lost'
        await session.run(sql.RENEW, [now + leaseMs, token])
        return row.cancel_requested === 1 ? 'cancel' : 'ours'
      }),
    save: async (token, what) => {
      const saved = await transact((session) => save(session, token, what))
      if (saved) reach('run.saved')
      return saved
    },
    release: (token, { denial, retryInMs }) =>
      transact(async (session) => {
        const { row, now } = await lockClaimed(session, token)
        const startAtMs = retryInMs === undefined ? undefined : now + retryInMs
        if (row !== undefined) await giveBack(session, row, now, { denial, startAtMs })
        return row !== undefined
      }),
    cancel: (runId, by, reason) => transact((session) => cancel(session, runId, by, reason)),
    sweepLost: async () => {
      if (!(await isAny(sql.ANY_LOST))) return []
      return transact(async (session) => {
        const now = await readNow(session)
        const rows = (await session.query(sql.LOST_RUNS, [now])) as unknown as RunRow[]
        for (const row of rows) await giveBack(session, row, now)
        return rows.map((row) => row.run_id)
      })
    },
    approvalsOf: (runId) => read(async (session) => readApprovals(session, runId, await readNow(session))),
    waitingApprovals: (limit) => read(async (session) => readWaiting(session, limit, await readNow(session))),
    decide: async (runId, verdicts, by) => {
      const refused = await transact(async (session) => {
        const { now: nowMs } = await lock(session, sql.READ, runId)
        const first = await decideApprovals(session, runId, verdicts, { by, nowMs })
        if (first === undefined) reach('approval.deciding')
        return first
      })
      if (refused === undefined) reach('approval.decided')
      return refused
    },
    useApproval: (use) => transact(async (session) => useForCall(session, use, await readNow(session))),
    addSteps: async (runId, added) => {
      if (added.length > 0) await transact((session) => addSteps(session, runId, added))
    },
    stepsOf: (runId) => read((session) => readSteps(session, runId)),
    operatorLog: (filter) => read((session) => readOperatorLog(session, filter)),
    close: () => journal.close(),
  }
}
