import { describe, expect, test } from 'vitest'

import { createDatabase } from '../../../src/store/postgres/database.ts'
import { noPostgres } from '../../fixtures/postgres.ts'
import { toolStores } from './tool-stores.ts'

const WAITS = `SELECT coalesce(max(extract(epoch FROM clock_timestamp() - query_start) * 1000), 0)::int AS ms
  FROM pg_stat_activity WHERE wait_event = 'advisory'`

describe.skipIf(noPostgres)('a tool server that starts', { timeout: 20_000 }, () => {
  const { open, rows, url } = toolStores()

  test('waits for another one that changes the tables, for longer than a statement may take', async () => {
    const schema = 'holdpoint_tools'
    const other = createDatabase({ url: url(), schema, name: 'other', poolSize: 1, timeoutMs: 60_000 })
    const isLocked = Promise.withResolvers<void>()
    const isDone = Promise.withResolvers<void>()
    const changing = other.transact(async (session) => {
      await session.query('SELECT pg_advisory_xact_lock($1)', [4_100_421])
      isLocked.resolve()
      await isDone.promise
    })
    await isLocked.promise
    const timeoutMs = 100
    const opening = open({ timeoutMs })
    opening.catch(() => {})
    // The client gives up half a second after the server.
    const waitedMs = async () => Number((await rows(WAITS))[0]?.['ms'])
    await expect.poll(waitedMs, { timeout: 5000 }).toBeGreaterThan(timeoutMs + 600)
    isDone.resolve()
    await changing
    const store = await opening
    expect(await store.journal.countUnknown()).toBe(0)
    await store.close()
    await other.close()
  })
})
