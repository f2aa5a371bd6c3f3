import type { DatabaseSync } from 'node:sqlite'

import type {
  AuditEntry,
  Change,
  ControlPlaneStore,
  DecisionReader,
  DeviceRecord,
  OrgRecord,
} from '../../control-plane/store.ts'
import { HoldpointError } from '../../errors.ts'
import { createDecisionReader } from './control-plane-reader.ts'
import * as rows from './control-plane-rows.ts'
import { CONTROL_PLANE_MIGRATIONS } from './control-plane-schema.ts'
import { holdExclusively } from './lock.ts'
import { migrate } from './migrate.ts'
import { openSqlite, storeError } from './open.ts'
import { createWriter } from './transaction.ts'

/**
 * Opens the control plane's SQLite file, creating it when it is not there, and holds it for this process alone.
 * Throws HoldpointError: `STORE_IN_USE`, `STORE_CORRUPT`, `STORE_NOT_WRITABLE`, `STORE_TOO_NEW`, `SQLITE_TOO_OLD`, …
 */
export function openControlPlaneStore({ file }: { readonly file: string }): ControlPlaneStore {
  const lock = holdExclusively(file)
  const opened: { close(): void }[] = []
  try {
    const db = openSqlite(file)
    opened.push(db)
    assertSound(db, file)
    migrate(db, file, CONTROL_PLANE_MIGRATIONS)
    const readDb = openSqlite(file, { readOnly: true })
    opened.push(readDb)
    return createStore(db, createDecisionReader(readDb, file), file, () => {
      readDb.close()
      closeWriter(db)
      lock.release()
    })
  } catch (thrown) {
    for (const connection of opened) connection.close()
    lock.release()
    throw storeError(thrown, file)
  }
}

/** A read connection of its own, for validates in another thread. The file must be open as a store already. */
export function openDecisionReader(file: string): {
  readonly reader: DecisionReader
  readonly close: () => void
} {
  const db = openSqlite(file, { readOnly: true })
  return { reader: createDecisionReader(db, file), close: () => db.close() }
}

function assertSound(db: DatabaseSync, file: string): void {
  const found = db.prepare('PRAGMA quick_check(1)').get()?.['quick_check']
  if (found === 'ok') return
  throw new HoldpointError(
    'STORE_CORRUPT',
    `The database ${file} is damaged (${String(found)}). Restore it from a backup.`,
  )
}

function closeWriter(db: DatabaseSync): void {
  try {
    db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
  } catch {
    // What was committed is in the WAL all the same, and the next opening finds it there.
  }
  db.close()
}

function createStore(
  db: DatabaseSync,
  reader: DecisionReader,
  file: string,
  close: () => void,
): ControlPlaneStore {
  const writer = createWriter(db, file)
  const statements = prepare(db)

  const findOrg = (orgId: string): OrgRecord | undefined => {
    const row = statements.org.get(orgId)
    return row && rows.orgOf(row)
  }
  const findDevice = (orgId: string, deviceId: string): DeviceRecord | undefined => {
    const row = statements.device.get(orgId, deviceId)
    return row && rows.deviceOf(row)
  }
  const freeSlot = ({ orgId, used }: OrgRecord): number => {
    const highest = Number(statements.highestSlot.get(orgId)?.['slot'])
    return highest === used ? used + 1 : Number(statements.firstGap.get(orgId)?.['slot'])
  }
  const writeAudit = (orgId: string, audit: AuditEntry) => {
    statements.insertAudit.run(
      audit.id,
      orgId,
      audit.atMs,
      audit.actor,
      audit.action,
      audit.deviceId ?? null,
      audit.reason ?? null,
      jsonOrNull(audit.before),
      jsonOrNull(audit.after),
    )
  }
  const write = <T>(orgId: string, change: Change<T>): T => {
    if (change.org !== undefined) statements.putOrg.run(...rows.orgValues(change.org))
    if (change.ownerEmail !== undefined) statements.insertOwner.run(orgId, change.ownerEmail)
    for (const key of change.keys ?? []) statements.insertKey.run(...rows.keyValues(key))
    if (change.device !== undefined) statements.putDevice.run(orgId, ...rows.deviceValues(change.device))
    if (change.audit !== undefined) writeAudit(orgId, change.audit)
    return change.result
  }

  return {
    reader,
    generation: Number(statements.generation.get()?.['value']),
    problem: () => writer.problem(),

    changeOrg: async (orgId, decide) => writer.transact(() => write(orgId, decide(findOrg(orgId)))),
    changeDevice: async (orgId, deviceId, decide) =>
      writer.transact(() => {
        const org = findOrg(orgId)
        if (org === undefined) return write(orgId, decide(undefined))
        return write(
          orgId,
          decide({ org, device: findDevice(orgId, deviceId), lowestFreeSlot: freeSlot(org) }),
        )
      }),

    findKey: async (keyId) => {
      const row = statements.key.get(keyId)
      return row && rows.keyOf(row)
    },
    countOrgs: async () => Number(statements.countOrgs.get()?.['orgs']),
    findUsage: async (orgId) => {
      const org = findOrg(orgId)
      return org && { org, revoked: Number(statements.countRevoked.get(orgId)?.['revoked']) }
    },
    listDevices: async (orgId, { after = '', limit = -1 }) => {
      const org = findOrg(orgId)
      return org && { org, devices: statements.devices.all(orgId, after, limit).map(rows.deviceOf) }
    },
    recordDenials: async (denials) =>
      writer.transact(() => {
        for (const denial of denials) statements.insertDenial.run(...rows.denialValues(denial))
      }),
    findDenials: async (requestId) => statements.denials.all(requestId).map(rows.denialOf),
    close: async () => close(),
  }
}

