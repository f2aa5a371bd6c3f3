// What a loop asks and keeps. How it ends: loop-end.test.ts; over real sockets: loop-real.test.ts; as a process: process.test.ts.
import { describe, expect, test, vi } from 'vitest'

import { defineEffect } from '../../src/guard/effect.ts'
import { guardedLoop } from '../../src/gates/loop.ts'
import { EMAIL, PAYMENTS, SERVER } from '../fixtures/guard.ts'
import { later, upTo, world } from './bank.ts'

const SOURCES = [
  ['an iterable', () => upTo(3)],
  ['an async iterable', () => later(upTo(3))],
  ['a function that gives one', () => () => upTo(3)],
] as const

describe('what is asked', () => {
  test('G2: an iterable: one question for each unit, and one that finds the end', async () => {
    const { payments, effects, authority, charges } = await world()
    const loop = guardedLoop(payments, {
      name: 'bill',
      effects,
      units: upTo(3),
      work: (unit, { effects: { charge } }) => charge(unit),
    })
    expect(await loop.run()).toEqual({ ended: 'finished', done: 3, kept: [] })
    expect(charges).toEqual([1, 2, 3])
    const each = ['task', 'side_effect']
    expect(authority.boundaries).toEqual(['startup', ...each, ...each, ...each, 'task'])
    expect(authority.questions[1]).toMatchObject({ deviceIds: [SERVER, PAYMENTS], tool: 'bill' })
  })

  test('G2: an async iterable: asked before a unit is taken, and again right before it starts', async () => {
    const { payments, authority } = await world()
    const questions = () => authority.questions.slice(1).map(({ boundary, callId }) => [boundary, callId])
    const options = { name: 'read', effects: 'none', unitId: String, work: () => {} } as const
    await guardedLoop(payments, { ...options, units: later([7, 8]) }).run()
    const before = ['task', undefined]
    expect(questions()).toEqual([before, ['task', 'read:7'], before, ['task', 'read:8'], before])
  })

  test.each([
    ['an iterable', (onOpen: () => void) => ({ [Symbol.iterator]: () => (onOpen(), upTo(3).values()) })],
    [
      'an async iterable',
      (onOpen: () => void) => ({ [Symbol.asyncIterator]: () => (onOpen(), later(upTo(3))) }),
    ],
    ['a function that gives one', (onOpen: () => void) => () => (onOpen(), upTo(3))],
  ])('G1: %s: nothing is taken, or even opened, while it is denied', async (_, source) => {
    const { payments, authority } = await world()
    authority.stop(PAYMENTS)
    const onOpen = vi.fn()
    const options = { name: 'read', effects: 'none', units: source(onOpen), onDenied: 'stop' } as const
    const loop = guardedLoop(payments, { ...options, work: vi.fn() })
    expect(await loop.run()).toMatchObject({
      ended: 'denied',
      done: 0,
      kept: [],
      refusal: { code: 'DEVICE_REVOKED', boundary: 'task', deviceId: PAYMENTS },
    })
    expect(onOpen).not.toHaveBeenCalled()
    authority.restore(PAYMENTS)
    expect(await loop.run()).toMatchObject({ ended: 'finished', done: 3 })
  })

  test('a whole process is a place as well: its server device alone is asked about', async () => {
    const { guard, authority } = await world()
    await guardedLoop(guard, { name: 'read', effects: 'none', units: [1], work: () => {} }).run()
    expect(authority.questions[1]).toMatchObject({ deviceIds: [SERVER] })
  })

  test('a surface chosen from the unit: the process is asked first, then the unit by its surface', async () => {
    const { guard, authority } = await world()
    const place = guard.surfaceBy(['payments', 'email'], (unit: { to: string }) => unit.to)
    const units = [{ to: 'email' }, { to: 'elsewhere' }]
    const work = vi.fn()
    const loop = guardedLoop(place, { name: 'send', effects: 'none', units, work })
    await expect(loop.run()).rejects.toMatchObject({ code: 'GUARD_MISCONFIGURED' })
    expect(authority.questions.slice(1).map(({ deviceIds }) => deviceIds)).toEqual([
      [SERVER],
      [SERVER, EMAIL],
      [SERVER],
    ])
    expect(work).toHaveBeenCalledTimes(1)
  })
})

