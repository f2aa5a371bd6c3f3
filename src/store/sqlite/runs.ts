import type {
  Claimed,
  Created,
  NewRun,
  RunSave,
  RunStatus,
  RunStore,
  StepRecord,
} from '../../agents/hosted/run-store.ts'
import type { Journal } from '../../guard/journal.ts'
import { endOf, hasEnded, isResumable, jsonText, recordOf, type RunRow } from '../run-rows.ts'
import { createApprovalUses } from './approval-use.ts'
import { createApprovals } from './approvals.ts'
import { createOperatorLog } from './operator-log.ts'
import { createRunClaims } from './run-claims.ts'
import { createRunRows } from './run-rows.ts'
import { prepareRuns } from './run-statements.ts'
import { createRunSteps } from './run-steps.ts'
import type { OpenToolFile } from './tool-file.ts'
import { assertSound } from './transaction.ts'

/** Hosted runs in the file of the journal. See the port, `RunStore`, for what each method promises. */
export function createRunStore(opened: OpenToolFile, journal: Journal): RunStore {
  const { db, writer, nowMs, reach } = opened
  const rows = createRunRows(db)
  const operatorLog = createOperatorLog(db)
  const uses = createApprovalUses(db)
  const approvals = createApprovals(db, uses, operatorLog)
  const claims = createRunClaims(db, rows, approvals)
  const steps = createRunSteps(db)
  const statements = prepareRuns(db)

  const stored = (runId: string) => recordOf(rows.readWhole(runId) as RunRow)

  function create(run: NewRun, leaseMs: number): Created {
    const now = nowMs()
    const taken = claims.settled(run.runId, now)
    if (taken !== undefined) return { created: false, run: stored(run.runId) }
    const { runId, caller, agent, requestDigest, contextDigest, queued } = run
    const token = queued === undefined ? crypto.randomUUID() : undefined
    statements.create.run({
      runId,
      caller,
      agent,
      requestDigest,
      contextDigest: contextDigest ?? null,
      status: queued === undefined ? 'running' : 'queued',
      token: token ?? null,
      leaseUntilMs: token === undefined ? null : now + leaseMs,
      startAtMs: now + (queued?.delayMs ?? 0),
      now,
    })
    statements.writeState.run(runId, queued?.input ?? null, null)
    return { created: true, run: stored(runId), token }
  }

  function claim(runId: string, leaseMs: number): Claimed | undefined {
    const now = nowMs()
    const row = claims.settled(runId, now)
    if (row === undefined) return undefined
    if (row.status === 'running') return { claimed: false, why: 'running', run: stored(runId) }
    if (!isResumable(row)) return { claimed: false, why: 'not_resumable', run: stored(runId) }
    const token = claims.take(row, leaseMs, now)
    return { claimed: true, token, run: stored(runId) }
  }

  function claimQueued(leaseMs: number) {
    const now = nowMs()
    const next = statements.nextQueued.get({ now })
    const row = next === undefined ? undefined : rows.read(String(next['run_id']))
    if (row === undefined) return undefined
    const token = claims.take(row, leaseMs, now)
    return { token, run: stored(row.run_id) }
  }

  function markStarted(token: string): boolean {
    const row = rows.readClaimed(token)
    if (row?.status_before === 'queued') statements.forgetState.run(row.run_id)
    return row !== undefined
  }

  function save(token: string, asked: RunSave): boolean {
    const now = nowMs()
    const row = rows.readClaimed(token)
    if (row === undefined) return false
    const { state, output, approvals: waiting, ...run } = row.cancel_requested === 1 ? endOf(asked) : asked
    statements.save.run({
      runId: row.run_id,
      status: run.status,
      resumable: Number(run.resumable),
      denial: jsonText(run.denial),
      problem: jsonText(run.problem),
      contextDigest: run.contextDigest ?? null,
      now,
    })
    statements.writeState.run(row.run_id, state ?? null, output ?? null)
    approvals.replace(row.run_id, waiting, now)
    reach('run.saving')
    return true
  }

  function cancel(runId: string, by: string, reason: string | undefined): 'cancelled' | 'requested' | false {
    const now = nowMs()
    const row = claims.settled(runId, now)
    if (row === undefined || hasEnded(row)) return false
    operatorLog.add({ atMs: now, by, action: 'run.cancel', subject: runId, runId, reason })
    if (row.status !== 'running') {
      claims.end(runId, 'cancelled', undefined, now)
      return 'cancelled'
    }
    statements.requestCancel.run(now, runId)
    return 'requested'
  }

  const lost = () => statements.lost.all({ now: nowMs() }).map((row) => String(row['run_id']))

  // R1: each of these holds the write lock before its first read, so that of two claims one sees the other.
  return {
    journal,
    create: async (run, leaseMs) => {
      const created = writer.transact(() => create(run, leaseMs))
      if (created.created) reach('run.created')
      return created
    },
    find: async (runId) => {
      const row = writer.read(() => rows.readWhole(runId))
      return row === undefined ? undefined : recordOf(row)
    },
    statusOf: async (runId) => writer.read(() => rows.statusOf(runId)),
    list: async (filter) => writer.read(() => rows.list(filter)),
    counts: async () =>
      writer.read(() => {
        assertSound(writer)
        const counted = new Map(statements.counts.all().map((row) => [row['status'], Number(row['runs'])]))
        const runs = (status: RunStatus) => counted.get(status) ?? 0
        return {
          queued: runs('queued'),
          running: runs('running'),
          interrupted: runs('interrupted'),
          waitingApprovals: approvals.countWaiting(nowMs()),
        }
      }),
    claim: async (runId, leaseMs) => writer.transact(() => claim(runId, leaseMs)),
    // Asked again and again: without anything to do it must not take the write lock.
    claimQueued: async (leaseMs) => {
      if (writer.read(() => statements.nextQueued.get({ now: nowMs() })) === undefined) return undefined
      return writer.transact(() => claimQueued(leaseMs))
    },
    markStarted: async (token) => writer.transact(() => markStarted(token)),
    markBeyond: async (token) => writer.transact(() => statements.markBeyond.run(token).changes === 1),
    renew: async (token, leaseMs) =>
      writer.transact(() => {
        const row = rows.readClaimed(token)
        if (row === undefined) return 'lost'
        statements.renew.run(nowMs() + leaseMs, token)
        return row.cancel_requested === 1 ? 'cancel' : 'ours'
      }),
    save: async (token, what) => {
      const saved = writer.transact(() => save(token, what))
      if (saved) reach('run.saved')
      return saved
    },
    release: async (token, { denial, retryInMs }) =>
      writer.transact(() => {
        const row = rows.readClaimed(token)
        const now = nowMs()
        const startAtMs = retryInMs === undefined ? undefined : now + retryInMs
        if (row !== undefined) claims.giveBack(row, now, { denial, startAtMs })
        return row !== undefined
      }),
    cancel: async (runId, by, reason) => writer.transact(() => cancel(runId, by, reason)),
    sweepLost: async () => {
      if (writer.read(lost).length === 0) return []
      return writer.transact(() => {
        const runIds = lost()
        for (const runId of runIds) claims.settled(runId, nowMs())
        return runIds
      })
    },
    approvalsOf: async (runId) => writer.read(() => approvals.ofRun(runId, nowMs())),
    waitingApprovals: async (limit) => writer.read(() => approvals.waiting(limit, nowMs())),
    decide: async (runId, verdicts, by) => {
      const refused = writer.transact(() => {
        const first = approvals.decide(runId, verdicts, { by, nowMs: nowMs() })
        if (first === undefined) reach('approval.deciding')
        return first
      })
      if (refused === undefined) reach('approval.decided')
      return refused
    },
    useApproval: async (use) => writer.transact(() => uses.useForCall(use, nowMs())),
    addSteps: async (runId, added: readonly Omit<StepRecord, 'seq'>[]) => {
      if (added.length > 0) writer.transact(() => steps.add(runId, added))
    },
    stepsOf: async (runId) => writer.read(() => steps.of(runId)),
    operatorLog: async (filter) => writer.read(() => operatorLog.list(filter)),
    close: async () => opened.close(),
  }
}