function jsonOrNull(value: unknown): string | null {
  return value === undefined ? null : JSON.stringify(value)
}

function prepare(db: DatabaseSync) {
  const { ORG_COLUMNS, DEVICE_COLUMNS, KEY_COLUMNS, DENIAL_COLUMNS, placeholders } = rows
  return {
    generation: db.prepare("SELECT value FROM meta WHERE name = 'generation'"),
    org: db.prepare(`SELECT ${ORG_COLUMNS} FROM orgs WHERE org_id = ?`),
    countOrgs: db.prepare('SELECT count(*) AS orgs FROM orgs'),
    putOrg: db.prepare(upsert('orgs', ORG_COLUMNS, 'org_id')),
    insertOwner: db.prepare('INSERT INTO owners (org_id, email) VALUES (?, ?)'),
    key: db.prepare(`SELECT ${KEY_COLUMNS} FROM keys WHERE key_id = ?`),
    insertKey: db.prepare(`INSERT INTO keys (${KEY_COLUMNS}) VALUES (${placeholders(KEY_COLUMNS)})`),
    device: db.prepare(`SELECT ${DEVICE_COLUMNS} FROM devices WHERE org_id = ? AND device_id = ?`),
    putDevice: db.prepare(upsert('devices', `org_id, ${DEVICE_COLUMNS}`, 'org_id, device_id')),
    devices: db.prepare(
      `SELECT ${DEVICE_COLUMNS} FROM devices WHERE org_id = ? AND device_id > ? AND removed = 0
       ORDER BY device_id LIMIT ?`,
    ),
    countRevoked: db.prepare(
      'SELECT count(*) AS revoked FROM devices WHERE org_id = ? AND revoked = 1 AND removed = 0',
    ),
    highestSlot: db.prepare(
      'SELECT coalesce(max(slot), 0) AS slot FROM devices WHERE org_id = ? AND slot IS NOT NULL',
    ),
    // The first slot whose successor is free; slot 0 stands before them all.
    firstGap: db.prepare(
      `SELECT slot + 1 AS slot
       FROM (SELECT 0 AS slot UNION ALL SELECT slot FROM devices WHERE org_id = ?1 AND slot IS NOT NULL) taken
       WHERE NOT EXISTS (SELECT 1 FROM devices next WHERE next.org_id = ?1 AND next.slot = taken.slot + 1)
       ORDER BY slot LIMIT 1`,
    ),
    insertAudit: db.prepare(
      `INSERT INTO audit (id, org_id, at_ms, actor, action, device_id, reason, before, after)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    insertDenial: db.prepare(
      `INSERT INTO decisions (${DENIAL_COLUMNS}) VALUES (${placeholders(DENIAL_COLUMNS)})`,
    ),
    denials: db.prepare(`SELECT ${DENIAL_COLUMNS} FROM decisions WHERE request_id = ? ORDER BY ordinal`),
  }
}

function upsert(table: string, columns: string, key: string): string {
  const updates = columns
    .split(', ')
    .filter((column) => !key.split(', ').includes(column))
    .map((column) => `${column} = excluded.${column}`)
  return (
    `INSERT INTO ${table} (${columns}) VALUES (${rows.placeholders(columns)}) ` +
    `ON CONFLICT (${key}) DO UPDATE SET ${updates.join(', ')}`
  )
}
