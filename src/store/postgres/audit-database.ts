import type { UnreadableRow } from '../../control-plane/audit-verify.ts'
import type { AuditRow } from '../../control-plane/records.ts'
import { HoldpointError, messageOf } from '../../errors.ts'
import { audit, type Row } from '../control-plane-rows.ts'
import { createDatabase, type Database } from './database.ts'

/** The audit chains in a database, whoever may have written to it. It is only read, so it may be a standby. */
export interface AuditDatabase {
  /** `host:port/name`, without a secret. */
  readonly label: string
  /** Of every org, also of one that has no rows, or has only them. In byte order. */
  readonly orgIds: readonly string[]
  /** By `seq`. What cannot be read as a row says why. */
  readonly rows: (orgId: string) => AsyncGenerator<AuditRow | UnreadableRow, void, void>
  readonly close: () => Promise<void>
}

const ROWS_AT_ONCE = 1000

/** Throws HoldpointError: `STORE_UNREACHABLE`, `STORE_REFUSED`, `AUDIT_MISSING`, … */
export async function openAuditDatabase(options: {
  readonly url: string
  readonly timeoutMs: number
}): Promise<AuditDatabase> {
  const database = createDatabase({
    ...options,
    schema: 'holdpoint_control_plane',
    name: 'holdpoint audit',
    poolSize: 1,
  })
  try {
    const [found] = await database.query(
      "SELECT to_regclass('audit') IS NOT NULL AND to_regclass('orgs') IS NOT NULL AS there",
    )
    if (found?.['there'] !== (true as unknown)) throw missing(database.label)
    const orgs = await database.query(
      'SELECT org_id FROM orgs UNION SELECT org_id FROM audit ORDER BY org_id',
    )
    return {
      label: database.label,
      orgIds: orgs.map((row) => String(row['org_id'])),
      rows: (orgId) => readRows(database, orgId),
      close: database.close,
    }
  } catch (thrown) {
    await database.close()
    throw thrown
  }
}

async function* readRows(
  database: Database,
  orgId: string,
): AsyncGenerator<AuditRow | UnreadableRow, void, void> {
  // A number may be there that no row was ever written with.
  let after = Number.MIN_SAFE_INTEGER
  for (;;) {
    const page = await database.query(
      `SELECT ${audit.list} FROM audit WHERE org_id = $1 AND seq > $2::bigint ORDER BY seq LIMIT ${ROWS_AT_ONCE}`,
      [orgId, after],
    )
    for (const row of page) yield rowOf(row)
    if (page.length < ROWS_AT_ONCE) return
    after = Number(page.at(-1)?.['seq'])
  }
}

function rowOf(row: Row): AuditRow | UnreadableRow {
  try {
    return audit.of(row)
  } catch (thrown) {
    const seq = Number(row['seq'])
    return { seq, id: String(row['id']), problem: `Row ${seq} cannot be read: ${messageOf(thrown)}.` }
  }
}

function missing(label: string): HoldpointError {
  return new HoldpointError(
    'AUDIT_MISSING',
    `${label} has no audit chain: it is not the database of a control plane. Check DATABASE_URL.`,
  )
}
