import { createDatabase, type DatabaseOptions } from './database.ts'

/** For whatever only one node may do at a time. */
const FIRST_START_LOCK = 4_100_422

/** One that starts waits for another one that does the same, however slow that is. */
const WAIT_MS = 60_000

/** Runs `body` while no other node runs one. The lock ends with the connection, however this process ends. */
export async function whileLocked<T>(
  { url, timeoutMs }: Pick<DatabaseOptions, 'url' | 'timeoutMs'>,
  body: () => Promise<T>,
): Promise<T> {
  const name = 'holdpoint first start'
  const database = createDatabase({
    url,
    name,
    schema: 'holdpoint_control_plane',
    poolSize: 1,
    timeoutMs: WAIT_MS,
    connectTimeoutMs: timeoutMs,
  })
  try {
    return await database.read(async (session) => {
      await session.exec(`SELECT pg_advisory_lock(${FIRST_START_LOCK})`)
      return body()
    })
  } finally {
    await database.close()
  }
}
