import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { GuardMisconfiguredError } from 'holdpoint'
import { guardedConsumer, type GuardedConsumerOptions } from 'holdpoint/gates'

import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'
import { Bank, consumerWorld, PAYMENTS, Queue, SERVER, type WorldOptions } from './consumer-world.ts'

let plane: TestControlPlane
beforeAll(async () => {
  plane = await startTestControlPlane()
  for (const device of [SERVER, PAYMENTS]) await plane.register(device)
})
afterAll(() => plane.close())
beforeEach(async () => void (await plane.restore(PAYMENTS)))

const ORDERS = ['a', 'b', 'c', 'd', 'e', 'f', 'g']
const started = (options: WorldOptions = {}) => consumerWorld(plane, options)
/** Does `act` when `message` comes by, the first time. */
function onceAt(message: string, act: () => unknown): (passing: string | undefined) => Promise<void> {
  let isAhead = true
  return async (passing) => {
    if (passing !== message || !isAhead) return
    isAhead = false
    await act()
  }
}

describe('a guarded consumer', () => {
  test('asks before it takes, right before it handles, and right before the effect; then acknowledges with the result', async () => {
    const results: unknown[] = []
    const done = (_order: string, result: unknown) => results.push(result)
    await using world = await started({ queue: new Queue('a'), idleMs: 60_000, done })
    const ended = world.consumer.run()
    // The last question found the queue empty. There is no further one: an idle consumer is quiet.
    await expect
      .poll(() => world.decisions)
      .toEqual(['task ALLOW', 'task ALLOW', 'side_effect ALLOW', 'task ALLOW'])
    expect(results).toEqual(['receipt of a'])
    await world.consumer.close()
    expect(await ended).toEqual({ ended: 'closed' })
    expect(world.decisions).toHaveLength(4)
  })

  test('revoked in mid-work: the message in hand ends, the next is not taken; restored, it goes on where it stopped (G1)', async () => {
    const bank = new Bank()
    bank.beforePaying = onceAt('b', () => plane.revoke(PAYMENTS))
    await using world = await started({ bank, queue: new Queue('a', 'b', 'c', 'd') })
    const { queue, consumer } = world
    void consumer.run()
    await expect.poll(() => consumer.paused).toBe(true)
    expect({ taken: queue.taken, ends: queue.ends, paid: bank.paid }).toEqual({
      taken: ['a', 'b'],
      ends: ['done a', 'done b'],
      paid: ['a', 'b'],
    })
    await plane.restore(PAYMENTS)
    await expect.poll(() => queue.ends).toEqual(['done a', 'done b', 'done c', 'done d'])
    expect({ paused: consumer.paused, paid: bank.paid }).toEqual({
      paused: false,
      paid: ['a', 'b', 'c', 'd'],
    })
  })

  test('a stop between take and handle: the message is given back and its body does not start (G1, G2)', async () => {
    const queue = new Queue('a', 'b', 'c')
    const stop = onceAt('b', () => plane.revoke(PAYMENTS))
    const handled: string[] = []
    const take = async () => {
      const message = queue.take()
      await stop(message)
      return message
    }
    await using world = await started({ queue, take, handle: (order) => void handled.push(order) })
    void world.consumer.run()
    await expect.poll(() => world.consumer.paused).toBe(true)
    expect({ handled, ends: queue.ends, waiting: queue.waiting }).toEqual({
      handled: ['a'],
      ends: ['done a', 'denied b'],
      waiting: ['b', 'c'],
    })
    await plane.restore(PAYMENTS)
    await expect.poll(() => handled).toEqual(['a', 'b', 'c'])
  })

  test('a body that swallows a denial is not acknowledged: its message is given back, and its effects happen once (C5)', async () => {
    const bank = new Bank()
    const stop = onceAt('a', () => plane.revoke(PAYMENTS))
    const handle: NonNullable<WorldOptions['handle']> = async (order, work) => {
      await work.effects.pay({ order })
      await stop(order)
      await work.effects.pay({ order: `${order} again` }).catch(() => 'swallowed')
      return 'fine'
    }
    await using world = await started({ bank, queue: new Queue('a'), handle })
    void world.consumer.run()
    await expect.poll(() => world.consumer.paused).toBe(true)
    expect({ ends: world.queue.ends, paid: bank.paid }).toEqual({ ends: ['denied a'], paid: ['a'] })
    await plane.restore(PAYMENTS)
    await expect.poll(() => world.queue.ends).toEqual(['denied a', 'done a'])
    expect(bank.paid).toEqual(['a', 'a again'])
  })

  test('a body that a pushed stop ends is given back, not counted as failed (G3)', async () => {
    const handle: NonNullable<WorldOptions['handle']> = async (_order, { signal }) => {
      await plane.revoke(PAYMENTS)
      const { promise, reject } = Promise.withResolvers<never>()
      signal.addEventListener('abort', () => reject(new Error('I gave up.')))
      return promise
    }
    await using world = await started({ queue: new Queue('a'), handle })
    await expect.poll(() => world.guard.stopStream?.up).toBe(true)
    void world.consumer.run()
    await expect.poll(() => world.consumer.paused).toBe(true)
    expect(world.queue.ends).toEqual(['interrupted a'])
  })

  test('while nobody answers nothing is taken; when somebody answers again it goes on (G4)', async () => {
    const bank = new Bank()
    bank.beforePaying = onceAt('a', () => plane.kill())
    await using world = await started({ bank, queue: new Queue('a', 'b') })
    void world.consumer.run()
    await expect.poll(() => world.consumer.paused).toBe(true)
    expect(world.queue.taken).toEqual(['a'])
    expect(world.decisions.at(-1)).toBe('task AUTHORITY_UNREACHABLE')
    await plane.restart()
    await expect.poll(() => world.queue.ends).toEqual(['done a', 'done b'])
  })

  test('with stop, a denial ends run() once what is in hand has settled; a second run() goes on', async () => {
    const bank = new Bank()
    bank.beforePaying = onceAt('a', () => plane.revoke(PAYMENTS))
    await using world = await started({ bank, queue: new Queue('a', 'b'), onDenied: 'stop' })
    expect(await world.consumer.run()).toMatchObject({ ended: 'denied', refusal: { code: 'DEVICE_REVOKED' } })
    expect({ ends: world.queue.ends, waiting: world.queue.waiting }).toEqual({
      ends: ['done a'],
      waiting: ['b'],
    })
    await plane.restore(PAYMENTS)
    void world.consumer.run()
    await expect.poll(() => world.queue.ends).toEqual(['done a', 'done b'])
  })

  test('with stop, it ends also by a denial that is about one message alone', async () => {
    await plane.register('worker:test:tenant-a:01')
    await plane.revoke('worker:test:tenant-a:01')
    const place: WorldOptions['place'] = (guard) => guard.surfaceBy(['tenant-a'], () => 'tenant-a')
    await using world = await started({ queue: new Queue('a'), place, onDenied: 'stop' })
    expect(await world.consumer.run()).toMatchObject({ ended: 'denied', refusal: { boundary: 'task' } })
    expect(world.queue.ends).toEqual(['denied a'])
  })

  test('with exit, the process ends with status 1 once every message has settled', async () => {
    const exit = vi.spyOn(process, 'exit').mockReturnValue(undefined as never)
    const bank = new Bank()
    bank.beforePaying = onceAt('a', () => plane.revoke(PAYMENTS))
    const queue = new Queue('a', 'b')
    const done = async (order: string) => {
      await new Promise(setImmediate)
      expect(exit).not.toHaveBeenCalled()
      queue.ends.push(`done ${order}`)
    }
    // Nothing to dispose of: it closes its guard itself, and where the process is gone nothing settles.
    const world = await started({ bank, queue, done, onDenied: 'exit' })
    void world.consumer.run()
    await expect.poll(() => exit.mock.calls).toEqual([[1]])
    expect(world.guard.started).toBe(false)
    expect({ ends: queue.ends, waiting: queue.waiting }).toEqual({ ends: ['done a'], waiting: ['b'] })
    exit.mockRestore()
    process.exitCode = 0
  })

  test('handles several messages at once, and no more than it may; a denial stops all of them from taking', async () => {
    const bank = new Bank()
    let running = 0
    let most = 0
    const all = Promise.withResolvers<void>()
    bank.beforePaying = async () => {
      most = Math.max(most, ++running)
      if (running === 3) {
        await plane.revoke(PAYMENTS)
        all.resolve()
      }
      await all.promise
      running -= 1
    }
    const queue = new Queue(...ORDERS)
    await using world = await started({ bank, queue, concurrency: 3 })
    void world.consumer.run()
    await expect.poll(() => world.consumer.paused && queue.ends.length === 3).toBe(true)
    expect({ most, taken: queue.taken.length, paid: bank.paid.length }).toEqual({
      most: 3,
      taken: 3,
      paid: 3,
    })
    bank.beforePaying = () => {}
    await plane.restore(PAYMENTS)
    await expect.poll(() => queue.ends.length).toBe(7)
    expect(bank.paid.toSorted()).toEqual(ORDERS)
  })

  test('one tenant that is stopped does not hold up the others: its messages wait behind theirs', async () => {
    const queue = new Queue('a 1', 'b 1', 'a 2', 'b 2')
    const giveBack = (order: string, { state }: { readonly state: string }) => {
      queue.ends.push(`${state} ${order}`)
      queue.waiting.push(order)
    }
    await using world = await started({
      queue,
      giveBack,
      retryMs: 60_000,
      place: (guard) => guard.surfaceBy(['tenant-a', 'tenant-b'], (order: string) => `tenant-${order[0]}`),
    })
    await plane.revoke('worker:test:tenant-a:01')
    void world.consumer.run()
    await expect.poll(() => world.consumer.paused).toBe(true)
    // With nothing but what is stopped, it is not asked again and again.
    expect(queue.ends).toEqual([
      'denied a 1',
      'done b 1',
      'denied a 2',
      'done b 2',
      'denied a 1',
      'denied a 2',
    ])
  })

  test.each<[string, Partial<Record<keyof GuardedConsumerOptions<string, unknown, 'none'>, unknown>>]>([
    ['a name', { name: '' }],
    ['its effects', { effects: undefined }],
    ['what to do with an unknown outcome', { unknown: undefined }],
    ['a way to give back', { giveBack: undefined }],
    ['an idleMs that is a number', { idleMs: Number.NaN }],
    ['a retryMs above 0', { retryMs: 0 }],
    ['a whole concurrency', { concurrency: 1.5 }],
    ['a policy that is spelt right', { onDenied: 'exits' }],
  ])('is not made without %s', async (_what, wrong) => {
    await using world = await started()
    expect(() => guardedConsumer(world.guard, { ...OPTIONS, ...(wrong as object) })).toThrow(
      GuardMisconfiguredError,
    )
  })
})

const OPTIONS: GuardedConsumerOptions<string, unknown, 'none'> = {
  name: 'orders',
  effects: 'none',
  take: () => undefined,
  messageId: (order) => order,
  handle: () => undefined,
  done: () => undefined,
  giveBack: () => undefined,
  failed: () => undefined,
  unknown: () => undefined,
}
