import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { noPostgres } from '../fixtures/postgres.ts'
import { seedFrom } from '../fixtures/random.ts'
import { startCluster, type Cluster } from './cluster.ts'
import { proveCaps } from './prove-caps.ts'
import { proveClocks } from './prove-clocks.ts'
import { proveFrozen } from './prove-frozen.ts'
import { proveNetwork } from './prove-network.ts'
import { provePostgresKilled } from './prove-postgres-killed.ts'
import { proveReads } from './prove-reads.ts'
import { proveStreams } from './prove-streams.ts'
import type { ProofResult } from './result.ts'

// The short forms of `npm run proof:nodes`, on one cluster of real processes.
const NODES_SEED = 'NODES_SEED'
const seed = seedFrom(NODES_SEED)

function expectProved({ problems }: ProofResult): void {
  expect(problems, `${NODES_SEED}=${seed}`).toEqual([])
}

describe.skipIf(noPostgres)('three nodes on one Postgres', () => {
  let cluster: Cluster

  beforeAll(async () => {
    cluster = await startCluster({ nodes: 3, proxied: true, clocks: true })
  }, 60_000)
  afterAll(async () => cluster[Symbol.asyncDispose]())

  test('G1, G6: what one node has acked is what every node answers', async () => {
    expectProved(await proveReads({ cluster, seed, questions: 3000 }))
  })

  test('and would be found out if nodes gave answers twice within 50 ms', async () => {
    const { figures } = await proveReads({ cluster, seed: seed + 1, questions: 1500, cacheMs: 50 })
    expect(figures['staleAllows']).toBeGreaterThan(0)
  })

  test('G7: 16 registers at once over all nodes admit as many as there is room for', async () => {
    expectProved(await proveCaps({ cluster, seed, rounds: 40 }))
  })

  test('clocks that are an hour off change nothing', async () => {
    expectProved(await proveClocks({ cluster, seed, rounds: 1 }))
  })

  test('G1: what stood still answers nothing that is out of date', async () => {
    expectProved(await proveFrozen({ cluster, seed, rounds: 3, frozenMs: 2000 }))
  }, 60_000)

  test('G1, G4, G5: a network that is cut and mended in five ways', async () => {
    expectProved(await proveNetwork({ cluster, seed, rounds: 5, brokenMs: 800 }))
  }, 60_000)

  test('G4, G5: Postgres is killed: everything is denied, then nodes go on by themselves and no acked stop is lost', async () => {
    expectProved(await provePostgresKilled({ cluster, seed, rounds: 2 }))
  }, 60_000)

  test('a stop that one node acks reaches the streams of all', async () => {
    expectProved(await proveStreams({ cluster, seed, streams: 30, rounds: 2 }))
  }, 60_000)
})
