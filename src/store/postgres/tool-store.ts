import type { Durability, ToolStore } from '../tool-store.ts'
import type { Session } from './session.ts'
import { forgetOld } from './forget-old.ts'
import { createJournal } from './journal.ts'
import { migrate } from './migrate.ts'
import { createRunStore } from './runs.ts'
import { createToolDatabase, TOOL_SCHEMA, type ToolDatabaseOptions } from './tool-database.ts'
import { TOOL_MIGRATIONS } from './tool-schema.ts'

/** What `createPostgresToolStore` takes. */
export interface PostgresToolStoreOptions extends ToolDatabaseOptions {
  /**
   * How long an effect's stored input is kept after its last change, and a run with its steps and approvals after its
   * end, in milliseconds. Default 30 days.
   */
  readonly retentionMs?: number | undefined
}

const RETENTION_MS = 30 * 24 * 60 * 60 * 1000

/**
 * The journal and the runs of any number of tool servers, in the schema `holdpoint_tools` of one Postgres, which the
 * first of them creates. Its clock is the database's, so leases hold between replicas whose own clocks differ. Rejects
 * with a `STORE_…` error while the database cannot be used, and with `CONFIG_INVALID` for a URL that says more than how to
 * get there; once it has resolved, an outage refuses each call until the database is back.
 */
export async function createPostgresToolStore(options: PostgresToolStoreOptions): Promise<ToolStore> {
  const { retentionMs = RETENTION_MS } = options
  const opened = createToolDatabase(options)
  try {
    await opened.setUp((setup) => migrate(setup, TOOL_SCHEMA, TOOL_MIGRATIONS))
    await forgetOld(opened, retentionMs)
  } catch (thrown) {
    await opened.close()
    throw thrown
  }
  const journal = createJournal(opened)
  return {
    journal,
    runs: createRunStore(opened, journal),
    durability: () => opened.read(durabilityOf),
    close: () => journal.close(),
  }
}

const SETTINGS = `SELECT current_setting('server_version') AS version,
  CASE current_setting('fsync') WHEN 'on' THEN current_setting('synchronous_commit') ELSE 'off' END AS synchronous`

async function durabilityOf(session: Session): Promise<Durability> {
  const [row] = await session.query(SETTINGS)
  return { kind: `postgres ${row?.['version'] as string}`, synchronous: String(row?.['synchronous']) }
}
