import { migrateToSchema2 } from './control-plane-schema-2.ts'
import { SCHEMA_4 } from './control-plane-schema-4.ts'
import { SCHEMA_5 } from './control-plane-schema-5.ts'
import type { Migration } from './migrate.ts'

/** The control plane's schema, step by step. Steps that were published never change; new ones are added. */
export const CONTROL_PLANE_MIGRATIONS: readonly Migration[] = [
  `
  CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  INSERT INTO meta (name, value) VALUES ('generation', 0);

  CREATE TABLE orgs (
    org_id TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL,
    disabled INTEGER NOT NULL CHECK (disabled IN (0, 1)),
    switch_epoch INTEGER NOT NULL,
    switch_by TEXT,
    switch_reason TEXT,
    switch_at_ms INTEGER,
    plan_tier TEXT NOT NULL,
    plan_state TEXT NOT NULL,
    cap INTEGER NOT NULL CHECK (cap >= 0),
    used INTEGER NOT NULL CHECK (used >= 0)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE owners (
    org_id TEXT NOT NULL REFERENCES orgs,
    email TEXT NOT NULL,
    PRIMARY KEY (org_id, email)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE keys (
    key_id TEXT PRIMARY KEY,
    org_id TEXT NOT NULL REFERENCES orgs,
    kind TEXT NOT NULL,
    digest TEXT NOT NULL CHECK (length(digest) = 64),
    bindings TEXT
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE devices (
    org_id TEXT NOT NULL REFERENCES orgs,
    device_id TEXT NOT NULL,
    revoked INTEGER NOT NULL CHECK (revoked IN (0, 1)),
    removed INTEGER NOT NULL CHECK (removed IN (0, 1)),
    slot INTEGER CHECK (slot > 0),
    epoch INTEGER NOT NULL,
    reason TEXT,
    labels TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    changed_at_ms INTEGER NOT NULL,
    PRIMARY KEY (org_id, device_id),
    CHECK ((slot IS NULL) = (removed = 1))
  ) STRICT, WITHOUT ROWID;
  CREATE UNIQUE INDEX devices_slot ON devices (org_id, slot) WHERE slot IS NOT NULL;
  CREATE INDEX devices_revoked ON devices (org_id) WHERE revoked = 1 AND removed = 0;

  CREATE TABLE audit (
    id TEXT PRIMARY KEY,
    org_id TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    device_id TEXT,
    reason TEXT,
    before TEXT,
    after TEXT
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE decisions (
    request_id TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    org_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    code TEXT NOT NULL,
    asked TEXT NOT NULL,
    boundary TEXT,
    tool TEXT,
    call_id TEXT,
    run_id TEXT,
    replica TEXT,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (request_id, ordinal)
  ) STRICT, WITHOUT ROWID;
  `,
  migrateToSchema2,
  `
  -- One index for both: each is a page more for every commit to make durable.
  DROP INDEX audit_action;
  DROP INDEX audit_device;
  CREATE INDEX audit_about ON audit (org_id, device_id, action);

  CREATE INDEX recovery_links_expiry ON recovery_links (expires_at_ms);
  `,
  SCHEMA_4,
  SCHEMA_5,
]
