// Several control planes above one Postgres, in this process: each with its own connections, agent lane and operator
// lane.
//
//   const { of, keys } = await startNodes(server, ['a', 'b'])     // closed when the test has finished
//   await of.a.post(PATHS.revoke, { deviceId }, keys.stop)
//   of.a.url, .operatorUrl, .store, .controlPlane

import { onTestFinished } from 'vitest'
import { Agent, request } from 'undici'

import { createLogger } from '../../../src/log.ts'
import { KEY_KINDS, type KeyKind } from '../../../src/machineid/wire.ts'
import { serveControlPlane, type ServedControlPlane } from '../../../src/programs/serve-control-plane.ts'
import {
  openControlPlaneStore,
  type PostgresControlPlaneStore,
} from '../../../src/store/postgres/control-plane.ts'
import { HOST, NO_LIMITS, serveInOneThread } from '../../fixtures/one-thread.ts'
import type { TestPostgres } from '../../fixtures/postgres.ts'

/** `url`: of the agent lane. */
export interface TestNode extends Omit<ServedControlPlane, 'close'> {
  readonly store: PostgresControlPlaneStore
  /** Throws unless it is answered with 200. */
  readonly post: (path: string, body: unknown, key: string) => Promise<Record<string, unknown>>
  readonly close: () => Promise<void>
}

export interface TestNodes<Name extends string> {
  readonly databaseUrl: string
  readonly orgId: string
  readonly keys: Record<KeyKind, string>
  readonly of: Readonly<Record<Name, TestNode>>
}

interface NodesOptions<Name> {
  /** By which URL a node reaches the database. */
  readonly through?: (name: Name, url: string) => string
  /** Agent lanes in threads of their own, as `npm start` has them. */
  readonly threads?: boolean
  readonly sizes?: NodeSizes
}

/** As DATABASE_POOL_SIZE, VALIDATE_WORKERS and VALIDATE_POOL_SIZE set them. */
export interface NodeSizes {
  readonly poolSize: number
  readonly workers: number
  readonly validatePoolSize: number
}

const SIZES: NodeSizes = { poolSize: 6, workers: 2, validatePoolSize: 2 }

/** One org of the plan `pro`. */
export async function startNodes<Name extends string>(
  server: TestPostgres,
  names: readonly [Name, ...Name[]],
  { through = (_name, url) => url, threads = false, sizes = SIZES }: NodesOptions<Name> = {},
): Promise<TestNodes<Name>> {
  const databaseUrl = await server.createDatabase()
  const of = {} as Record<Name, TestNode>
  for (const name of names) of[name] = await startNode(through(name, databaseUrl), threads, sizes)
  const { service } = of[names[0]].controlPlane
  const { orgId, keys } = await service.createOrg({ kinds: KEY_KINDS })
  const platform = { actor: 'test', kind: 'platform', requestId: 'test', origin: null } as const
  await service.setPlan(platform, orgId, { tier: 'pro' })
  return { databaseUrl, orgId, keys: keys as Record<KeyKind, string>, of }
}

export async function startNode(url: string, threads = false, sizes = SIZES): Promise<TestNode> {
  const log = createLogger({ level: 'silent' })
  const database = { url, timeoutMs: 2000, consistency: 'primary' } as const
  const store = await openControlPlaneStore({ ...database, poolSize: sizes.poolSize, log })
  const served = threads
    ? await serveControlPlane({
        store,
        log,
        loopback: true,
        limitCalls: false,
        limits: NO_LIMITS,
        workers: sizes.workers,
        host: HOST,
        port: 0,
        operatorPort: 0,
        source: {
          kind: 'postgres',
          ...database,
          poolSize: sizes.validatePoolSize,
          knowledge: store.knowledge,
        },
        onDied: (error) => {
          throw error
        },
      })
    : await serveInOneThread({ store, log, loopback: true, limitCalls: false })
  const agent = new Agent()
  let closing: Promise<void> | undefined
  const end = async () => {
    await served.close({ graceMs: 100 })
    await agent.destroy()
  }
  const close = () => (closing ??= end())
  onTestFinished(close)
  return {
    ...served,
    store,
    post: async (path, body, key) => {
      const response = await request(`${served.url}${path}`, {
        method: 'POST',
        dispatcher: agent,
        headers: { 'x-org-key': key, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
      const answer = (await response.body.json()) as Record<string, unknown>
      if (response.statusCode !== 200) {
        throw new Error(`${path}: ${response.statusCode} ${JSON.stringify(answer)}`)
      }
      return answer
    },
    close,
  }
}
