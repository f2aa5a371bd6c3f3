import { orgs } from '../../../src/store/control-plane-rows.ts'
import { CONTROL_PLANE_MIGRATIONS } from '../../../src/store/postgres/control-plane-schema.ts'
import { createDatabase, type Database } from '../../../src/store/postgres/database.ts'
import { migrate } from '../../../src/store/postgres/migrate.ts'
import { insertAll, rowsOf } from '../../../src/store/postgres/statements.ts'
import { ORG } from '../../contract/control-plane-records.ts'
import type { TestPostgres } from '../../fixtures/postgres.ts'

const SCHEMA = 'holdpoint_control_plane'

/** A new database with `ORG` in it, and a pool of connections for each of two nodes. */
export async function openTwoNodes(
  server: TestPostgres,
): Promise<{ readonly first: Database; readonly second: Database; readonly close: () => Promise<void> }> {
  const url = await server.createDatabase()
  const open = (name: string) => createDatabase({ url, schema: SCHEMA, name, poolSize: 4, timeoutMs: 10_000 })
  const [first, second] = [open('first'), open('second')]
  await migrate(first, SCHEMA, CONTROL_PLANE_MIGRATIONS)
  await first.query(insertAll('orgs', orgs.columns), [rowsOf(orgs, [ORG])])
  return { first, second, close: async () => void (await Promise.all([first.close(), second.close()])) }
}
