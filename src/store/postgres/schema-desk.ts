const ID = 'TEXT COLLATE "C"'

const SESSIONS = `
  CREATE TABLE sessions (
    session_id ${ID} PRIMARY KEY,
    org_id ${ID} NOT NULL REFERENCES orgs,
    key_id TEXT NOT NULL,
    email TEXT,
    digest TEXT NOT NULL CHECK (length(digest) = 64),
    digest_before TEXT,
    before_until_ms BIGINT,
    turn TEXT,
    started_at_ms BIGINT NOT NULL,
    idle_at_ms BIGINT NOT NULL CHECK (idle_at_ms <= ends_at_ms),
    ends_at_ms BIGINT NOT NULL,
    ended_at_ms BIGINT,
    ended_as TEXT CHECK ((ended_as IS NULL) = (ended_at_ms IS NULL)),
    CHECK ((digest_before IS NULL) = (before_until_ms IS NULL) AND (digest_before IS NULL) = (turn IS NULL))
  );
  CREATE INDEX sessions_open ON sessions (org_id, started_at_ms, session_id) WHERE ended_at_ms IS NULL;
  CREATE INDEX sessions_idle ON sessions (idle_at_ms) WHERE ended_at_ms IS NULL;
  CREATE INDEX sessions_ended ON sessions (ended_at_ms) WHERE ended_at_ms IS NOT NULL;
`

const APPROVALS = `
  CREATE TABLE approvals (
    org_id ${ID} NOT NULL REFERENCES orgs,
    approval_id ${ID} NOT NULL,
    run_id ${ID} NOT NULL,
    agent TEXT NOT NULL,
    caller TEXT NOT NULL,
    call_id TEXT NOT NULL,
    tool TEXT NOT NULL,
    surface TEXT NOT NULL,
    device_ids TEXT NOT NULL,
    digest TEXT NOT NULL CHECK (length(digest) = 64),
    schema_digest TEXT NOT NULL,
    arguments_json TEXT NOT NULL,
    asked_at_ms BIGINT NOT NULL,
    asked_by ${ID} NOT NULL,
    expires_at_ms BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'approved', 'declined', 'expired', 'withdrawn')),
    ended_at_ms BIGINT,
    decided_by TEXT,
    message TEXT,
    PRIMARY KEY (org_id, approval_id),
    CHECK ((state = 'waiting') = (ended_at_ms IS NULL)),
    CHECK ((state IN ('approved', 'declined')) = (decided_by IS NOT NULL))
  );
  CREATE INDEX approvals_waiting ON approvals (org_id, expires_at_ms, approval_id) WHERE state = 'waiting';
  CREATE INDEX approvals_expiry ON approvals (expires_at_ms) WHERE state = 'waiting';
  CREATE INDEX approvals_others ON approvals (org_id, asked_at_ms, approval_id) WHERE state <> 'waiting';
  CREATE INDEX approvals_spare ON approvals (org_id, ended_at_ms) WHERE state IN ('expired', 'withdrawn');
  CREATE INDEX approvals_ended ON approvals (ended_at_ms) WHERE state <> 'waiting';
`

const RUNS = `
  CREATE TABLE reported_runs (
    org_id ${ID} NOT NULL REFERENCES orgs,
    run_id ${ID} NOT NULL,
    key_id ${ID} NOT NULL,
    replica TEXT NOT NULL,
    agent TEXT NOT NULL,
    caller TEXT NOT NULL,
    status TEXT NOT NULL,
    code TEXT,
    created_at_ms BIGINT NOT NULL,
    changed_at_ms BIGINT NOT NULL,
    reported_at_ms BIGINT NOT NULL,
    PRIMARY KEY (org_id, run_id)
  );
  CREATE INDEX reported_runs_newest ON reported_runs (org_id, created_at_ms, run_id);
  CREATE INDEX reported_runs_of_key ON reported_runs (org_id, key_id, reported_at_ms, run_id);
  CREATE INDEX reported_runs_old ON reported_runs (reported_at_ms);

  CREATE TABLE reported_steps (
    org_id ${ID} NOT NULL,
    run_id ${ID} NOT NULL,
    at_ms BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    replica ${ID} NOT NULL,
    type TEXT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (org_id, run_id, at_ms, seq, replica),
    FOREIGN KEY (org_id, run_id) REFERENCES reported_runs ON DELETE CASCADE
  );

  CREATE TABLE unknown_effects (
    org_id ${ID} NOT NULL REFERENCES orgs,
    key_id ${ID} NOT NULL,
    replica ${ID} NOT NULL,
    effect_id ${ID} NOT NULL,
    effect TEXT NOT NULL,
    kind TEXT NOT NULL,
    tool TEXT NOT NULL,
    run_id TEXT,
    call_id TEXT,
    changed_at_ms BIGINT NOT NULL,
    reported_at_ms BIGINT NOT NULL,
    heard_at_ms BIGINT NOT NULL,
    PRIMARY KEY (org_id, key_id, replica, effect_id)
  );
  CREATE INDEX unknown_effects_of_replica ON unknown_effects (org_id, replica);
  CREATE INDEX unknown_effects_heard ON unknown_effects (heard_at_ms);
`

/** What the console works with: sessions, approvals, reported runs. */
export const DESK = `${SESSIONS}${APPROVALS}${RUNS}`
