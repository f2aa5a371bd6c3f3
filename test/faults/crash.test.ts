import { expect, test } from 'vitest'

import { CRASH_POINTS } from '../../src/guard/crash-points.ts'
import { seedFrom } from '../fixtures/random.ts'
import { proveCrashes } from './crash-proof.ts'
import { totalOf } from './crash-report.ts'

const ROUNDS = 2

test(
  'G8: killed at any point, nothing is paid twice, nothing uncertain is hidden, and nothing hangs',
  { timeout: 180_000 },
  async () => {
    const seed = seedFrom('FAULT_SEED')
    const result = await proveCrashes({ rounds: ROUNDS, seed })
    const problems = [...result].flatMap(([point, tally]) =>
      tally.problems.map((text) => `${point}, ${text}`),
    )
    expect(problems, `FAULT_SEED=${seed}`).toEqual([])
    for (const [point, { crashes }] of result) expect({ point, crashes }).toEqual({ point, crashes: ROUNDS })
    expect(totalOf(result)).toMatchObject({
      crashes: CRASH_POINTS.length * ROUNDS,
      duplicatesIdempotent: 0,
      duplicatesPlain: 0,
      duplicateBookings: 0,
      duplicateNotices: 0,
      hidden: 0,
      hung: 0,
      lostUnlisted: 0,
    })
  },
)
