import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { PATHS } from '../../../src/machineid/paths.ts'
import { PROJECT } from '../../docs/markdown.ts'
import { noPostgres, startPostgres, type TestPostgres } from '../../fixtures/postgres.ts'
import { listenForStops, SERVER } from '../stops/stream-client.ts'
import { startNodes, type NodeSizes } from './nodes-world.ts'

/** What an operator reckons with, who gives Postgres its `max_connections`. */
const FORMULA = '`DATABASE_POOL_SIZE` + `VALIDATE_WORKERS` × (`VALIDATE_POOL_SIZE` + 1) + 2 connections'
const documented = ({ poolSize, workers, validatePoolSize }: NodeSizes) =>
  poolSize + workers * (validatePoolSize + 1) + 2

const times = <T>(count: number, act: (at: number) => Promise<T>) =>
  Promise.all(Array.from({ length: count }, (_, at) => act(at)))

test('docs/many-nodes.md says how many connections a node takes, as it is counted here', () => {
  const text = readFileSync(join(PROJECT, 'docs/many-nodes.md'), 'utf8').replaceAll(/\s+/g, ' ')
  expect(text.includes(FORMULA)).toBe(true)
})

describe.skipIf(noPostgres)('the connections of a node', () => {
  let server: TestPostgres
  beforeAll(async () => {
    server = await startPostgres()
  })
  afterAll(() => server?.close())

  test.for([
    { poolSize: 10, workers: 1, validatePoolSize: 4 },
    { poolSize: 5, workers: 3, validatePoolSize: 2 },
    { poolSize: 2, workers: 2, validatePoolSize: 1 },
  ])(
    'are as many as documented, and no more, under load: %o',
    { timeout: 60_000 },
    async (sizes, { expect }) => {
      const { databaseUrl, keys, of } = await startNodes(server, ['a'], { threads: true, sizes })
      const { url, operatorUrl, post, store } = of.a
      await post(PATHS.register, { deviceId: SERVER }, keys.full)
      const list = () => fetch(`${operatorUrl}${PATHS.list}`, { headers: { 'x-org-key': keys.viewer } })
      const listen = async (at: number) => {
        const stream = await listenForStops({ url, keys }, { replica: `r/${at}`, devices: [SERVER] })
        await stream.next(1, ({ event }) => event === 'current')
        stream[Symbol.dispose]()
      }
      const load = () =>
        Promise.all([
          times(60, () => post(PATHS.validate, { deviceId: SERVER }, keys.runtime)),
          times(60, list),
          times(12, listen),
          times(12, async () => store.reader.read('nobody', [])),
        ])
      const counted = async () => {
        const of = 'SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = $1'
        const [row] = await server.query(server.url, of, [new URL(databaseUrl).pathname.slice(1)])
        return row?.['n']
      }
      await expect
        .poll(() => load().then(counted), { timeout: 30_000 })
        .toBeGreaterThanOrEqual(documented(sizes))
      await load()
      expect(await counted()).toBe(documented(sizes))
    },
  )
})
