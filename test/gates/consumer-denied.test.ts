// How a consumer ends once it is denied, whatever its other lane waits for; and what a message comes to that was
// denied and something else. On a scripted authority.
import { once } from 'node:events'
import { queryObjects } from 'node:v8'
import { describe, expect, test, vi } from 'vitest'

import { guardedConsumer } from '../../src/gates/consumer.ts'
import type { GuardedConsumerOptions } from '../../src/gates/consumer-options.ts'
import { defineEffect } from '../../src/guard/effect.ts'
import { PAYMENTS } from '../fixtures/guard.ts'
import { world } from './bank.ts'

type Options = GuardedConsumerOptions<string, unknown, 'none'>
type Take = Options['take']
type World = Awaited<ReturnType<typeof world>>

/** Message `p 1` stands on payments, others where nobody stops them; the body of `p 1` is denied once the next take waits. */
function halfDenied({ guard, authority, payments }: World, next: Take, options: Partial<Options> = {}) {
  const ends: string[] = []
  const waits = Promise.withResolvers<void>()
  let takes = 0
  const consumer = guardedConsumer(
    guard.surfaceBy(['payments', 'email'], (message: string) => (message[0] === 'p' ? 'payments' : 'email')),
    {
      name: 'orders',
      effects: 'none',
      concurrency: 2,
      retryMs: 60_000,
      idleMs: 60_000,
      take: (taking) => {
        takes += 1
        if (takes === 1) return 'p 1'
        waits.resolve()
        return next(taking)
      },
      messageId: (message) => message,
      handle: async (message, { enter }) => {
        ends.push(`handled ${message}`)
        await waits.promise
        authority.stop(PAYMENTS)
        await enter('part', () => {}, payments)
      },
      done: (message) => ends.push(`done ${message}`),
      giveBack: (message, { state }) => ends.push(`${state} ${message}`),
      failed: (message) => ends.push(`failed ${message}`),
      unknown: (message) => ends.push(`unknown ${message}`),
      ...options,
    },
  )
  return { consumer, ends, takes: () => takes, waits }
}

/** A broker that waits for a message until its signal is aborted. */
const heeding: Take = async ({ signal }) => {
  await once(signal, 'abort')
  signal.throwIfAborted()
  return undefined
}

describe('with stop, a denial of one message ends the run, with two at once', () => {
  test('while the other lane waits in a take', async () => {
    const { consumer, ends } = halfDenied(await world(), heeding, { onDenied: 'stop' })
    expect(await consumer.run()).toMatchObject({ ended: 'denied', refusal: { code: 'DEVICE_REVOKED' } })
    expect(ends).toEqual(['handled p 1', 'denied p 1'])
  })

  test('while a take waits that heeds no signal; what it gives later is given back, and nothing is asked', async () => {
    const made = await world()
    const arriving = Promise.withResolvers<string>()
    const { consumer, ends } = halfDenied(made, () => arriving.promise, { onDenied: 'stop' })
    expect(await consumer.run()).toMatchObject({ ended: 'denied' })
    const asked = made.authority.questions.length
    arriving.resolve('e 2')
    await vi.waitFor(() => expect(ends).toEqual(['handled p 1', 'denied p 1', 'closing e 2']))
    expect(made.authority.questions).toHaveLength(asked)
  })

  test('while it rests, since there was no message', async () => {
    const { consumer, ends } = halfDenied(await world(), () => undefined, { onDenied: 'stop' })
    expect(await consumer.run()).toMatchObject({ ended: 'denied' })
    expect(ends).toEqual(['handled p 1', 'denied p 1'])
  })

  test('while a question is on its way: its allow takes nothing more', async () => {
    const made = await world()
    const { authority } = made
    const on = halfDenied(made, () => 'e 2', { onDenied: 'stop' })
    const denied = Promise.withResolvers<void>()
    const isNext = () => authority.boundaries.filter((boundary) => boundary === 'task').length === 3
    authority.beforeAnswer = ({ deviceIds }) => {
      // Before its take, and before the body of `p 1`; the third is before the next take.
      if (deviceIds.length > 1 || !isNext()) return undefined
      on.waits.resolve()
      return denied.promise
    }
    const ended = on.consumer.run()
    await vi.waitFor(() => expect(on.ends).toContain('denied p 1'))
    denied.resolve()
    expect(await ended).toMatchObject({ ended: 'denied' })
    expect({ ends: on.ends, takes: on.takes() }).toEqual({ ends: ['handled p 1', 'denied p 1'], takes: 1 })
  })
})

