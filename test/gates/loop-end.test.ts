// How a loop ends, and what then becomes of what was taken.
import { expect, test, vi } from 'vitest'

import { defineEffect } from '../../src/guard/effect.ts'
import { guardedLoop } from '../../src/gates/loop.ts'
import { PAYMENTS } from '../fixtures/guard.ts'
import { later, upTo, world } from './bank.ts'

const SOURCES = [
  ['an iterable', () => upTo(3)],
  ['an async iterable', () => later(upTo(3))],
  ['a function that gives one', () => () => upTo(3)],
] as const

test.each(SOURCES)('%s: a second run at once, or after the end, is a clear error', async (_, source) => {
  const { payments } = await world()
  const loop = guardedLoop(payments, { name: 'read', effects: 'none', units: source(), work: () => {} })
  const first = loop.run()
  await expect(loop.run()).rejects.toMatchObject({ code: 'GATE_RUNNING' })
  expect(await first).toMatchObject({ ended: 'finished' })
  await expect(loop.run()).rejects.toMatchObject({ code: 'GATE_CLOSED' })
})

test('closed before its first run, it opens nothing', async () => {
  const { payments, authority } = await world()
  const units = vi.fn(() => [1])
  const loop = guardedLoop(payments, { name: 'read', effects: 'none', units, work: () => {} })
  await loop.close()
  await loop.close()
  await expect(loop.run()).rejects.toMatchObject({ code: 'GATE_CLOSED' })
  expect([units.mock.calls, authority.boundaries]).toEqual([[], ['startup']])
})

test('closing signals the running unit, lets it settle, gives back what is not done, and ends the iterator', async () => {
  const { payments, effects, charges } = await world()
  const givenBack: number[] = []
  const running = Promise.withResolvers<void>()
  let ended = false
  async function* source() {
    try {
      yield* later(upTo(3))
    } finally {
      ended = true
    }
  }
  const loop = guardedLoop(payments, {
    name: 'bill',
    effects,
    units: source(),
    concurrency: 2,
    giveBack: (unit) => void givenBack.push(unit),
    work: async (unit, { signal, effects: { charge } }) => {
      if (unit === 2) running.resolve()
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      if (unit === 1) throw new Error('gave up')
      await new Promise((resolve) => setImmediate(resolve))
      void charge
    },
  })
  const run = loop.run()
  await running.promise
  await Promise.all([loop.close(), loop.close()])
  expect(await run).toEqual({ ended: 'closed', done: 1, kept: [] })
  expect([givenBack, charges, ended]).toEqual([[1], [], true])
})

test('a source that waits for ever holds no close up; what it gives afterwards is given back', async () => {
  const { payments } = await world()
  const givenBack: string[] = []
  const unit = Promise.withResolvers<string>()
  let sourceSignal: AbortSignal | undefined
  const waits = Promise.withResolvers<void>()
  const loop = guardedLoop(payments, {
    name: 'read',
    effects: 'none',
    units: async function* ({ signal }) {
      sourceSignal = signal
      waits.resolve()
      yield await unit.promise
    },
    giveBack: (late) => void givenBack.push(late),
    work: vi.fn(),
  })
  const run = loop.run()
  await waits.promise
  await loop.close()
  expect(await run).toEqual({ ended: 'closed', done: 0, kept: [] })
  expect(sourceSignal?.aborted).toBe(true)
  unit.resolve('late')
  await vi.waitFor(() => expect(givenBack).toEqual(['late']))
})

test('a guard that shuts down ends it, also while it waits for a restore, without a long wait', async () => {
  const { guard, payments, authority } = await world()
  authority.stop(PAYMENTS)
  const options = { name: 'read', effects: 'none', units: [1], onDenied: 'wait', retryMs: 60_000 } as const
  const run = guardedLoop(payments, { ...options, work: vi.fn() }).run()
  await vi.waitFor(() => expect(authority.questions).toHaveLength(2))
  await guard.close()
  expect(await run).toMatchObject({ ended: 'closed', done: 0 })
})

