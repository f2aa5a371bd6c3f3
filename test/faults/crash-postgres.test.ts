import { describe, expect, test } from 'vitest'

import { noPostgres, startPostgres } from '../fixtures/postgres.ts'
import { seedFrom } from '../fixtures/random.ts'
import { createBookedDatabase, proveCrashes } from './crash-proof.ts'
import { totalOf } from './crash-report.ts'

// The short form of `npm run proof:replicas`, which takes every point many times.
const POINTS = ['effect.intent_stored', 'effect.performed', 'run.approvals_applied', 'run.saving'] as const

describe.skipIf(noPostgres)('on Postgres', () => {
  test('G8: a replica is killed, another takes over, and nothing happens twice, is hidden, or hangs', async () => {
    const seed = seedFrom('FAULT_SEED')
    const server = await startPostgres()
    try {
      const createDatabase = () => createBookedDatabase(server)
      const result = await proveCrashes({ points: POINTS, rounds: 1, seed, workers: 1, createDatabase })
      const { problems, crashes } = totalOf(result)
      expect(problems, `FAULT_SEED=${seed}`).toEqual([])
      expect(crashes).toBe(POINTS.length)
    } finally {
      await server.close()
    }
  }, 180_000)
})