test('with exit, the process ends although the other lane waits in a take', async () => {
  const exit = vi.spyOn(process, 'exit').mockReturnValue(undefined as never)
  const { consumer, ends } = halfDenied(await world(), heeding, { onDenied: 'exit' })
  void consumer.run()
  await vi.waitFor(() => expect(exit.mock.calls).toEqual([[1]]))
  expect(ends).toEqual(['handled p 1', 'denied p 1'])
  exit.mockRestore()
  process.exitCode = 0
})

test('one of whose effects nobody knows whether it happened goes to unknown; where another was denied first, once it comes again', async () => {
  const { guard, authority, payments, effects } = await world()
  const denied = Promise.withResolvers<void>()
  const charge = defineEffect({
    kind: 'payment',
    name: 'charge',
    key: (message: string) => message,
    surface: 'email',
    run: async (): Promise<string> => {
      await denied.promise
      throw new Error('the bank hung up')
    },
  })
  const ends: string[] = []
  const queue = ['a']
  const consumer = guardedConsumer(payments, {
    name: 'orders',
    effects: { charge, refund: effects.charge },
    onDenied: 'stop',
    take: () => queue.shift(),
    messageId: (message) => message,
    handle: async (message, work) => {
      const charging = work.effects.charge(message).catch(() => 'swallowed')
      if (ends.length > 0) return void (await charging)
      await vi.waitFor(() => expect(authority.boundaries).toContain('side_effect'))
      authority.stop(PAYMENTS)
      await work.effects.refund(1).catch(() => 'swallowed')
      denied.resolve()
      await charging
    },
    done: () => ends.push('done'),
    giveBack: (_message, { state }) => ends.push(state),
    failed: () => ends.push('failed'),
    unknown: (_message, outcome) =>
      ends.push(
        `unknown ${outcome.refusal.code} ${outcome.effects.map(({ name, state }) => `${name} ${state}`).join(', ')}`,
      ),
  })
  expect(await consumer.run()).toMatchObject({ ended: 'denied', refusal: { code: 'DEVICE_REVOKED' } })
  authority.restore(PAYMENTS)
  queue.push('a')
  const running = consumer.run()
  await vi.waitFor(() => expect(ends).toHaveLength(2))
  await consumer.close()
  await running
  expect(ends).toEqual(['denied', 'unknown OUTCOME_UNKNOWN charge unknown'])
  await guard.close()
})

test('a long message in hand keeps nothing of the short ones that pass it by', async () => {
  const { payments, authority } = await world()
  const long = Promise.withResolvers<void>()
  const counts: number[] = []
  let taken = 0
  const consumer = guardedConsumer(payments, {
    name: 'orders',
    effects: 'none',
    concurrency: 2,
    take: async () => {
      taken += 1
      if (taken === 100 || taken === 600) {
        await new Promise(setImmediate)
        counts.push(queryObjects(Promise, { format: 'count' }))
      }
      authority.questions.length = 0
      if (taken === 600) long.resolve()
      return taken > 600 ? undefined : `message ${taken}`
    },
    messageId: (message) => message,
    handle: (message) => (message === 'message 1' ? long.promise : undefined),
    done: () => {},
    giveBack: () => {},
    failed: () => {},
    unknown: () => {},
  })
  void consumer.run()
  await vi.waitFor(() => expect(counts).toHaveLength(2), 20_000)
  await consumer.close()
  const [before = 0, after = 0] = counts
  expect(after - before).toBeLessThan(250)
})
