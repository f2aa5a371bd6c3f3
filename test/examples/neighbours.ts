import { noPostgres, startPostgres } from '../fixtures/postgres.ts'
import { noRedis, startRedis } from '../fixtures/redis.ts'

/** A server of somebody else that an example works with. */
export interface Neighbour {
  /** Why it cannot run here; undefined when it can. */
  readonly missing: string | undefined
  /** Where the example reads its address. */
  readonly variable: string
  readonly start: () => Promise<AsyncDisposable & { readonly url: string }>
}

/** By example. */
export const NEIGHBOURS: Readonly<Record<string, Neighbour>> = {
  'pg-boss-worker.ts': {
    missing: noPostgres,
    variable: 'QUEUE_DATABASE_URL',
    start: async () => {
      const server = await startPostgres()
      const url = await server.createDatabase()
      return { url, [Symbol.asyncDispose]: server.close }
    },
  },
  'bullmq-worker.ts': { missing: noRedis, variable: 'REDIS_URL', start: startRedis },
}
