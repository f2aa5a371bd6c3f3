import type { Migration } from './migrate.ts'

const JOURNAL = `
  CREATE TABLE effect_journal (
    key TEXT COLLATE "C" PRIMARY KEY,
    seq BIGINT GENERATED ALWAYS AS IDENTITY,
    effect TEXT NOT NULL,
    kind TEXT NOT NULL,
    tool TEXT NOT NULL,
    caller TEXT COLLATE "C" NOT NULL,
    run_id TEXT COLLATE "C",
    call_id TEXT NOT NULL,
    input_digest TEXT NOT NULL,
    input TEXT,
    result TEXT,
    state TEXT NOT NULL CHECK (state IN ('intent', 'done', 'failed', 'denied', 'unknown')),
    token TEXT COLLATE "C" NOT NULL UNIQUE,
    approval_id TEXT,
    first_attempt_at_ms BIGINT NOT NULL,
    changed_at_ms BIGINT NOT NULL,
    lease_until_ms BIGINT NOT NULL,
    deadline_at_ms BIGINT NOT NULL,
    deadline_ms BIGINT NOT NULL,
    transactional SMALLINT NOT NULL CHECK (transactional IN (0, 1)),
    resolved SMALLINT NOT NULL DEFAULT 0 CHECK (resolved IN (0, 1))
  );
  CREATE INDEX effect_journal_open ON effect_journal (first_attempt_at_ms, seq) WHERE state IN ('intent', 'unknown');
  CREATE INDEX effect_journal_input ON effect_journal (changed_at_ms) WHERE input IS NOT NULL;
  CREATE INDEX effect_journal_run ON effect_journal (caller, run_id, first_attempt_at_ms) WHERE run_id IS NOT NULL;`

/** Sealed states can be 2 MB: they lie apart, so that no lease that is renewed writes them anew. */
const RUNS = `
  CREATE TABLE runs (
    run_id TEXT COLLATE "C" PRIMARY KEY,
    caller TEXT COLLATE "C" NOT NULL,
    agent TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL
      CHECK (status IN ('queued', 'running', 'interrupted', 'completed', 'denied', 'failed', 'cancelled')),
    version INTEGER NOT NULL,
    request_digest TEXT NOT NULL,
    context_digest TEXT,
    resumable SMALLINT NOT NULL CHECK (resumable IN (0, 1)),
    denial TEXT,
    problem TEXT,
    cancel_requested SMALLINT NOT NULL CHECK (cancel_requested IN (0, 1)),
    start_at_ms BIGINT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    changed_at_ms BIGINT NOT NULL,
    token TEXT COLLATE "C" UNIQUE,
    lease_until_ms BIGINT,
    status_before TEXT,
    beyond_saved SMALLINT NOT NULL DEFAULT 0 CHECK (beyond_saved IN (0, 1)),
    CHECK ((status = 'running') = (token IS NOT NULL)),
    CHECK ((token IS NULL) = (lease_until_ms IS NULL))
  );
  CREATE INDEX runs_newest ON runs (created_at_ms, run_id);
  CREATE INDEX runs_of_caller ON runs (caller, created_at_ms, run_id);
  CREATE INDEX runs_of_caller_in ON runs (caller, status, created_at_ms, run_id);
  CREATE INDEX runs_of_agent ON runs (agent, created_at_ms, run_id);
  CREATE INDEX runs_in ON runs (status, created_at_ms, run_id);
  CREATE INDEX runs_queue ON runs (start_at_ms, created_at_ms, run_id) WHERE status = 'queued';
  CREATE INDEX runs_leases ON runs (lease_until_ms) WHERE status = 'running';
  CREATE INDEX runs_ended ON runs (changed_at_ms) WHERE token IS NULL;

  CREATE TABLE run_states (
    run_id TEXT COLLATE "C" PRIMARY KEY REFERENCES runs (run_id),
    state BYTEA,
    output BYTEA
  );

  CREATE TABLE run_steps (
    run_id TEXT COLLATE "C" NOT NULL REFERENCES runs (run_id),
    seq INTEGER NOT NULL,
    at_ms BIGINT NOT NULL,
    type TEXT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (run_id, seq)
  );`

const APPROVALS = `
  CREATE TABLE approvals (
    approval_id TEXT COLLATE "C" PRIMARY KEY,
    seq BIGINT GENERATED ALWAYS AS IDENTITY,
    run_id TEXT COLLATE "C" NOT NULL REFERENCES runs (run_id),
    call_id TEXT NOT NULL,
    tool TEXT NOT NULL,
    digest TEXT NOT NULL,
    schema_digest TEXT NOT NULL,
    surface TEXT NOT NULL,
    arguments BYTEA NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'approved', 'declined', 'used', 'expired', 'ended')),
    message TEXT,
    decided_by TEXT,
    use_token TEXT,
    asked_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT NOT NULL,
    CHECK ((state = 'used') = (use_token IS NOT NULL))
  );
  CREATE INDEX approvals_of_run ON approvals (run_id, asked_at_ms, seq);
  CREATE INDEX approvals_waiting ON approvals (expires_at_ms) WHERE state = 'waiting';

  CREATE TABLE operator_log (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    run_id TEXT COLLATE "C",
    reason TEXT
  );
  CREATE INDEX operator_log_run ON operator_log (run_id, seq) WHERE run_id IS NOT NULL;`

/** The tool servers' schema: the journal, and the runs that share its transactions. */
export const TOOL_MIGRATIONS: readonly Migration[] = [{ sql: JOURNAL + RUNS + APPROVALS }]
