import { STOP_ACTIONS } from '../../control-plane/stops/stop-store.ts'

/** The epoch of an audit row. What an index is made of must be written the same in what is looked up in it. */
export const AUDIT_EPOCH = "after ->> '$.epoch'"
/** Which rows of the audit are stops. A step that was published never changes, so neither may this. */
export const IS_STOP = `action IN (${STOP_ACTIONS.map((action) => `'${action}'`).join(', ')})
  AND json_valid(after) AND ${AUDIT_EPOCH} IS NOT NULL`

/** Stops by their epoch; who listens to them, and what became of each; drills, and what signs them. */
export const SCHEMA_4 = `
  CREATE INDEX audit_stops ON audit (org_id, ${AUDIT_EPOCH}) WHERE ${IS_STOP};

  CREATE TABLE replicas (
    org_id TEXT NOT NULL REFERENCES orgs,
    key_id TEXT NOT NULL,
    replica TEXT NOT NULL,
    key_kind TEXT NOT NULL,
    devices TEXT NOT NULL,
    first_seen_at_ms INTEGER NOT NULL,
    last_seen_at_ms INTEGER NOT NULL,
    stream_up INTEGER NOT NULL CHECK (stream_up IN (0, 1)),
    stream_at_ms INTEGER,
    reported_at_ms INTEGER,
    left_at_ms INTEGER,
    timeout_ms REAL,
    latency TEXT,
    denied_at_ms INTEGER,
    denied_device_id TEXT,
    denied_code TEXT,
    PRIMARY KEY (org_id, key_id, replica)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX replicas_seen ON replicas (last_seen_at_ms);
  CREATE INDEX replicas_streams ON replicas (stream_up) WHERE stream_up = 1;

  CREATE TABLE stop_acks (
    org_id TEXT NOT NULL REFERENCES orgs,
    epoch INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    replica TEXT NOT NULL,
    told_at_ms INTEGER,
    received_at_ms INTEGER,
    settled_at_ms INTEGER,
    aborted INTEGER NOT NULL DEFAULT 0,
    finished INTEGER NOT NULL DEFAULT 0,
    unknown INTEGER NOT NULL DEFAULT 0,
    running INTEGER NOT NULL DEFAULT 0,
    calls TEXT NOT NULL DEFAULT '[]',
    noted_at_ms INTEGER NOT NULL,
    PRIMARY KEY (org_id, epoch, key_id, replica)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX stop_acks_noted ON stop_acks (noted_at_ms);

  CREATE TABLE drills (
    org_id TEXT NOT NULL REFERENCES orgs,
    drill_id TEXT NOT NULL,
    stored_at_ms INTEGER NOT NULL,
    summary TEXT NOT NULL,
    drill TEXT NOT NULL,
    PRIMARY KEY (org_id, drill_id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX drills_newest ON drills (org_id, stored_at_ms, drill_id, summary);

  CREATE TABLE signing_keys (
    org_id TEXT PRIMARY KEY REFERENCES orgs,
    public_key TEXT NOT NULL,
    private_key TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
`
