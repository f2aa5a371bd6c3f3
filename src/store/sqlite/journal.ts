import type { StatementSync } from 'node:sqlite'

import type {
  Begun,
  BeginOptions,
  Intent,
  Journal,
  JournalEntry,
  Outcome,
  Settlement,
} from '../../guard/journal.ts'
import { idempotencyKeyOf } from '../../guard/effect.ts'
import { endOf, entryOf, inTheWay, maySettle, OVERRULED, type JournalRow } from '../journal-rows.ts'
import { createApprovalUses } from './approval-use.ts'
import { prepareJournal } from './journal-rows.ts'
import { createOperatorLog } from './operator-log.ts'
import { createRunFence } from './run-fence.ts'
import { createSettleWith } from './settle-with.ts'
import { openToolFile, type OpenToolFile, type ToolFileOptions } from './tool-file.ts'
import { assertSound } from './transaction.ts'

/** What `createSqliteJournal` takes. */
export type SqliteJournalOptions = Omit<ToolFileOptions, 'atCrashPoint'>

/**
 * The journal in a SQLite file: durable when a promise resolves, and shared by all processes that open the file.
 * Inputs and ended runs older than `retentionMs` are forgotten when it is opened; keys, outcomes and results stay, so
 * that an old effect is still never repeated. Throws what `openSqlite` throws, and `STORE_TOO_NEW`.
 */
export function createSqliteJournal(options: SqliteJournalOptions): Journal {
  return createJournal(openToolFile(options))
}

type Audited = 'effect.settle' | 'effect.overrule'

export function createJournal(opened: OpenToolFile): Journal {
  const { db, writer, nowMs, reach } = opened
  const statements = prepareJournal(db)
  const approvals = createApprovalUses(db)
  const operatorLog = createOperatorLog(db)
  const holdsRun = createRunFence(db)

  /** The row of a key as it is now: an intent whose lease and deadline have passed is unknown. */
  function read(key: string, now: number): JournalRow | undefined {
    statements.expireKey.run({ key, now })
    return statements.read.get(key) as unknown as JournalRow | undefined
  }

  function begin(intent: Intent, options: BeginOptions): Begun {
    const { retakeUnknown = false, approval, fence } = options
    const now = nowMs()
    const row = read(intent.key, now)
    const obstacle = row === undefined ? undefined : inTheWay(row, intent, retakeUnknown, now)
    if (obstacle !== undefined) return obstacle
    if (fence !== undefined && !holdsRun(fence, now)) return { state: 'unclaimed' }
    const problem = approval === undefined ? undefined : approvals.useForIntent(approval, intent, row, now)
    if (problem !== undefined) return { state: 'unapproved', problem }
    return { state: 'begun', token: write(intent, row?.state === 'unknown' ? row : undefined, now, options) }
  }

  function write(
    intent: Intent,
    unknown: JournalRow | undefined,
    now: number,
    { leaseMs, approval }: BeginOptions,
  ): string {
    const token = crypto.randomUUID()
    const deadlineMs = Math.ceil(intent.deadlineMs)
    statements.write.run({
      key: intent.key,
      effect: intent.effect,
      kind: intent.kind,
      tool: intent.tool,
      caller: intent.caller,
      runId: intent.runId ?? null,
      callId: intent.callId,
      digest: intent.inputDigest,
      input: intent.input ?? null,
      token,
      // Whoever takes an unknown outcome over to ask about it leaves it to the approval that it began under.
      approvalId: approval?.approvalId ?? unknown?.approval_id ?? null,
      firstAttemptAtMs: unknown?.first_attempt_at_ms ?? now,
      now,
      leaseUntilMs: now + leaseMs,
      deadlineAtMs: now + deadlineMs,
      deadlineMs,
      // What an earlier attempt lost of its certainty, a retake does not give back (E4).
      transactional: Number(intent.transactional === true && unknown?.transactional !== 0),
    })
    reach('effect.intent_writing')
    return token
  }

  function resolveUnknown(key: string, outcome: Outcome, settlement: Settlement | undefined): boolean {
    const now = nowMs()
    const row = read(key, now)
    const end = { ...endOf(outcome, now), key, resolved: 1 }
    if (row === undefined || statements.resolve.run(end).changes !== 1) return false
    if (settlement !== undefined) audit(row, 'effect.settle', settlement, now)
    return true
  }

  function settle(token: string, outcome: Outcome): boolean | 'overruled' {
    const now = nowMs()
    const row = statements.own.get(token) as unknown as JournalRow | undefined
    const settled = row !== undefined && maySettle(row, outcome)
    if (row === undefined || settled === false) return false
    statements.settle.run({ ...endOf(outcome, now), token })
    if (settled === 'overruled') audit(row, 'effect.overrule', OVERRULED, now)
    return settled
  }

  function audit(
    { key, run_id }: JournalRow,
    action: Audited,
    { by, reason }: Settlement,
    atMs: number,
  ): void {
    operatorLog.add({ atMs, by, action, subject: idempotencyKeyOf(key), runId: run_id ?? undefined, reason })
  }

  function list(statement: StatementSync, parameters: Record<string, string>): JournalEntry[] {
    const now = nowMs()
    assertSound(writer)
    const rows = writer.read(() => statement.all({ ...parameters, now }))
    return (rows as unknown as JournalRow[]).map((row) => entryOf(row, now))
  }

  // E1: each of these holds the write lock before its first read, so that of two owners one sees the other.
  return {
    begin: async (intent, beginOptions) => writer.transact(() => begin(intent, beginOptions)),
    renew: async (token, leaseMs, fence) =>
      writer.transact(() => {
        const now = nowMs()
        if (fence !== undefined && !holdsRun(fence, now)) return false
        return statements.renew.run({ leaseUntilMs: now + leaseMs, token, now }).changes === 1
      }),
    settle: async (token, outcome) => writer.transact(() => settle(token, outcome)),
    // These only read: health checks ask, and must neither wait for the write lock nor take it.
    listUnknown: async () => list(statements.listUnknown, {}),
    countUnknown: async () => {
      assertSound(writer)
      const row = writer.read(() => statements.countUnknown.get({ now: nowMs() }))
      return (row as { count: number }).count
    },
    listRun: async ({ caller, runId }) => list(statements.listRun, { caller, runId }),
    resolveUnknown: async (key, outcome, settlement) =>
      writer.transact(() => resolveUnknown(key, outcome, settlement)),
    settleWith: createSettleWith(opened, statements),
    close: async () => opened.close(),
  }
}
