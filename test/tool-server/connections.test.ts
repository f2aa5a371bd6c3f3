import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { createCallerToken } from '../../src/tool-server/callers.ts'
import { PROJECT } from '../docs/markdown.ts'
import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'
import { noPostgres, startPostgres, type TestPostgres } from '../fixtures/postgres.ts'
import { temporaryDirectory } from '../fixtures/program.ts'
import { startReplica } from '../fixtures/replica.ts'

/** What an operator reckons with, who gives Postgres its `max_connections`. */
const FORMULA = 'opens up to 1.5 × `TOOL_DATABASE_POOL_SIZE`, rounded up and at least 4'
const documented = (poolSize: number) => Math.max(4, Math.ceil(1.5 * poolSize))

const agent = createCallerToken({ name: 'agent', scopes: ['tools:call'] })
const approver = createCallerToken({ name: 'approver', scopes: ['runs:approve', 'runs:resume'] })

test('docs/many-nodes.md says how many connections a tool server takes, as it is counted here', () => {
  const text = readFileSync(join(PROJECT, 'docs/many-nodes.md'), 'utf8').replaceAll(/\s+/g, ' ')
  expect(text.includes(FORMULA)).toBe(true)
})

describe.skipIf(noPostgres)('the connections of a tool server', () => {
  let server: TestPostgres
  let authority: TestControlPlane
  let dir: Awaited<ReturnType<typeof temporaryDirectory>>
  beforeAll(async () => {
    server = await startPostgres()
    authority = await startTestControlPlane()
    dir = await temporaryDirectory()
    writeFileSync(
      join(dir.path, 'callers.json'),
      JSON.stringify({ callers: [agent.record, approver.record] }),
    )
  })
  afterAll(async () => {
    await authority?.close()
    await server?.close()
    await dir?.[Symbol.asyncDispose]()
  })

  test.for([
    { poolSize: 1, taken: 4 },
    { poolSize: 3, taken: 5 },
    { poolSize: 10, taken: 14 },
  ])(
    'are no more than documented, under load: %o',
    { timeout: 60_000 },
    async ({ poolSize, taken }, { expect }) => {
      const url = await server.createDatabase()
      const dataDir = join(dir.path, `${poolSize}`)
      mkdirSync(dataDir)
      const replica = await startReplica(dataDir, {
        MACHINEID_BASE_URL: authority.url,
        MACHINEID_ORG_KEY: authority.keys.runtime,
        TOOL_DATABASE_URL: url,
        TOOL_DATABASE_POOL_SIZE: String(poolSize),
        RUN_STATE_KEY: randomBytes(32).toString('hex'),
        CALLER_TOKENS_FILE: join(dir.path, 'callers.json'),
        APPROVAL_DESK: 'off',
      })
      let calls = 0
      const call = (tool: string, of: (at: number) => object) => () => {
        const at = (calls += 1)
        const asked = { call_id: `call_${at}`, run_id: 'r', arguments: of(at) }
        return replica.post(agent.token, `/tools/${tool}`, asked)
      }
      const write = call('write_record', (at) => ({ key: `k${at}`, value: 'v' }))
      const lookUp = call('lookup_invoice', () => ({ invoiceId: 'INV-1001' }))
      const inspect = () => replica.get(approver.token, '/inspect')
      const load = () => Promise.all(Array.from({ length: 30 }, () => [write(), lookUp(), inspect()]).flat())
      const counted = async () => {
        const of = 'SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = $1'
        return (await server.query(server.url, of, [new URL(url).pathname.slice(1)]))[0]?.['n']
      }
      try {
        await expect.poll(() => load().then(counted), { timeout: 30_000 }).toBeGreaterThanOrEqual(taken)
        await load()
        expect(await counted()).toBe(taken)
        expect(taken).toBeLessThanOrEqual(documented(poolSize))
      } finally {
        await replica.kill()
      }
    },
  )
})
