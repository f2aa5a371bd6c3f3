import { DatabaseSync, type StatementSync } from 'node:sqlite'

import type { UnreadableRow } from '../../control-plane/audit-verify.ts'
import type { AuditRow } from '../../control-plane/records.ts'
import { HoldpointError, messageOf } from '../../errors.ts'
import { audit, type Row } from '../control-plane-rows.ts'
import { assertThere } from './files.ts'
import { storeError } from './open.ts'

/** The audit chains in a control plane's file or in a backup of one, whoever may have written to it. */
export interface AuditFile {
  /** Of every org, also of one that has no rows, or has only them. In byte order. */
  readonly orgIds: readonly string[]
  /** By `seq`. What cannot be read as a row says why. */
  readonly rows: (orgId: string) => Generator<AuditRow | UnreadableRow, void, void>
  readonly close: () => void
}

const TIMEOUT_MS = 5000

/**
 * Opens the file only to read it, whether or not a control plane is using it. Throws HoldpointError: `STORE_MISSING`,
 * `STORE_CORRUPT`, `AUDIT_MISSING`, …
 */
export function openAuditFile(file: string): AuditFile {
  assertThere(file, 'Give an export of GET /api/v1/audit?format=jsonl, or the database of a control plane.')
  let db: DatabaseSync | undefined
  try {
    db = new DatabaseSync(file, { readOnly: true, timeout: TIMEOUT_MS })
    db.exec('PRAGMA trusted_schema = 0')
    assertChained(db, file)
    const orgIds = db
      .prepare('SELECT org_id FROM orgs UNION SELECT org_id FROM audit ORDER BY 1')
      .all()
      .map((row) => String(row['org_id']))
    const rows = db.prepare(`SELECT ${audit.list} FROM audit WHERE org_id = ? ORDER BY seq`)
    // A number may be there that no row was ever written with.
    rows.setReadBigInts(true)
    const opened = db
    return { orgIds, rows: (orgId) => readRows(rows, orgId), close: () => opened.close() }
  } catch (thrown) {
    db?.close()
    throw storeError(thrown, file)
  }
}

function assertChained(db: DatabaseSync, file: string): void {
  const column = "SELECT 1 FROM pragma_table_info('audit') WHERE name = 'prev_hash'"
  if (db.prepare(column).get() !== undefined) return
  throw new HoldpointError(
    'AUDIT_MISSING',
    `${file} has no audit chain: it is not the database of a control plane, or that of an older version. ` +
      'That one gets its chain when this version is started with it.',
  )
}

function* readRows(statement: StatementSync, orgId: string): Generator<AuditRow | UnreadableRow, void, void> {
  try {
    for (const row of statement.iterate(orgId)) yield rowOf(row)
  } catch (thrown) {
    yield { problem: `The next row cannot be read: ${messageOf(thrown)}.` }
  }
}

function rowOf(raw: Row): AuditRow | UnreadableRow {
  const row = Object.fromEntries(
    Object.entries(raw).map(([name, value]) => [name, typeof value === 'bigint' ? Number(value) : value]),
  )
  try {
    return audit.of(row)
  } catch (thrown) {
    const seq = Number(row['seq'])
    return { seq, id: String(row['id']), problem: `Row ${seq} cannot be read: ${messageOf(thrown)}.` }
  }
}
