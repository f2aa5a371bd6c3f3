import { describe, expect, test } from 'vitest'

import { createStoreClock, createThreadClock } from '../../../src/control-plane/nodes/store-clock.ts'

const STORE = Date.UTC(2030, 0, 1)

/** A store and a machine, each with a clock of its own. An answer takes `roundTripMs`, in equal parts. */
async function world(roundTripMs: readonly number[] = [2]) {
  let monotonicMs = 5000
  let aheadMs = 0
  let isAway = false
  let asked = 0
  const suspendsMs: number[] = []
  let suspendedMs = 0
  const uptimeMs = () => monotonicMs + suspendedMs
  const store = () => STORE + uptimeMs() + aheadMs
  const measure = async () => {
    const half = (roundTripMs[asked++ % roundTripMs.length] ?? 0) / 2
    monotonicMs += half
    if (isAway) throw new Error('away')
    const told = store()
    suspendedMs += suspendsMs.shift() ?? 0
    monotonicMs += half
    return told
  }
  const made = await createStoreClock({
    measure,
    monotonicMs: () => monotonicMs,
    uptimeMs,
    everyMs: 3_600_000,
  })
  return {
    made,
    store,
    now: () => made.clock.now().wallMs,
    monotonicMs: () => monotonicMs,
    uptimeMs,
    /** The monotonic clock stands still meanwhile. */
    suspend: (ms: number) => void (suspendedMs += ms),
    suspendWithinAnswer: (ms: number) => void suspendsMs.push(ms),
    pass: (ms: number) => void (monotonicMs += ms),
    step: (ms: number) => void (aheadMs += ms),
    goAway: (away: boolean) => void (isAway = away),
    [Symbol.dispose]: () => made.close(),
  }
}

describe('the clock of a shared store', () => {
  test('is that of the store, whatever time this machine believes it is, and goes on between two looks', async () => {
    using at = await world()
    expect(at.now()).toBeCloseTo(at.store(), 2)
    at.pass(1234)
    expect(at.now()).toBeCloseTo(at.store(), 2)
  })

  test('believes the quickest of its first answers', async () => {
    using at = await world([900, 4, 700])
    expect(Math.abs(at.now() - at.store())).toBeLessThan(2)
  })

  test('is not moved by an answer that fits it, however slow', async () => {
    using at = await world([2, 2, 2, 800])
    const before = at.now() - at.monotonicMs()
    await at.made.refresh()
    expect(at.now() - at.monotonicMs()).toBe(before)
  })

  test('goes with the store when that goes ahead, at once', async () => {
    using at = await world()
    at.step(3_600_000)
    await at.made.refresh()
    expect(Math.abs(at.now() - at.store())).toBeLessThan(2)
  })

  test('never goes back: it waits for a store that is behind, at half its pace', async () => {
    using at = await world()
    let before = at.now()
    at.step(-1000)
    await at.made.refresh()
    at.pass(100)
    for (let turn = 0; turn < 30; turn++) {
      at.pass(100)
      const now = at.now()
      expect(now - before).toBeGreaterThanOrEqual(50)
      before = now
    }
    expect(Math.abs(before - at.store())).toBeLessThan(2)
  })

  test('keeps what it knew while the store cannot be asked', async () => {
    using at = await world()
    at.goAway(true)
    at.pass(60_000)
    await at.made.refresh()
    expect(at.now()).toBeCloseTo(at.store(), 2)
  })

  test('goes on while the machine is suspended, though the store cannot be asked after that', async () => {
    using at = await world()
    const other = createThreadClock(at.made.clockOffset, at.monotonicMs, at.uptimeMs)
    at.goAway(true)
    at.suspend(3_600_000)
    at.pass(100)
    await at.made.refresh()
    expect(Math.abs(at.now() - at.store())).toBeLessThan(2)
    expect(Math.abs(other.now().wallMs - at.store())).toBeLessThan(2)
    at.goAway(false)
    await at.made.refresh()
    for (const _ of [1, 2]) {
      expect(Math.abs(at.now() - at.store())).toBeLessThan(2)
      expect(Math.abs(other.now().wallMs - at.store())).toBeLessThan(2)
      at.pass(100)
    }
  })

  test('believes no answer that was on its way while the machine was suspended', async () => {
    using at = await world()
    at.suspendWithinAnswer(3_600_000)
    await at.made.refresh()
    expect(Math.abs(at.now() - at.store())).toBeLessThan(2)
  })

  test('is the same in every thread, at once', async () => {
    using at = await world()
    const other = createThreadClock(at.made.clockOffset, at.monotonicMs)
    at.step(3_600_000)
    await at.made.refresh()
    expect(other.now().wallMs).toBe(at.now())
  })

  test('has no beginning without an answer', async () => {
    const measure = () => Promise.reject(new Error('away'))
    await expect(createStoreClock({ measure })).rejects.toThrow('away')
  })
})