describe('a unit that is denied', () => {
  test.each(SOURCES)(
    'G1: %s: revoked in mid-work, the next unit does not start; restored, it goes on where it stopped',
    async (_, source) => {
      const { payments, effects, authority, charges, started } = await world()
      const loop = guardedLoop(payments, {
        name: 'bill',
        effects,
        units: source(),
        onDenied: 'wait',
        retryMs: 5,
        work: async (unit, { effects: { charge } }) => {
          started.push(unit)
          await charge(unit)
          if (unit === 2 && charges.length === 2) authority.stop(PAYMENTS)
        },
      })
      const running = loop.run()
      const asked = () => authority.questions.length
      await vi.waitFor(() => expect(started).toEqual([1, 2]))
      const before = asked()
      await vi.waitFor(() => expect(asked()).toBeGreaterThan(before + 2))
      expect(started).toEqual([1, 2])
      authority.restore(PAYMENTS)
      expect(await running).toEqual({ ended: 'finished', done: 3, kept: [] })
      expect([started, charges]).toEqual([
        [1, 2, 3],
        [1, 2, 3],
      ])
    },
  )

  test('by the surface that it chose: the loop says that it goes on only once that surface is restored', async () => {
    const { guard, authority, lines } = await world()
    authority.stop(EMAIL)
    const place = guard.surfaceBy(['payments', 'email'], (unit: { to: string }) => unit.to)
    const units = [{ to: 'email' }]
    const work = vi.fn()
    const options = { name: 'send', effects: 'none', units, work, onDenied: 'wait', retryMs: 5 } as const
    const running = guardedLoop(place, options).run()
    const asked = authority.questions.length
    await vi.waitFor(() => expect(authority.questions.length).toBeGreaterThan(asked + 5))
    const said = () => lines.map(({ msg }) => msg).filter((msg) => /waiting|going on/.test(String(msg)))
    expect(said()).toEqual(['denied, waiting'])
    authority.restore(EMAIL)
    expect(await running).toMatchObject({ ended: 'finished', done: 1 })
    expect(said()).toEqual(['denied, waiting', 'allowed again, going on'])
  })

  test('within its body: it is kept, goes first in a second run, and what it had done is not done again', async () => {
    const { payments, effects, authority, charges, mails, started } = await world()
    authority.stop(EMAIL)
    const loop = guardedLoop(payments, {
      name: 'bill',
      effects,
      units: upTo(3),
      onDenied: 'stop',
      work: async (unit, { effects: { charge, mail } }) => {
        started.push(unit)
        await charge(unit)
        await mail(unit)
      },
    })
    expect(await loop.run()).toMatchObject({ ended: 'denied', done: 0, kept: [1] })
    expect(await loop.run()).toMatchObject({ ended: 'denied', done: 0, kept: [1] })
    authority.restore(EMAIL)
    expect(await loop.run()).toEqual({ ended: 'finished', done: 3, kept: [] })
    expect(started).toEqual([1, 1, 1, 2, 3])
    expect([charges, mails]).toEqual([upTo(3), upTo(3)])
  })

  test('an effect by call is not repeated when its unit runs again in this process, though the unit has no id', async () => {
    const { payments, effects, authority, mails, charges } = await world()
    const loop = guardedLoop(payments, {
      name: 'bill',
      effects,
      units: [1],
      onDenied: 'stop',
      work: async (unit, { effects: { charge, mail } }) => {
        await mail(unit)
        if (mails.length === 1 && authority.epoch === 1) authority.stop(PAYMENTS)
        await charge(unit)
      },
    })
    expect(await loop.run()).toMatchObject({ ended: 'denied', kept: [1] })
    authority.restore(PAYMENTS)
    expect(await loop.run()).toMatchObject({ ended: 'finished', done: 1 })
    expect([mails, charges]).toEqual([[1], [1]])
  })

  test('a body that swallows the denial is denied all the same', async () => {
    const { payments, effects, authority } = await world()
    const loop = guardedLoop(payments, {
      name: 'bill',
      effects,
      units: upTo(2),
      onDenied: 'stop',
      work: async (unit, { effects: { charge } }) => {
        authority.stop(PAYMENTS)
        await charge(unit).catch(() => 'never mind')
      },
    })
    expect(await loop.run()).toMatchObject({ ended: 'denied', done: 0, kept: [1] })
  })

  test('so is one whose part behind a hold point of its own was denied; the parts before it ran', async () => {
    const { guard, payments, authority, started } = await world()
    const loop = guardedLoop(payments, {
      name: 'index',
      effects: 'none',
      units: upTo(2),
      onDenied: 'stop',
      work: async (unit, { enter }) => {
        await enter('batch', () => void started.push(unit))
        authority.stop(EMAIL)
        const parts = [1, 2].map((part) => enter('fan out', () => started.push(part), guard.surface('email')))
        await Promise.allSettled(parts)
      },
    })
    expect(await loop.run()).toMatchObject({ ended: 'denied', refusal: { deviceId: EMAIL }, kept: [1] })
    expect(started).toEqual([1])
  })

  test.each([
    ['an iterable', () => upTo(9)],
    ['an async iterable', () => later(upTo(9))],
  ] as const)(
    '%s, four at a time, one denied: the others settle, it is kept once, in its order',
    async (_, source) => {
      const { payments, effects, authority, charges, started } = await world()
      const settled: number[] = []
      const allStarted = Promise.withResolvers<void>()
      const loop = guardedLoop(payments, {
        name: 'bill',
        effects,
        units: source(),
        concurrency: 4,
        onDenied: 'stop',
        work: async (unit, { effects: { charge } }) => {
          started.push(unit)
          if (started.length === 4) allStarted.resolve()
          await allStarted.promise
          if (unit === 2 && authority.epoch === 1) {
            authority.stop(PAYMENTS)
            await charge(unit)
          }
          if (authority.epoch === 3) await charge(unit)
          settled.push(unit)
        },
      })
      const end = await loop.run()
      expect(end).toMatchObject({ ended: 'denied', done: 3, kept: expect.arrayContaining([2]) })
      expect(started).toEqual([1, 2, 3, 4])
      expect(settled.toSorted()).toEqual([1, 3, 4])
      // What was taken and found the stop at its start waits behind it.
      expect(end.kept).toEqual([2, 5].slice(0, end.kept.length))
      authority.restore(PAYMENTS)
      started.length = 0
      expect(await loop.run()).toMatchObject({ ended: 'finished', done: 6, kept: [] })
      expect(started).toEqual([2, 5, 6, 7, 8, 9])
      expect(charges.toSorted()).toEqual([2, 5, 6, 7, 8, 9])
    },
  )

  test('two that are denied the other way round are kept in their order', async () => {
    const { payments, effects, authority } = await world()
    const secondDenied = Promise.withResolvers<void>()
    const loop = guardedLoop(payments, {
      name: 'bill',
      effects,
      units: upTo(2),
      concurrency: 2,
      onDenied: 'stop',
      work: async (unit, { effects: { charge } }) => {
        if (unit === 1) await secondDenied.promise
        authority.stop(PAYMENTS)
        await charge(unit).finally(() => setImmediate(secondDenied.resolve))
      },
    })
    expect(await loop.run()).toMatchObject({ ended: 'denied', kept: [1, 2] })
  })

  test('a source that waits is not asked a second time at once: what it gives belongs to the next run', async () => {
    const { payments, authority, started } = await world()
    const next = Promise.withResolvers<number>()
    const waits = Promise.withResolvers<void>()
    let waiting = 0
    let given = 0
    const source = {
      [Symbol.asyncIterator]: () => ({
        next: async (): Promise<IteratorResult<number, undefined>> => {
          given += 1
          if (given === 1) return { value: 1 }
          if (given === 3) return { done: true, value: undefined }
          expect((waiting += 1)).toBe(1)
          waits.resolve()
          return { value: await next.promise }
        },
      }),
    }
    const loop = guardedLoop(payments, {
      name: 'read',
      effects: 'none',
      units: source,
      concurrency: 2,
      onDenied: 'stop',
      work: async (unit, { enter }) => {
        started.push(unit)
        if (started.length > 1) return
        await waits.promise
        authority.stop(PAYMENTS)
        await enter('part', () => {})
      },
    })
    expect(await loop.run()).toMatchObject({ ended: 'denied', kept: [1] })
    authority.restore(PAYMENTS)
    const second = loop.run()
    await vi.waitFor(() => expect(started).toEqual([1, 1]))
    next.resolve(2)
    expect(await second).toEqual({ ended: 'finished', done: 2, kept: [] })
    expect(started).toEqual([1, 1, 2])
  })

  test('one that a pushed stop interrupts is kept, and runs again after the restore', async () => {
    const { payments, authority, started } = await world()
    const loop = guardedLoop(payments, {
      name: 'read',
      effects: 'none',
      units: upTo(2),
      onDenied: 'wait',
      retryMs: 5,
      work: (unit, { signal }) => {
        started.push(unit)
        if (started.length > 1) return
        authority.stopNow(PAYMENTS)
        signal.throwIfAborted()
      },
    })
    const running = loop.run()
    const asked = () => authority.questions.length
    await vi.waitFor(() => expect(asked()).toBeGreaterThan(4))
    expect(started).toEqual([1])
    authority.restore(PAYMENTS)
    expect(await running).toEqual({ ended: 'finished', done: 2, kept: [] })
    expect(started).toEqual([1, 1, 2])
  })
})

