import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, onTestFinished, test } from 'vitest'

import { createDatabase, type Database } from '../../../src/store/postgres/database.ts'
import type { Session } from '../../../src/store/postgres/session.ts'
import { noPostgres, startPostgres, type TestPostgres } from '../../fixtures/postgres.ts'
import { temporaryDirectory } from '../../fixtures/program.ts'

const WAITING = "SELECT count(*)::int AS waiting FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
const LOCALLY = 'SET synchronous_commit = local;'

// Or each of them would keep a connection of the server until the standby is back, and nothing could be stored there soon.
describe.skipIf(noPostgres)('a COMMIT that no standby confirms in time', () => {
  let server: TestPostgres
  let url: string
  beforeAll(async () => {
    server = await startPostgres()
    url = await server.createDatabase()
    await server.query(url, 'CREATE TABLE written (n INTEGER)')
    await server.configure("synchronous_standby_names = 'nobody'")
    await server.stop()
    await server.start()
  })
  afterAll(() => server?.close())

  const write = (session: Session) => session.run('INSERT INTO public.written VALUES (1)')
  const reserved = async ({ reserve }: Database) => {
    const connection = await reserve()
    try {
      return await connection.transact(write)
    } finally {
      connection.release()
    }
  }

  test.for([
    ['of a transaction', async () => url, ({ transact }: Database) => transact(write)],
    ['of one statement', async () => url, ({ read }: Database) => read(write)],
    ['of a connection that was reserved', async () => url, reserved],
    ['over a Unix socket', async () => overSocket(url, server.port), reserved],
  ] as const)('is given up by the server too, and in force there: %s', async ([, to, act], { expect }) => {
    const schema = 'holdpoint_tools'
    const database = createDatabase({ url: await to(), schema, name: 'test', poolSize: 1, timeoutMs: 100 })
    onTestFinished(() => database.close())
    await expect(act(database)).rejects.toMatchObject({
      code: expect.stringMatching(/^STORE_(?:OUTCOME_UNKNOWN|UNREACHABLE)$/),
    })
    await expect.poll(() => server.query(url, WAITING)).toEqual([{ waiting: 0 }])
    expect(await server.query(url, 'SELECT n FROM written')).toEqual([{ n: 1 }])
    await server.query(url, `${LOCALLY} DELETE FROM written`)
  })
})

/** Postgres as behind a socket of this machine. */
async function overSocket(url: string, port: number): Promise<string> {
  const dir = await temporaryDirectory()
  const proxy = createServer((inbound) => {
    const outbound = connect(port, '127.0.0.1')
    for (const socket of [inbound, outbound]) socket.on('error', () => {})
    inbound.pipe(outbound).pipe(inbound)
  }).listen(join(dir.path, `.s.PGSQL.${port}`))
  await once(proxy, 'listening')
  onTestFinished(async () => {
    proxy.close()
    await dir[Symbol.asyncDispose]()
  })
  return `${url}?host=${encodeURIComponent(dir.path)}`
}
