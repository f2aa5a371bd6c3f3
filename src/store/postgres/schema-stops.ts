const ID = 'TEXT COLLATE "C"'

// A stop's epoch stands beside its row, written with it: whoever alters the JSON neither hides nor breaks anything here.
// The name of the node that has a stream lies in a row of its own, so that each node speaks only of its own streams.
/** Who listens for stops, and what became of each; drills, and what signs them. */
export const STOPS = `
  ALTER TABLE audit ADD COLUMN stop_epoch BIGINT;
  CREATE INDEX audit_stops ON audit (org_id, stop_epoch, seq) WHERE stop_epoch IS NOT NULL;

  CREATE TABLE replicas (
    org_id ${ID} NOT NULL REFERENCES orgs,
    key_id ${ID} NOT NULL,
    replica ${ID} NOT NULL,
    key_kind TEXT NOT NULL,
    devices TEXT,
    first_seen_at_ms BIGINT NOT NULL,
    last_seen_at_ms BIGINT NOT NULL,
    reported_at_ms BIGINT,
    left_at_ms BIGINT,
    timeout_ms DOUBLE PRECISION,
    latency TEXT,
    denied_at_ms BIGINT,
    denied_device_id TEXT,
    denied_code TEXT,
    PRIMARY KEY (org_id, key_id, replica)
  );
  CREATE INDEX replicas_seen ON replicas (last_seen_at_ms);

  CREATE TABLE replica_streams (
    node_id ${ID} NOT NULL,
    org_id ${ID} NOT NULL,
    key_id ${ID} NOT NULL,
    replica ${ID} NOT NULL,
    up SMALLINT NOT NULL CHECK (up IN (0, 1)),
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (org_id, key_id, replica, node_id),
    FOREIGN KEY (org_id, key_id, replica) REFERENCES replicas ON DELETE CASCADE
  );
  CREATE INDEX replica_streams_of_node ON replica_streams (node_id);

  CREATE TABLE stop_acks (
    org_id ${ID} NOT NULL REFERENCES orgs,
    epoch BIGINT NOT NULL,
    key_id ${ID} NOT NULL,
    replica ${ID} NOT NULL,
    told_at_ms BIGINT,
    received_at_ms BIGINT,
    settled_at_ms BIGINT,
    aborted BIGINT NOT NULL,
    finished BIGINT NOT NULL,
    unknown BIGINT NOT NULL,
    running BIGINT NOT NULL,
    calls TEXT NOT NULL,
    noted_at_ms BIGINT NOT NULL,
    PRIMARY KEY (org_id, epoch, key_id, replica)
  );
  CREATE INDEX stop_acks_noted ON stop_acks (noted_at_ms);

  CREATE TABLE drills (
    org_id ${ID} NOT NULL REFERENCES orgs,
    drill_id ${ID} NOT NULL,
    stored_at_ms BIGINT NOT NULL,
    summary TEXT NOT NULL,
    drill TEXT NOT NULL,
    PRIMARY KEY (org_id, drill_id)
  );
  CREATE INDEX drills_newest ON drills (org_id, stored_at_ms, drill_id);

  CREATE TABLE signing_keys (
    org_id ${ID} PRIMARY KEY REFERENCES orgs,
    public_key TEXT NOT NULL,
    private_key TEXT NOT NULL
  );
`
