/** Calls that wait for a person, and what became of them. Few wait, and those are found without the others. */
export const SCHEMA_5_APPROVALS = `
  CREATE TABLE approvals (
    org_id TEXT NOT NULL REFERENCES orgs,
    approval_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    agent TEXT NOT NULL,
    caller TEXT NOT NULL,
    call_id TEXT NOT NULL,
    tool TEXT NOT NULL,
    surface TEXT NOT NULL,
    device_ids TEXT NOT NULL,
    digest TEXT NOT NULL CHECK (length(digest) = 64),
    schema_digest TEXT NOT NULL,
    asked_at_ms INTEGER NOT NULL,
    asked_by TEXT NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'approved', 'declined', 'expired', 'withdrawn')),
    ended_at_ms INTEGER,
    decided_by TEXT,
    message TEXT,
    -- The last one: it can be long, and is mostly not read.
    arguments_json TEXT NOT NULL,
    PRIMARY KEY (org_id, approval_id),
    CHECK ((state = 'waiting') = (ended_at_ms IS NULL)),
    CHECK ((state IN ('approved', 'declined')) = (decided_by IS NOT NULL))
  ) STRICT;
  CREATE INDEX approvals_waiting ON approvals (org_id, expires_at_ms, approval_id) WHERE state = 'waiting';
  CREATE INDEX approvals_expiry ON approvals (expires_at_ms) WHERE state = 'waiting';
  CREATE INDEX approvals_others ON approvals (org_id, asked_at_ms, approval_id) WHERE state <> 'waiting';
  CREATE INDEX approvals_spare ON approvals (org_id, ended_at_ms) WHERE state IN ('expired', 'withdrawn');
  CREATE INDEX approvals_ended ON approvals (ended_at_ms) WHERE state <> 'waiting';
`
