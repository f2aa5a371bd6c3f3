// Text that is compared or sorted is so by its bytes, on every server alike.
const ID = 'TEXT COLLATE "C"'
const FLAG = 'SMALLINT NOT NULL'

const ORGS = `
  CREATE TABLE meta (
    name ${ID} PRIMARY KEY,
    value BIGINT NOT NULL
  );
  INSERT INTO meta (name, value) VALUES ('generation', 0);

  CREATE TABLE orgs (
    org_id ${ID} PRIMARY KEY,
    epoch BIGINT NOT NULL,
    disabled ${FLAG} CHECK (disabled IN (0, 1)),
    switch_epoch BIGINT NOT NULL,
    switch_by TEXT,
    switch_reason TEXT,
    switch_at_ms BIGINT,
    plan_tier TEXT NOT NULL,
    plan_state TEXT NOT NULL,
    access_until_ms BIGINT,
    cap BIGINT NOT NULL CHECK (cap >= 0),
    used BIGINT NOT NULL CHECK (used >= 0),
    active_locks BIGINT NOT NULL CHECK (active_locks >= 0)
  );
  CREATE INDEX orgs_plan_ends ON orgs (access_until_ms) WHERE plan_state = 'canceled';

  CREATE TABLE owners (
    org_id ${ID} NOT NULL REFERENCES orgs,
    email ${ID} NOT NULL,
    PRIMARY KEY (org_id, email)
  );
  CREATE INDEX owners_email ON owners (email);
`

const KEYS = `
  CREATE TABLE keys (
    key_id ${ID} PRIMARY KEY,
    org_id ${ID} NOT NULL REFERENCES orgs,
    kind TEXT NOT NULL,
    name TEXT,
    digest TEXT NOT NULL CHECK (length(digest) = 64),
    bindings TEXT,
    created_at_ms BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    ends_at_ms BIGINT,
    ended_at_ms BIGINT,
    ended_as TEXT CHECK ((ended_as IS NULL) = (ended_at_ms IS NULL)),
    replaced_by TEXT
  );
  CREATE INDEX keys_org ON keys (org_id, created_at_ms, key_id);
  CREATE INDEX keys_end ON keys (ends_at_ms) WHERE ends_at_ms IS NOT NULL AND ended_at_ms IS NULL;

  CREATE TABLE recovery_links (
    digest ${ID} PRIMARY KEY CHECK (length(digest) = 64),
    org_id ${ID} NOT NULL REFERENCES orgs,
    email TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT NOT NULL,
    used_at_ms BIGINT
  );
  CREATE INDEX recovery_links_expiry ON recovery_links (expires_at_ms);
`

const DEVICES = `
  CREATE TABLE devices (
    org_id ${ID} NOT NULL REFERENCES orgs,
    device_id ${ID} NOT NULL,
    revoked ${FLAG} CHECK (revoked IN (0, 1)),
    removed ${FLAG} CHECK (removed IN (0, 1)),
    slot BIGINT CHECK (slot > 0),
    epoch BIGINT NOT NULL,
    reason TEXT,
    remind_at_ms BIGINT,
    labels TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    changed_at_ms BIGINT NOT NULL,
    PRIMARY KEY (org_id, device_id),
    CHECK ((slot IS NULL) = (removed = 1))
  );
  CREATE UNIQUE INDEX devices_slot ON devices (org_id, slot) WHERE slot IS NOT NULL;
  CREATE INDEX devices_revoked ON devices (org_id, remind_at_ms) WHERE revoked = 1 AND removed = 0;
  CREATE INDEX devices_reminder ON devices (remind_at_ms)
    WHERE revoked = 1 AND removed = 0 AND remind_at_ms IS NOT NULL;

  CREATE TABLE locks (
    lock_id ${ID} PRIMARY KEY,
    org_id ${ID} NOT NULL REFERENCES orgs,
    pattern ${ID} NOT NULL,
    active ${FLAG} CHECK (active IN (0, 1)),
    epoch BIGINT NOT NULL,
    reason TEXT NOT NULL,
    locked_by TEXT NOT NULL,
    remind_at_ms BIGINT,
    created_at_ms BIGINT NOT NULL,
    changed_at_ms BIGINT NOT NULL
  );
  CREATE UNIQUE INDEX locks_active ON locks (org_id, pattern) WHERE active = 1;
  CREATE INDEX locks_org ON locks (org_id, created_at_ms, lock_id);
  CREATE INDEX locks_reminder ON locks (remind_at_ms) WHERE active = 1 AND remind_at_ms IS NOT NULL;
`

const EVIDENCE = `
  CREATE TABLE audit (
    org_id ${ID} NOT NULL,
    seq BIGINT NOT NULL,
    prev_hash TEXT NOT NULL,
    hash TEXT NOT NULL,
    id TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    actor ${ID} NOT NULL,
    actor_kind TEXT,
    request_id TEXT,
    origin TEXT,
    action ${ID} NOT NULL,
    device_id ${ID},
    reason TEXT,
    before TEXT,
    after TEXT,
    PRIMARY KEY (org_id, seq)
  );
  CREATE INDEX audit_about ON audit (org_id, device_id, action, seq);

  CREATE TABLE decisions (
    org_id ${ID} NOT NULL,
    request_id ${ID} NOT NULL,
    ordinal BIGINT NOT NULL,
    key_id TEXT NOT NULL,
    device_id ${ID} NOT NULL,
    code ${ID} NOT NULL,
    asked TEXT NOT NULL,
    boundary ${ID},
    tool TEXT,
    call_id TEXT,
    run_id TEXT,
    replica TEXT,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (org_id, request_id, ordinal)
  );

  CREATE TABLE keys_seen (
    key_id ${ID} PRIMARY KEY,
    at_ms BIGINT NOT NULL
  );

  CREATE TABLE devices_seen (
    org_id ${ID} NOT NULL,
    device_id ${ID} NOT NULL,
    at_ms BIGINT NOT NULL,
    code TEXT NOT NULL,
    key_id ${ID} NOT NULL,
    PRIMARY KEY (org_id, device_id)
  );
`

/** Orgs, owners, keys, devices, locks, links, the audit chain, decisions, last-seen. */
export const CORE = `${ORGS}${KEYS}${DEVICES}${EVIDENCE}`
