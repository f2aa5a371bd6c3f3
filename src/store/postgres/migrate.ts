import { HoldpointError } from '../../errors.ts'
import type { Database } from './database.ts'
import type { Session } from './session.ts'

/** One step of a schema. Steps that were published never change; new ones are added. */
export interface Migration {
  readonly sql: string
  /**
   * The lowest schema version that a program must know to go on after this step. Absent: any, since the step only adds
   * (expand). One that takes away what older programs use names the first version that does without (contract), and
   * comes a release later, when those are gone.
   */
  readonly needs?: number | undefined
}

/** For anybody who changes a schema, one after the other. */
const MIGRATION_LOCK = 4_100_421

/**
 * Brings `schema` forward, never back: migration n (from 1) is `migrations[n - 1]`, each in a transaction of its own,
 * under a lock that every node takes, so that of several that start together one does it. A schema that is ahead is fine
 * as long as its steps allow this program. Throws `STORE_TOO_NEW`.
 */
export async function migrate(
  database: Database,
  schema: string,
  migrations: readonly Migration[],
): Promise<void> {
  const step = (session: Session) => takeStep(session, { label: database.label, schema, migrations })
  while (await database.transact(step)) continue
}

interface Migrating {
  readonly label: string
  readonly schema: string
  readonly migrations: readonly Migration[]
}

async function takeStep(session: Session, { label, schema, migrations }: Migrating): Promise<boolean> {
  await session.exec("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '60s'")
  await session.query('SELECT pg_advisory_xact_lock($1)', [MIGRATION_LOCK])
  const { done, needs } = await versionOf(session, schema)
  if (needs > migrations.length) throw tooNew(label, done, migrations.length)
  const next = migrations[done]
  if (next === undefined) return false
  await session.exec(next.sql)
  await session.query('INSERT INTO migrations (version, needs) VALUES ($1, $2)', [done + 1, next.needs ?? 0])
  return true
}

async function versionOf(session: Session, schema: string): Promise<{ done: number; needs: number }> {
  // Looked up first: IF NOT EXISTS asks for the right to create it all the same.
  const [found] = await session.query('SELECT count(*) AS schemas FROM pg_namespace WHERE nspname = $1', [
    schema,
  ])
  if (found?.['schemas'] === 0) await session.exec(`CREATE SCHEMA ${schema}`)
  await session.exec(`CREATE TABLE IF NOT EXISTS migrations (
    version INTEGER PRIMARY KEY,
    needs INTEGER NOT NULL,
    applied_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
  )`)
  const [row] = await session.query(
    'SELECT coalesce(max(version), 0) AS done, coalesce(max(needs), 0) AS needs FROM migrations',
  )
  return { done: Number(row?.['done']), needs: Number(row?.['needs']) }
}

function tooNew(label: string, found: number, known: number): HoldpointError {
  return new HoldpointError(
    'STORE_TOO_NEW',
    `The database ${label} has schema ${found}, which programs that know only ${known} cannot use any more. Start the newer version.`,
  )
}
