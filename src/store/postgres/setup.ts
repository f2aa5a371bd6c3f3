import { createDatabase, type Database, type DatabaseOptions } from './database.ts'

/** It may touch every row, and wait for another process that does. */
const SETUP_TIMEOUT_MS = 600_000

/** Statements that take long, on a connection that is there for nothing else. `timeoutMs` is for connecting. */
export async function withSetup<T>(
  { timeoutMs, ...where }: Pick<DatabaseOptions, 'url' | 'schema' | 'timeoutMs' | 'admit'>,
  body: (setup: Database) => Promise<T>,
): Promise<T> {
  const setup = createDatabase({
    ...where,
    name: 'holdpoint setup',
    poolSize: 1,
    timeoutMs: SETUP_TIMEOUT_MS,
    connectTimeoutMs: timeoutMs,
  })
  try {
    return await body(setup)
  } finally {
    await setup.close()
  }
}