test.each([1, 4])('%i at a time: an error of the body ends it with that error', async (concurrency) => {
  const { payments, started } = await world()
  const givenBack: number[] = []
  const loop = guardedLoop(payments, {
    name: 'read',
    effects: 'none',
    units: later(upTo(9)),
    concurrency,
    giveBack: (unit) => void givenBack.push(unit),
    work: (unit) => {
      started.push(unit)
      if (unit === 2) throw new RangeError('two')
    },
  })
  await expect(loop.run()).rejects.toThrow(new RangeError('two'))
  // What was done, the failed one, and what was given back: nothing is lost, nothing counts twice.
  const taken = [...started, ...givenBack]
  expect(new Set(taken).size).toBe(taken.length)
  expect(taken.toSorted()).toEqual(upTo(taken.length))
  await expect(loop.run()).rejects.toMatchObject({ code: 'GATE_CLOSED' })
})

test('what was allowed in that moment does not start any more', async () => {
  const { payments, authority, started } = await world()
  const failed = Promise.withResolvers<void>()
  authority.beforeAnswer = () => (authority.questions.length === 3 ? failed.promise : undefined)
  const loop = guardedLoop(payments, {
    name: 'read',
    effects: 'none',
    units: upTo(2),
    concurrency: 2,
    work: (unit) => {
      started.push(unit)
      setImmediate(failed.resolve)
      throw new RangeError('one')
    },
  })
  await expect(loop.run()).rejects.toThrow(new RangeError('one'))
  expect(started).toEqual([1])
})

test('unless it is handled: then it goes on', async () => {
  const { payments } = await world()
  const failed: unknown[] = []
  const loop = guardedLoop(payments, {
    name: 'read',
    effects: 'none',
    units: upTo(3),
    onFailed: (unit, { thrown }) => void failed.push([unit, thrown]),
    work: (unit) => {
      if (unit === 2) throw new RangeError('two')
    },
  })
  expect(await loop.run()).toEqual({ ended: 'finished', done: 2, kept: [] })
  expect(failed).toEqual([[2, new RangeError('two')]])
})

test('an unknown outcome ends it with CallRefusedError, or is handled; neither repeats it', async () => {
  const { payments } = await world()
  const run = vi.fn((): never => {
    throw new Error('the bank hung up')
  })
  const charge = defineEffect({ kind: 'payment', name: 'charge', key: String, run })
  const options = {
    name: 'bill',
    effects: { charge },
    work: (unit: number, { effects }: { effects: { charge: (unit: number) => unknown } }) =>
      effects.charge(unit),
  }
  const loop = guardedLoop(payments, { ...options, units: [1] })
  await expect(loop.run()).rejects.toMatchObject({ name: 'CallRefusedError', code: 'OUTCOME_UNKNOWN' })
  const onUnknown = vi.fn()
  const second = guardedLoop(payments, { ...options, units: [1, 2], onUnknown })
  expect(await second.run()).toMatchObject({ ended: 'finished', done: 0 })
  expect(onUnknown.mock.calls.map(([unit]) => unit)).toEqual([1, 2])
  expect(run).toHaveBeenCalledTimes(2)
})

test.each([
  ['an iterable', (source: Generator<number>) => source],
  ['an async iterable', (source: Generator<number>) => later(source)],
] as const)('%s that throws ends it with that error, once what runs has settled', async (_, from) => {
  const { payments } = await world()
  const settled: number[] = []
  function* broken() {
    yield 1
    throw new RangeError('source')
  }
  const loop = guardedLoop(payments, {
    name: 'read',
    effects: 'none',
    units: from(broken()),
    concurrency: 2,
    work: async (unit) => {
      await new Promise((resolve) => setImmediate(resolve))
      settled.push(unit)
    },
  })
  await expect(loop.run()).rejects.toThrow(new RangeError('source'))
  expect(settled).toEqual([1])
})
