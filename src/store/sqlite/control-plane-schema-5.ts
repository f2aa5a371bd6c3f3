import { SCHEMA_5_APPROVALS } from './control-plane-schema-5-approvals.ts'
import { SCHEMA_5_RUNS } from './control-plane-schema-5-runs.ts'

const SESSIONS = `
  CREATE TABLE sessions (
    session_id TEXT PRIMARY KEY,
    org_id TEXT NOT NULL REFERENCES orgs,
    key_id TEXT NOT NULL,
    email TEXT,
    digest TEXT NOT NULL CHECK (length(digest) = 64),
    digest_before TEXT,
    before_until_ms INTEGER,
    turn TEXT,
    started_at_ms INTEGER NOT NULL,
    idle_at_ms INTEGER NOT NULL CHECK (idle_at_ms <= ends_at_ms),
    ends_at_ms INTEGER NOT NULL,
    ended_at_ms INTEGER,
    ended_as TEXT CHECK ((ended_as IS NULL) = (ended_at_ms IS NULL)),
    CHECK ((digest_before IS NULL) = (before_until_ms IS NULL) AND (digest_before IS NULL) = (turn IS NULL))
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX sessions_open ON sessions (org_id, started_at_ms, session_id) WHERE ended_at_ms IS NULL;
  CREATE INDEX sessions_idle ON sessions (idle_at_ms) WHERE ended_at_ms IS NULL;
  CREATE INDEX sessions_ended ON sessions (ended_at_ms) WHERE ended_at_ms IS NOT NULL;
`

/** People's sessions in the console; the approvals desk; what tool servers tell of runs. */
export const SCHEMA_5 = `${SESSIONS}${SCHEMA_5_APPROVALS}${SCHEMA_5_RUNS}`
