import { expect, test } from 'vitest'

import { CRASH_POINTS } from '../../src/guard/crash-points.ts'
import { seedFrom } from '../fixtures/random.ts'
import { proveCrashes, type ProofResult } from './crash-proof.ts'
import { totalOf } from './crash-report.ts'

// The short form of `npm run proof:crash`, which says what each of these counts.
const NOTHING = {
  duplicatesIdempotent: 0,
  duplicatesPlain: 0,
  duplicateBookings: 0,
  duplicateNotices: 0,
  hidden: 0,
  lostUnlisted: 0,
  hung: 0,
}

function expectProved(result: ProofResult, rounds: number, seed: number): void {
  const problems = [...result].flatMap(([point, tally]) => tally.problems.map((text) => `${point}, ${text}`))
  expect(problems, `FAULT_SEED=${seed}`).toEqual([])
  for (const [point, { crashes }] of result) expect({ point, crashes }).toEqual({ point, crashes: rounds })
  expect(totalOf(result)).toMatchObject(NOTHING)
}

test('G8: killed at any point, nothing happens twice, nothing uncertain is hidden, and nothing hangs', async () => {
  const seed = seedFrom('FAULT_SEED')
  const result = await proveCrashes({ rounds: 2, seed })
  expect([...result.keys()]).toEqual(CRASH_POINTS)
  expectProved(result, 2, seed)
}, 180_000)

test('E1, R2: a process that stood still at any point, and comes to when another has taken over, changes nothing', async () => {
  const seed = seedFrom('FAULT_SEED')
  expectProved(await proveCrashes({ rounds: 1, seed, stops: true }), 1, seed)
}, 180_000)
