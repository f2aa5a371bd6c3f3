/** What tool servers tell of their runs. Each belongs to the key that told of it. */
export const SCHEMA_5_RUNS = `
  CREATE TABLE reported_runs (
    org_id TEXT NOT NULL REFERENCES orgs,
    run_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    replica TEXT NOT NULL,
    agent TEXT NOT NULL,
    caller TEXT NOT NULL,
    status TEXT NOT NULL,
    code TEXT,
    created_at_ms INTEGER NOT NULL,
    changed_at_ms INTEGER NOT NULL,
    reported_at_ms INTEGER NOT NULL,
    PRIMARY KEY (org_id, run_id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX reported_runs_newest ON reported_runs (org_id, created_at_ms, run_id);
  CREATE INDEX reported_runs_of_key ON reported_runs (org_id, key_id, reported_at_ms);
  CREATE INDEX reported_runs_old ON reported_runs (reported_at_ms);

  CREATE TABLE reported_steps (
    org_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    replica TEXT NOT NULL,
    type TEXT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (org_id, run_id, at_ms, seq, replica),
    FOREIGN KEY (org_id, run_id) REFERENCES reported_runs ON DELETE CASCADE
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE unknown_effects (
    org_id TEXT NOT NULL REFERENCES orgs,
    key_id TEXT NOT NULL,
    replica TEXT NOT NULL,
    effect_id TEXT NOT NULL,
    effect TEXT NOT NULL,
    kind TEXT NOT NULL,
    tool TEXT NOT NULL,
    run_id TEXT,
    call_id TEXT,
    changed_at_ms INTEGER NOT NULL,
    reported_at_ms INTEGER NOT NULL,
    heard_at_ms INTEGER NOT NULL,
    PRIMARY KEY (org_id, key_id, replica, effect_id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX unknown_effects_of_replica ON unknown_effects (org_id, replica);
  CREATE INDEX unknown_effects_heard ON unknown_effects (heard_at_ms);
`
