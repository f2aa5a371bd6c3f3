import { afterAll, beforeAll, expect, test } from 'vitest'
import { CallRefusedError, defineEffect, EffectNotPerformed } from 'holdpoint'
import { commitSideEffect } from 'holdpoint/gates'

import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'
import { consumerWorld, PAYMENTS } from './consumer-world.ts'

let plane: TestControlPlane
beforeAll(async () => void (plane = await startTestControlPlane()))
afterAll(() => plane.close())

test('asks at task and right before the effect; the same call again replays it', async () => {
  await using world = await consumerWorld(plane)
  const { guard, bank } = world
  const commit = () =>
    commitSideEffect(guard.surface('payments'), bank.pay, { order: 'a' }, { callId: 'order a' })
  expect(await commit()).toMatchObject({ result: { receipt: 'receipt of a' }, replayed: false })
  expect(world.decisions).toEqual(['task ALLOW', 'side_effect ALLOW'])
  expect(await commit()).toMatchObject({ result: { receipt: 'receipt of a' }, replayed: true })
  expect(bank.paid).toEqual(['a'])
})

test('revoked: throws the refusal and does nothing; restored: does it once (G1)', async () => {
  await using world = await consumerWorld(plane)
  const { guard, bank } = world
  const commit = () =>
    commitSideEffect(guard.surface('payments'), bank.pay, { order: 'b' }, { callId: 'order b' })
  await plane.revoke(PAYMENTS)
  await expect(commit()).rejects.toThrow(CallRefusedError)
  await expect(commit()).rejects.toMatchObject({ refusal: { code: 'DEVICE_REVOKED', boundary: 'task' } })
  expect(bank.paid).toEqual([])
  await plane.restore(PAYMENTS)
  await commit()
  expect(bank.paid).toEqual(['b'])
})

test('an effect that surely did not happen throws just that, and may be tried again', async () => {
  await using world = await consumerWorld(plane)
  world.bank.beforePaying = () => {
    throw new EffectNotPerformed('The card was declined.')
  }
  const commit = () => commitSideEffect(world.guard, world.bank.pay, { order: 'c' }, { callId: 'order c' })
  await expect(commit()).rejects.toThrow(EffectNotPerformed)
  world.bank.beforePaying = () => {}
  expect(await commit()).toMatchObject({ replayed: false })
})

test('an outcome that is not known throws OUTCOME_UNKNOWN, also for the second try, which runs nothing (C4)', async () => {
  await using world = await consumerWorld(plane)
  let runs = 0
  world.bank.beforePaying = () => {
    runs += 1
    throw new Error('The connection was cut while it was paying.')
  }
  const commit = () => commitSideEffect(world.guard, world.bank.pay, { order: 'd' }, { callId: 'order d' })
  await expect(commit()).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' })
  await expect(commit()).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' })
  expect(runs).toBe(1)
})

test('a call without an id is refused before anything is asked', async () => {
  await using world = await consumerWorld(plane)
  await expect(
    commitSideEffect(world.guard, world.bank.pay, { order: 'e' }, { callId: '' }),
  ).rejects.toMatchObject({ code: 'GUARD_MISCONFIGURED' })
  expect(world.decisions).toEqual([])
})

test('what an object only pretends to be is no effect', async () => {
  await using world = await consumerWorld(plane)
  const pretending = {
    ...defineEffect({ kind: 'payment', name: 'pretends', key: 'each-call', run: () => 'paid' }),
  }
  for (const symbol of Object.getOwnPropertySymbols(pretending)) Reflect.deleteProperty(pretending, symbol)
  await expect(commitSideEffect(world.guard, pretending, {}, { callId: 'f' })).rejects.toMatchObject({
    code: 'GUARD_MISCONFIGURED',
  })
})

test('an input that is changed while permission is asked for does not lead past the stop of another surface (G1)', async () => {
  await using world = await consumerWorld(plane)
  const { guard, bank } = world
  const tenant = 'worker:test:tenant-b:01'
  await plane.revoke(tenant)
  const input = { order: 'tenant-a' }
  const place = guard.surfaceBy(['tenant-a', 'tenant-b'], ({ order }: typeof input) => order)
  const committed = commitSideEffect(place, bank.pay, input, { callId: 'changed' })
  input.order = 'tenant-b'
  await expect(committed).rejects.toMatchObject({ code: 'GUARD_MISCONFIGURED' })
  expect(bank.paid).toEqual([])
})
