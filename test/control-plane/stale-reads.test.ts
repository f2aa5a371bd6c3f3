import { randomInt } from 'node:crypto'
import { describe, expect, test } from 'vitest'

import { findStaleReads, summary } from './stale-reads.ts'

describe('readers in threads of their own', { timeout: 60_000 }, () => {
  test('G1: see each commit once it is acked, and never what is not committed', async () => {
    const result = await findStaleReads({ seed: randomInt(2 ** 31), reads: 300_000 })
    console.log(summary(result))
    expect(result.findings).toEqual([])
    expect(result.commits).toBeGreaterThan(100)
    expect(result.takenBack).toBeGreaterThan(10)
  })

  test.each([
    ['a reader that caches', 'cache', 'stale'],
    ['an ack before the commit', 'ack before commit', 'stale'],
    ['what is taken back, committed', 'commit what is taken back', 'uncommitted'],
  ] as const)('this search finds %s', async (_, mutant, what) => {
    const result = await findStaleReads({ seed: 1, reads: 30_000, mutant })
    expect(result.findings.map((finding) => finding.what)).toContain(what)
  })
})
