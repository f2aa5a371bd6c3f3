import type { Begun, BeginOptions, Intent, Journal, Outcome, Settlement } from '../../guard/journal.ts'
import { idempotencyKeyOf } from '../../guard/effect.ts'
import { createApprovalUses } from './approval-use.ts'
import { entryOf, inTheWay, prepareJournal, resultOf, type JournalRow } from './journal-rows.ts'
import { createOperatorLog } from './operator-log.ts'
import { createSettleWith } from './settle-with.ts'
import { openToolFile, type OpenToolFile, type ToolFileOptions } from './tool-file.ts'

export type SqliteJournalOptions = Omit<ToolFileOptions, 'atCrashPoint'>

/**
 * The journal in a SQLite file: durable when a promise resolves, and shared by all processes that open the file.
 * Inputs older than `retentionMs` are forgotten when it is opened; keys, outcomes and results stay, so that an
 * old effect is still never repeated. Throws what `openSqlite` throws, and `STORE_TOO_NEW`.
 */
export function createSqliteJournal(options: SqliteJournalOptions): Journal {
  return createJournal(openToolFile(options))
}

export function createJournal(opened: OpenToolFile): Journal {
  const { db, writer, nowMs, reach } = opened
  const statements = prepareJournal(db)
  const approvals = createApprovalUses(db)
  const operatorLog = createOperatorLog(db)

  /** The row of a key as it is now: an intent whose lease and deadline have passed is unknown. */
  function read(key: string, now: number): JournalRow | undefined {
    statements.expireKey.run({ key, now })
    return statements.read.get(key) as unknown as JournalRow | undefined
  }

  function begin(intent: Intent, options: BeginOptions): Begun {
    const { retakeUnknown = false, approval } = options
    const now = nowMs()
    const row = read(intent.key, now)
    const obstacle = row === undefined ? undefined : inTheWay(row, intent, retakeUnknown, now)
    if (obstacle !== undefined) return obstacle
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
      transactional: Number(intent.transactional === true),
    })
    reach('effect.intent_writing')
    return token
  }

  function resolveUnknown(key: string, outcome: Outcome, settlement: Settlement | undefined): boolean {
    const now = nowMs()
    const row = read(key, now)
    const end = { state: outcome.state, result: resultOf(outcome), now, key }
    if (row === undefined || statements.resolve.run(end).changes !== 1) return false
    if (settlement !== undefined) {
      const { by, reason } = settlement
      const runId = row.run_id ?? undefined
      operatorLog.add({
        atMs: now,
        by,
        action: 'effect.settle',
        subject: idempotencyKeyOf(key),
        runId,
        reason,
      })
    }
    return true
  }

  // E1: each of these holds the write lock before its first read, so that of two owners one sees the other.
  return {
    begin: async (intent, beginOptions) => writer.transact(() => begin(intent, beginOptions)),
    renew: async (token, leaseMs) =>
      writer.transact(() => statements.renew.run(nowMs() + leaseMs, token).changes === 1),
    settle: async (token, outcome) =>
      writer.transact(() => {
        const end = { state: outcome.state, result: resultOf(outcome), now: nowMs(), token }
        return statements.settle.run(end).changes === 1
      }),
    // Only reads: health checks ask for it, and must neither wait for the write lock nor take it.
    listUnknown: async () => {
      const rows = writer.read(() => statements.listUnknown.all({ now: nowMs() }))
      return (rows as unknown as JournalRow[]).map(entryOf)
    },
    listRun: async ({ caller, runId }) => {
      const rows = writer.read(() => statements.listRun.all({ caller, runId, now: nowMs() }))
      return (rows as unknown as JournalRow[]).map(entryOf)
    },
    resolveUnknown: async (key, outcome, settlement) =>
      writer.transact(() => resolveUnknown(key, outcome, settlement)),
    settleWith: createSettleWith(opened, statements),
    close: async () => opened.close(),
  }
}
