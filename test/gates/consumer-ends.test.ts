import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createMemoryJournal } from 'holdpoint'

import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'
import { Bank, consumerWorld, Queue, type WorldOptions } from './consumer-world.ts'

let plane: TestControlPlane
beforeAll(async () => void (plane = await startTestControlPlane()))
afterAll(() => plane.close())

const started = (options: WorldOptions = {}) => consumerWorld(plane, options)

describe('how a message ends', () => {
  test('a body that throws is the broker’s to retry or to bury, with its own error', async () => {
    const errors: unknown[] = []
    const thrown = new Error('The address is missing.')
    const handle = () => {
      throw thrown
    }
    const failed = (order: string, error: unknown) => errors.push(order, error)
    await using world = await started({ queue: new Queue('a', 'b'), handle, failed })
    void world.consumer.run()
    await expect.poll(() => errors).toEqual(['a', thrown, 'b', thrown])
  })

  test('an acknowledgement that fails after the effect: the message comes again, and its effect is replayed (C3)', async () => {
    const queue = new Queue('a', 'b')
    let isCut = true
    const results: unknown[] = []
    const done = (order: string, result: unknown) => {
      if (isCut) {
        isCut = false
        // The lease is over before anybody was told.
        queue.waiting.unshift(order)
        throw new Error('The broker cannot be reached.')
      }
      results.push(result)
    }
    await using world = await started({ queue, done })
    void world.consumer.run()
    await expect.poll(() => results).toEqual(['receipt of a', 'receipt of b'])
    expect({ taken: queue.taken, paid: world.bank.paid }).toEqual({
      taken: ['a', 'a', 'b'],
      paid: ['a', 'b'],
    })
    expect(world.log()).toContainEqual(
      expect.objectContaining({ gate: 'orders', settling: 'done', message_id: 'a', err: expect.any(String) }),
    )
  })

  test('a broker that could not be told is left alone for a while', async () => {
    const done = () => Promise.reject(new Error('The broker cannot be reached.'))
    await using world = await started({ queue: new Queue('a', 'b'), done, retryMs: 60_000 })
    void world.consumer.run()
    await expect.poll(() => world.log()).toContainEqual(expect.objectContaining({ settling: 'done' }))
    await expect.poll(() => world.guard.inFlight).toBe(0)
    expect(world.queue.taken).toEqual(['a'])
  })

  test('a giveBack that fails is logged, and the consumer goes on', async () => {
    const queue = new Queue('a', 'b')
    const bank = new Bank()
    const giveBack = () => Promise.reject(new Error('The broker cannot be reached.'))
    const device = 'worker:test:payments:01'
    let isStopping = true
    const take = async () => {
      const message = queue.take()
      if (isStopping) await plane.revoke(device)
      isStopping = false
      return message
    }
    await using world = await started({ queue, bank, take, giveBack })
    void world.consumer.run()
    await expect.poll(() => world.consumer.paused).toBe(true)
    await plane.restore(device)
    await expect.poll(() => queue.ends).toEqual(['done b'])
    expect(world.log()).toContainEqual(expect.objectContaining({ settling: 'giveBack', message_id: 'a' }))
    expect(bank.paid).toEqual(['b'])
  })

  test('a take that fails is logged and tried again, after a question of its own (G2)', async () => {
    const queue = new Queue('a')
    let isCut = true
    const take = () => {
      if (!isCut) return queue.take()
      isCut = false
      throw new Error('The broker cannot be reached.')
    }
    await using world = await started({ queue, take, idleMs: 60_000 })
    void world.consumer.run()
    await expect.poll(() => queue.ends).toEqual(['done a'])
    expect(world.decisions.filter((decision) => decision === 'task ALLOW')).toHaveLength(4)
  })

  test('an unknown outcome is never acknowledged, and a repeat never runs it again (C4)', async () => {
    const bank = new Bank()
    const queue = new Queue('a')
    bank.beforePaying = () => Promise.reject(new Error('The connection was cut while it was paying.'))
    const unknown = (order: string) => {
      queue.ends.push(`unknown ${order}`)
      if (queue.ends.length === 1) queue.waiting.push(order)
    }
    let tries = 0
    const handle: NonNullable<WorldOptions['handle']> = async (order, work) => {
      tries += 1
      await work.effects.pay({ order }).catch(() => 'swallowed')
    }
    await using world = await started({ bank, queue, unknown, handle })
    void world.consumer.run()
    await expect.poll(() => queue.ends).toEqual(['unknown a', 'unknown a'])
    expect({ tries, paid: bank.paid }).toEqual({ tries: 2, paid: [] })
  })

  test('a message that another process is at is given back, and replayed once that has done it', async () => {
    const journal = createMemoryJournal()
    const slow = new Bank()
    const paying = Promise.withResolvers<void>()
    slow.beforePaying = () => paying.promise
    await using first = await started({ journal, bank: slow, queue: new Queue('a') })
    void first.consumer.run()
    await expect.poll(() => first.decisions).toContain('side_effect ALLOW')
    // Delivered twice: its lease was too short.
    await using second = await started({ journal, queue: new Queue('a'), timeoutMs: 500 })
    void second.consumer.run()
    await expect.poll(() => second.queue.ends).toContain('in_progress a')
    paying.resolve()
    await expect.poll(() => second.queue.ends).toContain('done a')
    expect([slow.paid, second.bank.paid]).toEqual([['a'], []])
  })

  test('a message without an id is never handled: its effects could not be known when it came again', async () => {
    await using world = await started({ queue: new Queue('a'), messageId: () => '' })
    void world.consumer.run()
    await expect.poll(() => world.queue.ends).toEqual(['failed a'])
    expect(world.bank.paid).toEqual([])
  })

  test('two consumers that number their messages alike do not take one for the other', async () => {
    const journal = createMemoryJournal()
    const bank = new Bank()
    const order = (name: string) => ({ name, messageId: () => '1', journal, bank, queue: new Queue(name) })
    await using books = await started(order('books'))
    await using toys = await started(order('toys'))
    void books.consumer.run()
    void toys.consumer.run()
    await expect.poll(() => bank.paid.toSorted()).toEqual(['books', 'toys'])
  })
})

