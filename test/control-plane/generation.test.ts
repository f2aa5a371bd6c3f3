import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { firstEpoch, nextGeneration } from '../../src/control-plane/generation.ts'

const HIGHEST = 2 ** 21 - 1
const generation = fc.integer({ min: 0, max: HIGHEST - 1 })
const anyTime = fc.double({ min: -1e15, max: 1e16, noNaN: true })

describe('the generation of a backup that is opened', () => {
  test('G6: is above that in the file and above each that was seen, at any time', () => {
    fc.assert(
      fc.property(generation, generation, anyTime, (inFile, seen, nowMs) => {
        const next = nextGeneration({ inFile, seen, nowMs })
        expect(next).toBeGreaterThan(Math.max(inFile, seen))
        // Every epoch of it, with all of its counter, is a whole number that JSON keeps.
        expect(Number.isSafeInteger(firstEpoch(next) + 2 ** 32 - 1)).toBe(true)
      }),
    )
  })

  test('is above what a restore elsewhere was given ten minutes ago', () => {
    const first = nextGeneration({ inFile: 0, seen: 0, nowMs: Date.UTC(2030, 1, 1) })
    const later = nextGeneration({ inFile: 0, seen: 0, nowMs: Date.UTC(2030, 1, 1, 0, 10) })
    expect(later).toBe(first + 1)
    expect(first).toBeGreaterThan(200_000)
  })

  test('cannot be used up by a clock that is wrong', () => {
    let last = nextGeneration({ inFile: 0, seen: 0, nowMs: Date.UTC(9999, 0, 1) })
    for (let restores = 0; restores < 1000; restores++) {
      const next = nextGeneration({ inFile: last, seen: last, nowMs: Date.UTC(9999, 0, 1) })
      expect(next).toBe(last + 1)
      last = next
    }
  })

  test('is refused, rather than repeated, when there is none left', () => {
    const attempt = () => nextGeneration({ inFile: HIGHEST, seen: 0, nowMs: 0 })
    expect(attempt).toThrow(expect.objectContaining({ code: 'STORE_GENERATION' }))
    expect(attempt).toThrow(/new DATA_DIR\.$/)
  })

  test('begins with an epoch that lies above all of the one before', () => {
    expect(firstEpoch(0)).toBe(0)
    expect(firstEpoch(8)).toBe(firstEpoch(7) + 2 ** 32)
  })
})
