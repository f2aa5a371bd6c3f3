import type { DatabaseSync } from 'node:sqlite'

import { chained } from '../../control-plane/audit-chain.ts'
import type { AuditRow } from '../../control-plane/records.ts'
import { audit, jsonOf, type Row } from '../control-plane-rows.ts'
import { insert } from './statements.ts'

/** Locks, the life of keys, reminders, recovery links, last-seen; the audit chained; decisions by org. */
export function migrateToSchema2(db: DatabaseSync): void {
  db.exec(TABLES)
  db.exec('ALTER TABLE audit RENAME TO audit_1')
  db.exec(AUDIT)
  chainAudit(db)
  db.exec(CARRY_OVER)
}

const TABLES = `
  ALTER TABLE orgs ADD COLUMN access_until_ms INTEGER;
  ALTER TABLE orgs ADD COLUMN active_locks INTEGER NOT NULL DEFAULT 0 CHECK (active_locks >= 0);
  CREATE INDEX orgs_plan_ends ON orgs (access_until_ms) WHERE plan_state = 'canceled';

  CREATE INDEX owners_email ON owners (email);

  ALTER TABLE devices ADD COLUMN remind_at_ms INTEGER;
  DROP INDEX devices_revoked;
  CREATE INDEX devices_revoked ON devices (org_id, remind_at_ms) WHERE revoked = 1 AND removed = 0;
  CREATE INDEX devices_reminder ON devices (remind_at_ms)
    WHERE revoked = 1 AND removed = 0 AND remind_at_ms IS NOT NULL;

  ALTER TABLE keys ADD COLUMN name TEXT;
  ALTER TABLE keys ADD COLUMN created_at_ms INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE keys ADD COLUMN created_by TEXT NOT NULL DEFAULT 'local';
  ALTER TABLE keys ADD COLUMN ends_at_ms INTEGER;
  ALTER TABLE keys ADD COLUMN ended_at_ms INTEGER;
  ALTER TABLE keys ADD COLUMN ended_as TEXT CHECK ((ended_as IS NULL) = (ended_at_ms IS NULL));
  ALTER TABLE keys ADD COLUMN replaced_by TEXT;
  CREATE INDEX keys_org ON keys (org_id, created_at_ms);
  CREATE INDEX keys_end ON keys (ends_at_ms) WHERE ends_at_ms IS NOT NULL AND ended_at_ms IS NULL;

  CREATE TABLE locks (
    lock_id TEXT PRIMARY KEY,
    org_id TEXT NOT NULL REFERENCES orgs,
    pattern TEXT NOT NULL,
    active INTEGER NOT NULL CHECK (active IN (0, 1)),
    epoch INTEGER NOT NULL,
    reason TEXT NOT NULL,
    locked_by TEXT NOT NULL,
    remind_at_ms INTEGER,
    created_at_ms INTEGER NOT NULL,
    changed_at_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE UNIQUE INDEX locks_active ON locks (org_id, pattern) WHERE active = 1;
  CREATE INDEX locks_org ON locks (org_id, created_at_ms);
  CREATE INDEX locks_reminder ON locks (remind_at_ms) WHERE active = 1 AND remind_at_ms IS NOT NULL;

  CREATE TABLE recovery_links (
    digest TEXT PRIMARY KEY CHECK (length(digest) = 64),
    org_id TEXT NOT NULL REFERENCES orgs,
    email TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    used_at_ms INTEGER
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE keys_seen (
    key_id TEXT PRIMARY KEY,
    at_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE devices_seen (
    org_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    code TEXT NOT NULL,
    key_id TEXT NOT NULL,
    PRIMARY KEY (org_id, device_id)
  ) STRICT, WITHOUT ROWID;
`

const AUDIT = `
  CREATE TABLE audit (
    org_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    prev_hash TEXT NOT NULL,
    hash TEXT NOT NULL,
    id TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    actor TEXT NOT NULL,
    actor_kind TEXT,
    request_id TEXT,
    origin TEXT,
    action TEXT NOT NULL,
    device_id TEXT,
    reason TEXT,
    before TEXT,
    after TEXT,
    PRIMARY KEY (org_id, seq)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX audit_action ON audit (org_id, action);
  CREATE INDEX audit_device ON audit (org_id, device_id, action) WHERE device_id IS NOT NULL;
`

/** The rows that were there begin the chain of their org, in the order they were made. */
function chainAudit(db: DatabaseSync): void {
  const rows = db.prepare(
    'SELECT id, org_id, at_ms, actor, action, device_id, reason, before, after FROM audit_1 ORDER BY org_id, at_ms, id',
  )
  const write = db.prepare(insert('audit', audit.columns))
  let last: AuditRow | undefined
  for (const row of rows.iterate() as Iterable<Row>) {
    const orgId = row['org_id'] as string
    last = chained(orgId, last?.orgId === orgId ? last : undefined, {
      id: row['id'] as string,
      atMs: row['at_ms'] as number,
      actor: row['actor'] as string,
      actorKind: null,
      requestId: null,
      origin: null,
      action: row['action'] as string,
      deviceId: row['device_id'] as string | null,
      reason: row['reason'] as string | null,
      before: jsonOf(row['before']),
      after: jsonOf(row['after']),
    })
    write.run(...audit.values(last))
  }
}

// A question's devices lie together, and new questions come last: request ids are UUIDv7.
const CARRY_OVER = `
  UPDATE keys SET (created_at_ms, created_by) = (
    SELECT at_ms, actor FROM audit
    WHERE audit.org_id = keys.org_id
      AND (action = 'org.create' OR action = 'key.issue' AND after ->> '$.keyId' = keys.key_id)
    ORDER BY action = 'key.issue' DESC LIMIT 1
  ) WHERE EXISTS (SELECT 1 FROM audit WHERE audit.org_id = keys.org_id AND action = 'org.create');
  DROP TABLE audit_1;

  ALTER TABLE decisions RENAME TO decisions_1;
  CREATE TABLE decisions (
    org_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
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
    PRIMARY KEY (org_id, request_id, ordinal)
  ) STRICT, WITHOUT ROWID;
  INSERT INTO decisions (
    org_id, request_id, ordinal, key_id, device_id, code, asked, boundary, tool, call_id, run_id, replica, at_ms
  )
  SELECT
    org_id, request_id, ordinal, key_id, device_id, code, asked, boundary, tool, call_id, run_id, replica, at_ms
  FROM decisions_1 ORDER BY org_id, request_id, ordinal;
  DROP TABLE decisions_1;
`
