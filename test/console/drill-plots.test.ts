import { describe, expect, it } from 'vitest'

import { nearestRank, niceAbove, scaleUpTo, stepsPath } from '../../src/console/pages/drills/plot-scales.ts'
import { FRESH_DAYS, readinessOf } from '../../src/console/pages/drills/readiness.ts'

describe('the plot of a drill', () => {
  it('has an axis that ends above the largest value, in short numbers', () => {
    expect([32.6, 1, 8.1, 100, 0.3].map(niceAbove)).toEqual([40, 1, 10, 100, 0.4])
  })

  it('rises by a step at each measured end, and by nothing in between', () => {
    const scale = scaleUpTo(10)
    const { x, y } = scale
    expect(stepsPath([5, 10], scale)).toBe(`M${x(0)} ${y(0)}H${x(0.5)}V${y(0.5)}H${x(1)}V${y(1)}`)
  })

  it('names percentiles by nearest rank, never between two that were measured', () => {
    const sorted = [1, 2, 3, 4]
    expect([0, 0.5, 0.51, 0.99, 1].map((share) => nearestRank(sorted, share))).toEqual([1, 2, 3, 4, 4])
    expect(nearestRank([], 0.5)).toBeUndefined()
  })
})

describe('the readiness light', () => {
  const startedAt = '2026-11-01T00:00:00.000Z'
  const held = {
    drillId: 'd',
    startedAt,
    held: true,
    target: 'canary',
    endedP99Ms: 5,
    startedAfterAck: 0,
  } as const
  const daysLater = (days: number) => Date.parse(startedAt) + days * 86_400_000

  it('is good only while a drill that held is fresh', () => {
    expect(readinessOf(held, daysLater(FRESH_DAYS)).look).toBe('good')
    expect(readinessOf(held, daysLater(FRESH_DAYS) + 1).look).toBe('warn')
    expect(readinessOf(undefined, daysLater(0)).look).toBe('quiet')
  })

  it('is bad when the last one did not hold, and when a call started after an ack whatever it says of itself', () => {
    expect(readinessOf({ ...held, held: false }, daysLater(1)).look).toBe('bad')
    expect(readinessOf({ ...held, startedAfterAck: 1 }, daysLater(1)).look).toBe('bad')
  })
})
