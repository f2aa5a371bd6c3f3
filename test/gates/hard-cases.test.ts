// Sources, listeners and surfaces that misbehave. As whole processes: hard-process.test.ts.
import { describe, expect, test, vi } from 'vitest'

import { guardedJob } from '../../src/gates/job.ts'
import { guardedLoop } from '../../src/gates/loop.ts'
import { startupGate } from '../../src/gates/startup.ts'
import { StartupDenied } from '../../src/startup-denied.ts'
import { PAYMENTS, SERVER, startedGuard } from '../fixtures/guard.ts'
import { later, upTo, world } from './bank.ts'

test.each(['stop', 'wait'] as const)(
  '%s: a source that fails while the loop is denied has not come to its end: the loop fails with its error',
  async (onDenied) => {
    const { payments, authority } = await world()
    const source = Promise.withResolvers<number>()
    const pulled = Promise.withResolvers<void>()
    async function* units() {
      yield 1
      pulled.resolve()
      yield await source.promise
    }
    const loop = guardedLoop(payments, {
      name: 'read',
      effects: 'none',
      units: units(),
      concurrency: 2,
      onDenied,
      retryMs: 5,
      work: async (_, { enter }) => {
        await pulled.promise
        if (authority.epoch === 1) authority.stop(PAYMENTS)
        await enter('part', () => {})
      },
    })
    const first = loop.run()
    if (onDenied === 'stop') expect(await first).toMatchObject({ ended: 'denied', kept: [1] })
    else await vi.waitFor(() => expect(authority.questions.length).toBeGreaterThan(7))
    source.reject(new RangeError('the cursor is gone'))
    await new Promise((resolve) => setImmediate(resolve))
    authority.restore(PAYMENTS)
    await expect(onDenied === 'stop' ? loop.run() : first).rejects.toThrow(
      new RangeError('the cursor is gone'),
    )
  },
)

test('eight at a time over a source without an end: each unit once, in order, and a stop ends it', async () => {
  const { payments, authority, started } = await world()
  function* forever() {
    for (let unit = 1; ; unit += 1) yield unit
  }
  const loop = guardedLoop(payments, {
    name: 'read',
    effects: 'none',
    units: forever(),
    concurrency: 8,
    onDenied: 'stop',
    work: (unit) => {
      started.push(unit)
      if (unit === 500) authority.stop(PAYMENTS)
    },
  })
  const end = await loop.run()
  expect(started).toEqual(upTo(started.length))
  expect([end.ended, end.done, end.kept]).toEqual(['denied', started.length, []])
  expect(started.length).toBeLessThan(500 + 8)
  await loop.close()
})

describe('half-use', () => {
  test('G1: a part on the surface of another guard does not start: its process would not be asked about', async () => {
    const { payments, guard, authority } = await world()
    const other = await startedGuard({ serverDeviceId: 'openai-agent:test:tool-server:02' })
    const part = vi.fn()
    const loop = guardedLoop(payments, {
      name: 'read',
      effects: 'none',
      units: [1],
      work: (_, { enter }) => enter('part', part, other.guard.surface('email')),
    })
    await expect(loop.run()).rejects.toMatchObject({ code: 'GUARD_MISCONFIGURED' })
    expect(part).not.toHaveBeenCalled()
    expect(authority.questions.every(({ deviceIds }) => deviceIds[0] === SERVER)).toBe(true)
    await Promise.all([guard.close(), other.guard.close()])
  })

  test('what is no place, no source and no policy is said in words', async () => {
    const { payments } = await world()
    const fine = { name: 'read', effects: 'none', units: [1], work: () => {} } as const
    // @ts-expect-error a name is no surface
    expect(() => guardedLoop('payments', fine)).toThrow(/guard\.surface\('payments'\)/)
    // @ts-expect-error a surface that was not awaited, or forgotten
    expect(() => guardedJob(undefined, { name: 'n', effects: 'none', run: () => {} })).toThrow(
      /guard\.surface/,
    )
    // @ts-expect-error the word of a job
    expect(() => guardedLoop(payments, { ...fine, onDenied: 'skip' })).toThrow(/"skip".*exit, stop, wait/)
    const job = { name: 'nightly', effects: 'none', run: () => {} } as const
    // @ts-expect-error the word of a loop
    expect(() => guardedJob(payments, { ...job, onDenied: 'wait' })).toThrow(/"wait".*exit, skip, throw/)
    // @ts-expect-error an async function gives no iterable
    const loop = guardedLoop(payments, { ...fine, units: async () => [1] })
    await expect(loop.run()).rejects.toThrow(/units must give an iterable/)
    await expect(startupGate(() => {}, { graceMs: Number.POSITIVE_INFINITY })).rejects.toThrow(/graceMs/)
  })
})

test('a program is told which denial it was and where to look, beside the words for a model', async () => {
  const { payments, authority } = await world()
  authority.stop(PAYMENTS)
  const run = () => {}
  const job = guardedJob(payments, { name: 'nightly', effects: 'none', run, onDenied: 'throw' })
  await expect(job()).rejects.toThrow(
    `DEVICE_REVOKED at task for ${PAYMENTS}, request req-2. See: npx holdpoint explain req-2`,
  )
})

test('fifty parts at once with a stop in the middle: those asked after it do not start, the unit is denied', async () => {
  const { payments, authority, started } = await world()
  const loop = guardedLoop(payments, {
    name: 'read',
    effects: 'none',
    units: later([0]),
    onDenied: 'stop',
    work: async (_, { enter }) => {
      await Promise.allSettled(
        upTo(50).map((part) => {
          if (part === 26) authority.stop(PAYMENTS)
          return enter(`part ${part}`, () => enter(`part of ${part}`, () => started.push(part)))
        }),
      )
    },
  })
  expect(await loop.run()).toMatchObject({ ended: 'denied', kept: [0], done: 0 })
  expect(started).toEqual([])
})

test('a startup that the plan has no room for is told so: nobody stopped it', () => {
  const denied = {
    boundary: 'startup',
    deviceId: SERVER,
    deviceIds: [SERVER],
    requestId: 'req-1',
    latencyMs: 1,
  } as const
  const { message } = new StartupDenied({ ...denied, allowed: false, code: 'DEVICE_LIMIT_REACHED' })
  expect(message).toContain('npx holdpoint org usage')
  expect(message).not.toContain('whoever stopped it')
})