describe('closing a consumer', () => {
  test('lets the messages in hand end as they would, and resolves once the broker was told of each', async () => {
    const queue = new Queue('a', 'b', 'c')
    const bank = new Bank()
    const paying = { a: Promise.withResolvers<void>(), b: Promise.withResolvers<void>() }
    bank.beforePaying = (order) => paying[order as 'a' | 'b'].promise
    const done = async (order: string) => {
      await new Promise(setImmediate)
      queue.ends.push(`done ${order}`)
    }
    await using world = await started({ queue, bank, done, concurrency: 2 })
    const ended = world.consumer.run()
    const isPaying = (decision: string) => decision === 'side_effect ALLOW'
    await expect.poll(() => world.decisions.filter(isPaying)).toHaveLength(2)
    const closed = world.consumer.close()
    paying.a.resolve()
    await expect.poll(() => queue.ends).toEqual(['done a'])
    paying.b.resolve()
    await closed
    expect({ ends: queue.ends, waiting: queue.waiting }).toEqual({
      ends: ['done a', 'done b'],
      waiting: ['c'],
    })
    expect(await ended).toEqual({ ended: 'closed' })
  })

  test('aborts the take; what arrives all the same is given back, and nothing is asked for it', async () => {
    const arriving = Promise.withResolvers<string>()
    let aborted: AbortSignal | undefined
    const take = ({ signal }: { readonly signal: AbortSignal }) => {
      aborted = signal
      return arriving.promise
    }
    await using world = await started({ take })
    void world.consumer.run()
    await expect.poll(() => aborted?.aborted).toBe(false)
    const closed = world.consumer.close()
    expect(aborted?.aborted).toBe(true)
    arriving.resolve('late')
    await closed
    expect({ ends: world.queue.ends, decisions: world.decisions }).toEqual({
      ends: ['closing late'],
      decisions: ['task ALLOW'],
    })
  })

  test('a take that heeds no signal holds it up for a second only; what it gives later is given back', async () => {
    const arriving = Promise.withResolvers<string>()
    await using world = await started({ take: () => arriving.promise })
    const ended = world.consumer.run()
    await expect.poll(() => world.decisions).toHaveLength(1)
    await world.consumer.close()
    expect(await ended).toEqual({ ended: 'closed' })
    arriving.resolve('late')
    await expect.poll(() => world.queue.ends).toEqual(['closing late'])
    expect(world.decisions).toEqual(['task ALLOW'])
  })

  test('in mid-question takes nothing', async () => {
    await using world = await started({ queue: new Queue('a') })
    void world.consumer.run()
    await world.consumer.close()
    expect({ taken: world.queue.taken, decisions: world.decisions }).toEqual({
      taken: [],
      decisions: ['task ALLOW'],
    })
  })

  test('ends every wait at once', async () => {
    await using idle = await started({ idleMs: 60_000 })
    void idle.consumer.run()
    await expect.poll(() => idle.decisions).toHaveLength(1)
    await idle.consumer.close()
  })

  test('a guard that shuts down waits until the broker knows how each message ended', async () => {
    const handle: NonNullable<WorldOptions['handle']> = (_order, { signal }) => {
      const { promise, reject } = Promise.withResolvers<never>()
      signal.addEventListener('abort', () => reject(new Error('I gave up.')))
      return promise
    }
    const queue = new Queue('a', 'b')
    const giveBack = async (order: string, { state }: { readonly state: string }) => {
      await new Promise(setImmediate)
      queue.putBack(order, state)
    }
    await using world = await started({ queue, handle, giveBack, onDenied: 'exit', retryMs: 60_000 })
    const ended = world.consumer.run()
    await expect.poll(() => world.guard.inFlight).toBe(2)
    expect(await world.guard.close()).toBe(true)
    expect({ ends: queue.ends, waiting: queue.waiting }).toEqual({
      ends: ['interrupted a'],
      waiting: ['a', 'b'],
    })
    // A shutdown is no denial: it neither exits with status 1 nor waits to ask again.
    expect(await ended).toEqual({ ended: 'closed' })
  })

  test('a second run() at once is refused, and so is one after close()', async () => {
    await using world = await started()
    void world.consumer.run()
    await expect(world.consumer.run()).rejects.toMatchObject({ code: 'GATE_RUNNING' })
    await world.consumer.close()
    await expect(world.consumer.run()).rejects.toMatchObject({ code: 'GATE_CLOSED' })
  })
})