describe('half-use', () => {
  test('what the types refuse is refused when the loop is made', async () => {
    const { payments, guard } = await world()
    const fine = { name: 'read', effects: 'none', units: [1], work: () => {} } as const
    const { effects: _, ...forgotten } = fine
    const made = [
      // @ts-expect-error effects have no default
      () => guardedLoop(payments, forgotten),
      () => guardedLoop(payments, { ...fine, name: '' }),
      () => guardedLoop(payments, { ...fine, concurrency: 0 }),
      () => guardedLoop(payments, { ...fine, retryMs: Number.NaN }),
      // @ts-expect-error neither iterable
      () => guardedLoop(payments, { ...fine, units: 7 }),
      // @ts-expect-error not made by defineEffect
      () => guardedLoop(payments, { ...fine, effects: { charge: () => {} } }),
      () => guardedLoop(payments, { ...fine, effects: { mail: mailOn('nowhere') } }),
      // @ts-expect-error a body without effects has none
      () => guardedLoop(guard, { ...fine, work: (_unit, { effects }) => effects.charge(1) }),
    ]
    for (const make of made.slice(0, -1)) expect(make).toThrow(/^(guardedLoop|Surface "nowhere")/)
  })

  test('an effect that costs, keyed by call, needs an id of its unit', async () => {
    const { payments } = await world()
    const run = vi.fn()
    const charge = defineEffect<number, unknown>({ kind: 'payment', name: 'charge', key: 'each-call', run })
    const loop = (unitId?: (unit: number) => string) =>
      guardedLoop(payments, {
        name: 'bill',
        effects: { charge },
        units: [1],
        unitId,
        work: (unit, { effects }) => effects.charge(unit),
      }).run()
    await expect(loop()).rejects.toMatchObject({ code: 'CALL_ID_REQUIRED' })
    expect(await loop(String)).toMatchObject({ ended: 'finished', done: 1 })
    expect(run).toHaveBeenCalledTimes(1)
  })

  test("two loops that number alike do not take each other's units for their own", async () => {
    const { payments, effects, mails } = await world()
    const loop = (name: string) =>
      guardedLoop(payments, {
        name,
        effects,
        units: [1],
        unitId: String,
        work: async (unit, { unitId, effects: { mail } }) => {
          expect(unitId).toBe('1')
          await mail(unit)
        },
      }).run()
    await loop('reminders')
    await loop('receipts')
    await loop('receipts')
    expect(mails).toEqual([1, 1])
  })

  test('an effect that is not awaited is a mistake that ends the loop, not a denial to wait for', async () => {
    const { payments, effects, authority } = await world()
    const answer = Promise.withResolvers<void>()
    const loop = guardedLoop(payments, {
      name: 'bill',
      effects,
      units: [1],
      onDenied: 'wait',
      work: (unit, { effects: { charge } }) => {
        authority.beforeAnswer = () => answer.promise
        void charge(unit)
        setImmediate(answer.resolve)
      },
    })
    await expect(loop.run()).rejects.toMatchObject({ code: 'LATE_COMMIT' })
  })
})

const mailOn = (surface: string) =>
  defineEffect({ kind: 'email', name: 'mail', surface, key: 'each-call', run: () => {} })
