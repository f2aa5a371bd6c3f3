const ID = 'TEXT COLLATE "C"'

/** Which nodes there are, and what they count together. */
export const NODES = `
  CREATE TABLE nodes (
    node_id ${ID} PRIMARY KEY,
    host TEXT NOT NULL,
    pid BIGINT NOT NULL,
    version TEXT NOT NULL,
    started_at_ms BIGINT NOT NULL,
    heard_at_ms BIGINT NOT NULL
  );

  CREATE TABLE chores (
    name ${ID} PRIMARY KEY,
    node_id ${ID} NOT NULL,
    until_ms BIGINT NOT NULL,
    reminded_until_ms BIGINT NOT NULL
  );
  INSERT INTO chores (name, node_id, until_ms, reminded_until_ms) VALUES ('housekeeping', '', 0, 0);

  CREATE TABLE rate_buckets (
    name ${ID} NOT NULL,
    id ${ID} NOT NULL,
    tokens DOUBLE PRECISION NOT NULL,
    at_ms BIGINT NOT NULL,
    wait_ms DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (name, id)
  );
  CREATE INDEX rate_buckets_old ON rate_buckets (at_ms);

  CREATE TABLE mails_sent (
    address ${ID} PRIMARY KEY,
    sent_at_ms BIGINT[] NOT NULL,
    last_at_ms BIGINT NOT NULL
  );
  CREATE INDEX mails_sent_old ON mails_sent (last_at_ms);

  CREATE TABLE decision_rates (
    org_id ${ID} NOT NULL,
    minute BIGINT NOT NULL,
    cell SMALLINT NOT NULL,
    count BIGINT NOT NULL,
    PRIMARY KEY (org_id, minute, cell)
  );
  CREATE INDEX decision_rates_old ON decision_rates (minute);

  CREATE TABLE decision_rates_since (
    generation BIGINT PRIMARY KEY,
    since_ms BIGINT NOT NULL
  );

  CREATE TABLE drill_runs (
    org_id ${ID} PRIMARY KEY,
    run_id ${ID} NOT NULL,
    running SMALLINT NOT NULL CHECK (running IN (0, 1)),
    heard_at_ms BIGINT NOT NULL,
    told TEXT
  );
`
