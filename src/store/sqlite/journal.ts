import type { DatabaseSync } from 'node:sqlite'

import type {
  BeginOptions,
  Begun,
  EffectState,
  Intent,
  Journal,
  JournalEntry,
  Outcome,
} from '../../guard/journal.ts'
import { openSqlite } from './open.ts'
import { createWriter } from './transaction.ts'

export interface SqliteJournalOptions {
  readonly file: string
  /** The store's clock: wall time in milliseconds. Default `Date.now`. */
  readonly nowMs?: () => number
  /** How long stored inputs are kept after an effect's last change, in milliseconds. Default 30 days. */
  readonly retentionMs?: number
}

const RETENTION_MS = 30 * 24 * 60 * 60 * 1000

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS effect_journal (
    key TEXT PRIMARY KEY,
    effect TEXT NOT NULL,
    kind TEXT NOT NULL,
    tool TEXT NOT NULL,
    run_id TEXT,
    call_id TEXT NOT NULL,
    input_digest TEXT NOT NULL,
    input TEXT,
    result TEXT,
    state TEXT NOT NULL CHECK (state IN ('intent', 'done', 'failed', 'denied', 'unknown')),
    token TEXT NOT NULL UNIQUE,
    first_attempt_at_ms INTEGER NOT NULL,
    changed_at_ms INTEGER NOT NULL,
    lease_until_ms INTEGER NOT NULL,
    deadline_at_ms INTEGER NOT NULL,
    deadline_ms INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX IF NOT EXISTS effect_journal_open ON effect_journal (state) WHERE state IN ('intent', 'unknown');
  CREATE INDEX IF NOT EXISTS effect_journal_input ON effect_journal (changed_at_ms) WHERE input IS NOT NULL`

interface Row {
  readonly key: string
  readonly effect: string
  readonly kind: string
  readonly tool: string
  readonly run_id: string | null
  readonly call_id: string
  readonly input_digest: string
  readonly input: string | null
  readonly result: string | null
  readonly state: EffectState
  readonly first_attempt_at_ms: number
  readonly changed_at_ms: number
  readonly deadline_ms: number
}

/**
 * The journal in a SQLite file: durable when a promise resolves, and shared by all processes that open the file.
 * Inputs older than `retentionMs` are forgotten when it is opened; keys, outcomes and results stay, so that an
 * old effect is still never repeated. Throws what `openSqlite` throws.
 */
export function createSqliteJournal(options: SqliteJournalOptions): Journal {
  const { file, nowMs = Date.now, retentionMs = RETENTION_MS } = options
  const db = openSqlite(file)
  const writer = createWriter(db, file)
  writer.transact(() => {
    db.exec(SCHEMA)
    const forget = db.prepare(
      'UPDATE effect_journal SET input = NULL WHERE input IS NOT NULL AND changed_at_ms <= ?',
    )
    forget.run(nowMs() - retentionMs)
  })
  const statements = prepare(db)

  function begin(intent: Intent, { leaseMs, retakeUnknown = false }: BeginOptions): Begun {
    const now = nowMs()
    statements.expireKey.run(now, intent.key, now, now)
    const row = statements.read.get(intent.key) as Row | undefined
    const obstacle = row === undefined ? undefined : inTheWay(row, intent, retakeUnknown, now)
    if (obstacle !== undefined) return obstacle
    const token = crypto.randomUUID()
    const deadlineMs = Math.ceil(intent.deadlineMs)
    statements.write.run({
      key: intent.key,
      effect: intent.effect,
      kind: intent.kind,
      tool: intent.tool,
      runId: intent.runId ?? null,
      callId: intent.callId,
      digest: intent.inputDigest,
      input: intent.input ?? null,
      token,
      firstAttemptAtMs: row?.state === 'unknown' ? row.first_attempt_at_ms : now,
      now,
      leaseUntilMs: now + leaseMs,
      deadlineAtMs: now + deadlineMs,
      deadlineMs,
    })
    return { state: 'begun', token }
  }

  // E1: each of these holds the write lock before its first read, so that of two owners one sees the other.
  return {
    begin: async (intent, beginOptions) => writer.transact(() => begin(intent, beginOptions)),
    renew: async (token, leaseMs) =>
      writer.transact(() => statements.renew.run(nowMs() + leaseMs, token).changes === 1),
    settle: async (token, outcome) =>
      writer.transact(
        () => statements.settle.run(outcome.state, resultOf(outcome), nowMs(), token).changes === 1,
      ),
    // Only reads: health checks ask for it, and must neither wait for the write lock nor take it.
    listUnknown: async () => {
      const now = nowMs()
      return (statements.listUnknown.all(now, now) as unknown as Row[]).map(entryOf)
    },
    resolveUnknown: async (key, outcome) =>
      writer.transact(() => {
        const now = nowMs()
        statements.expireKey.run(now, key, now, now)
        return statements.resolve.run(outcome.state, resultOf(outcome), now, key).changes === 1
      }),
    close: async () => {
      if (db.isOpen) db.close()
    },
  }
}

function prepare(db: DatabaseSync) {
  const expire = `UPDATE effect_journal SET state = 'unknown', changed_at_ms = ? WHERE state = 'intent'`
  const passed = 'lease_until_ms <= ? AND deadline_at_ms <= ?'
  const end = 'UPDATE effect_journal SET state = ?, result = ?, changed_at_ms = ? WHERE'
  return {
    expireKey: db.prepare(`${expire} AND key = ? AND ${passed}`),
    read: db.prepare('SELECT * FROM effect_journal WHERE key = ?'),
    write: db.prepare(`
      INSERT INTO effect_journal VALUES (
        :key, :effect, :kind, :tool, :runId, :callId, :digest, :input, NULL, 'intent', :token,
        :firstAttemptAtMs, :now, :leaseUntilMs, :deadlineAtMs, :deadlineMs
      )
      ON CONFLICT (key) DO UPDATE SET
        (effect, kind, tool, run_id, call_id, input_digest, input, result, state, token,
         first_attempt_at_ms, changed_at_ms, lease_until_ms, deadline_at_ms, deadline_ms) =
        (excluded.effect, excluded.kind, excluded.tool, excluded.run_id, excluded.call_id,
         excluded.input_digest, excluded.input, NULL, 'intent', excluded.token, excluded.first_attempt_at_ms,
         excluded.changed_at_ms, excluded.lease_until_ms, excluded.deadline_at_ms, excluded.deadline_ms)`),
    renew: db.prepare(`UPDATE effect_journal SET lease_until_ms = ? WHERE token = ? AND state = 'intent'`),
    settle: db.prepare(`${end} token = ? AND state IN ('intent', 'unknown')`),
    resolve: db.prepare(`${end} key = ? AND state = 'unknown'`),
    listUnknown: db.prepare(
      `SELECT *, 'unknown' AS state,
         iif(state = 'intent', max(lease_until_ms, deadline_at_ms), changed_at_ms) AS changed_at_ms
       FROM effect_journal WHERE state IN ('intent', 'unknown') AND (state = 'unknown' OR (${passed}))
       ORDER BY first_attempt_at_ms, rowid`,
    ),
  }
}

/** What keeps `intent` from beginning, if anything. */
function inTheWay(row: Row, intent: Intent, retakeUnknown: boolean, now: number): Begun | undefined {
  if (row.state === 'failed' || row.state === 'denied') return undefined
  if (row.input_digest !== intent.inputDigest) return { state: 'conflict' }
  if (row.state === 'done') return { state: 'done', result: row.result ?? undefined }
  if (row.state === 'intent') return { state: 'running' }
  return retakeUnknown ? undefined : { state: 'unknown', sinceFirstAttemptMs: now - row.first_attempt_at_ms }
}

function resultOf(outcome: Outcome): string | null {
  return outcome.state === 'done' ? (outcome.result ?? null) : null
}

function entryOf(row: Row): JournalEntry {
  return {
    key: row.key,
    effect: row.effect,
    kind: row.kind,
    tool: row.tool,
    runId: row.run_id ?? undefined,
    callId: row.call_id,
    inputDigest: row.input_digest,
    input: row.input ?? undefined,
    deadlineMs: row.deadline_ms,
    state: row.state,
    changedAtMs: row.changed_at_ms,
  }
}
