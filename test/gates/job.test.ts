// What a job does before anything, and what it tells its scheduler. Its exit: process.test.ts.
import { expect, test, vi } from 'vitest'

import { defineEffect } from '../../src/guard/effect.ts'
import { guardedJob } from '../../src/gates/job.ts'
import { PAYMENTS } from '../fixtures/guard.ts'
import { world } from './bank.ts'

test('G1: denied, a job does nothing at all; restored, the next time it works', async () => {
  const { payments, effects, authority, charges } = await world()
  const run = vi.fn(({ effects: { charge } }, unit: number) => charge(unit))
  const job = guardedJob(payments, { name: 'nightly', effects, run, onDenied: 'skip' })
  expect(await job(1)).toMatchObject({ state: 'done', effects: [{ name: 'charge', state: 'done' }] })
  authority.stop(PAYMENTS)
  expect(await job(2)).toMatchObject({
    state: 'denied',
    executed: false,
    refusal: { code: 'DEVICE_REVOKED', boundary: 'task' },
  })
  expect(run).toHaveBeenCalledTimes(1)
  authority.restore(PAYMENTS)
  expect(await job(2)).toMatchObject({ state: 'done' })
  expect(charges).toEqual([1, 2])
})

test('a job whose run takes no input is called without one, or with whatever its scheduler gives', async () => {
  const { payments } = await world()
  const job = guardedJob(payments, { name: 'nightly', effects: 'none', run: ({ unitId }) => unitId.length })
  expect(await job()).toMatchObject({ state: 'done', value: expect.any(Number) })
  expect(await job(new Date())).toMatchObject({ state: 'done' })
  const daily = guardedJob(payments, {
    name: 'daily',
    effects: 'none',
    unitId: (day: Date) => day.toISOString(),
    run: ({ unitId }) => unitId,
  })
  expect(await daily(new Date(0))).toMatchObject({ value: '1970-01-01T00:00:00.000Z' })
  // @ts-expect-error this one needs its day
  await expect(daily()).rejects.toThrow(TypeError)
})

test('throw: a denial rejects, also one that the body swallowed', async () => {
  const { payments, effects, authority, charges } = await world()
  const job = guardedJob(payments, {
    name: 'nightly',
    effects,
    onDenied: 'throw',
    run: async ({ effects: { charge } }) => {
      authority.stop(PAYMENTS)
      await charge(1).catch(() => 'never mind')
    },
  })
  const denied = { name: 'CallRefusedError', code: 'DEVICE_REVOKED' }
  await expect(job()).rejects.toMatchObject({ ...denied, refusal: { boundary: 'side_effect' } })
  await expect(job()).rejects.toMatchObject({ ...denied, refusal: { boundary: 'task' } })
  expect(charges).toEqual([])
})

test.each(['exit', 'skip', 'throw'] as const)('%s: what the body throws is thrown', async (onDenied) => {
  const { payments } = await world()
  const run = () => {
    throw new RangeError('disk')
  }
  const job = guardedJob(payments, { name: 'nightly', effects: 'none', run, onDenied })
  await expect(job()).rejects.toThrow(new RangeError('disk'))
})

test.each(['exit', 'skip', 'throw'] as const)('%s: an unknown outcome is told as such', async (onDenied) => {
  const { payments } = await world()
  const charge = defineEffect({
    kind: 'payment',
    name: 'charge',
    key: String,
    run: (): never => {
      throw new Error('the bank hung up')
    },
  })
  const job = guardedJob(payments, {
    name: 'nightly',
    effects: { charge },
    onDenied,
    run: ({ effects }) => effects.charge(1).catch(() => 'never mind'),
  })
  await expect(job()).rejects.toMatchObject({ name: 'CallRefusedError', code: 'OUTCOME_UNKNOWN' })
})

test.each(['exit', 'throw'] as const)(
  '%s: a job that a stop interrupted has not succeeded: it throws what the body threw',
  async (onDenied) => {
    const { payments, authority } = await world()
    const job = guardedJob(payments, {
      name: 'nightly',
      effects: 'none',
      onDenied,
      run: ({ signal }) => {
        authority.stopNow(PAYMENTS)
        signal.throwIfAborted()
      },
    })
    await expect(job()).rejects.toThrow(/^Stopped at epoch/)
  },
)

test('skip: it says that it was interrupted', async () => {
  const { payments, authority } = await world()
  const run = ({ signal }: { signal: AbortSignal }) => {
    authority.stopNow(PAYMENTS)
    signal.throwIfAborted()
  }
  const job = guardedJob(payments, { name: 'nightly', effects: 'none', run, onDenied: 'skip' })
  expect(await job()).toMatchObject({ state: 'interrupted', executed: false })
})

test('exit: called while the guard shuts down, it rejects and leaves the ending to whoever ends the process', async () => {
  const { guard, payments, lines } = await world()
  const run = vi.fn()
  const job = guardedJob(payments, { name: 'nightly', effects: 'none', run })
  await guard.close()
  await expect(job()).rejects.toMatchObject({ code: 'GUARD_SHUTTING_DOWN' })
  expect(run).not.toHaveBeenCalled()
  expect(lines.map(({ msg }) => msg)).not.toContain('denied, exiting')
})

test('without effects, and without a name, none is made', async () => {
  const { payments } = await world()
  const run = () => {}
  // @ts-expect-error effects have no default
  expect(() => guardedJob(payments, { name: 'nightly', run })).toThrow(/guardedJob "nightly" needs effects/)
  expect(() => guardedJob(payments, { name: '', effects: 'none', run })).toThrow(/needs a name/)
})
