import type { Migration } from './migrate.ts'

/** Files from before there were migrations have this very table. */
const JOURNAL = `
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

/** The caller is the second part of the key. */
const CALLERS = `
  ALTER TABLE effect_journal ADD COLUMN caller TEXT NOT NULL DEFAULT 'local';
  ALTER TABLE effect_journal ADD COLUMN approval_id TEXT;
  ALTER TABLE effect_journal ADD COLUMN transactional INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE effect_journal ADD COLUMN resolved INTEGER NOT NULL DEFAULT 0;
  UPDATE effect_journal SET caller = CASE WHEN json_valid(key) THEN coalesce(key ->> 1, 'local') ELSE 'local' END;
  CREATE INDEX effect_journal_run ON effect_journal (caller, run_id, first_attempt_at_ms) WHERE run_id IS NOT NULL;`

/** Sealed states can be 2 MB: they lie apart, so that a list of runs need not pass over them. */
const RUNS = `
  CREATE TABLE runs (
    run_id TEXT PRIMARY KEY,
    caller TEXT NOT NULL,
    agent TEXT NOT NULL,
    status TEXT NOT NULL
      CHECK (status IN ('queued', 'running', 'interrupted', 'completed', 'denied', 'failed', 'cancelled')),
    version INTEGER NOT NULL,
    request_digest TEXT NOT NULL,
    resumable INTEGER NOT NULL CHECK (resumable IN (0, 1)),
    denial TEXT,
    problem TEXT,
    cancel_requested INTEGER NOT NULL CHECK (cancel_requested IN (0, 1)),
    start_at_ms INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    changed_at_ms INTEGER NOT NULL,
    token TEXT UNIQUE,
    lease_until_ms INTEGER,
    status_before TEXT,
    beyond_saved INTEGER NOT NULL DEFAULT 0 CHECK (beyond_saved IN (0, 1)),
    context_digest TEXT,
    CHECK ((status = 'running') = (token IS NOT NULL)),
    CHECK ((token IS NULL) = (lease_until_ms IS NULL))
  ) STRICT;
  CREATE INDEX runs_newest ON runs (created_at_ms, run_id);
  CREATE INDEX runs_of_caller ON runs (caller, created_at_ms, run_id);
  CREATE INDEX runs_of_caller_in ON runs (caller, status, created_at_ms, run_id);
  CREATE INDEX runs_of_agent ON runs (agent, created_at_ms, run_id);
  CREATE INDEX runs_in ON runs (status, created_at_ms, run_id);
  CREATE INDEX runs_queue ON runs (start_at_ms, created_at_ms, run_id) WHERE status = 'queued';
  CREATE INDEX runs_leases ON runs (lease_until_ms) WHERE status = 'running';

  CREATE TABLE run_states (
    run_id TEXT PRIMARY KEY REFERENCES runs (run_id),
    state BLOB,
    output BLOB
  ) STRICT;

  CREATE TABLE run_steps (
    run_id TEXT NOT NULL REFERENCES runs (run_id),
    seq INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    type TEXT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (run_id, seq)
  ) STRICT, WITHOUT ROWID;`

const APPROVALS = `
  CREATE TABLE approvals (
    approval_id TEXT PRIMARY KEY,
    run_id TEXT NOT NULL REFERENCES runs (run_id),
    call_id TEXT NOT NULL,
    tool TEXT NOT NULL,
    digest TEXT NOT NULL,
    schema_digest TEXT NOT NULL,
    surface TEXT NOT NULL,
    arguments BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'approved', 'declined', 'used', 'expired', 'ended')),
    message TEXT,
    decided_by TEXT,
    use_token TEXT,
    asked_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    CHECK ((state = 'used') = (use_token IS NOT NULL))
  ) STRICT;
  CREATE INDEX approvals_of_run ON approvals (run_id, asked_at_ms);
  CREATE INDEX approvals_waiting ON approvals (expires_at_ms) WHERE state = 'waiting';

  CREATE TABLE operator_log (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    run_id TEXT,
    reason TEXT
  ) STRICT;
  CREATE INDEX operator_log_run ON operator_log (run_id, seq) WHERE run_id IS NOT NULL;`

/** The tool server's file: the journal, and the runs that share its transactions. */
export const TOOL_MIGRATIONS: readonly Migration[] = [JOURNAL, CALLERS + RUNS + APPROVALS]
