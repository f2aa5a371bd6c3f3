// A consumer of a queue in this process, on a guard of a real control plane.

import { createGuard, createMemoryJournal, defineEffect, MachineID, type Guard } from 'holdpoint'
import {
  guardedConsumer,
  type GuardedConsumer,
  type GuardedConsumerOptions,
  type Place,
} from 'holdpoint/gates'
import type { Journal } from 'holdpoint'

import type { TestControlPlane } from '../fixtures/control-plane.ts'
import { logLines, type LogLines } from '../fixtures/log-lines.ts'

export const SERVER = 'worker:test:tool-server:01'
export const PAYMENTS = 'worker:test:payments:01'

/** A bank: what was paid, however often. */
export class Bank {
  readonly paid: string[] = []
  /** Awaited within each payment. */
  beforePaying: (order: string) => Promise<void> | void = () => {}

  pay = defineEffect({
    kind: 'payment',
    name: 'pay',
    key: 'each-call',
    run: async ({ order }: { readonly order: string }) => {
      await this.beforePaying(order)
      this.paid.push(order)
      return { receipt: `receipt of ${order}` }
    },
  })
}

/** A broker that keeps what was not acknowledged. What is put back goes first. */
export class Queue {
  readonly waiting: string[]
  readonly taken: string[] = []
  /** How messages ended, in order: `done a`, `denied b`, … */
  readonly ends: string[] = []

  constructor(...messages: string[]) {
    this.waiting = messages
  }

  take = (): string | undefined => {
    const message = this.waiting.shift()
    if (message !== undefined) this.taken.push(message)
    return message
  }

  putBack(message: string, why: string): void {
    this.ends.push(`${why} ${message}`)
    this.waiting.unshift(message)
  }
}

export interface ConsumerWorld extends AsyncDisposable {
  readonly guard: Guard
  readonly bank: Bank
  readonly queue: Queue
  readonly consumer: GuardedConsumer
  readonly log: LogLines['lines']
  /** `task ALLOW`, `side_effect DEVICE_REVOKED`, … in order. */
  readonly decisions: string[]
}

type Options = GuardedConsumerOptions<string, unknown, { readonly pay: Bank['pay'] }>

export interface WorldOptions extends Partial<Options> {
  readonly queue?: Queue
  readonly bank?: Bank
  readonly journal?: Journal
  readonly timeoutMs?: number
  /** Where it stands. Default: payments. */
  readonly place?: (guard: Guard) => Place<string>
}

const paymentsOf = (guard: Guard): Place<string> => guard.surface('payments')

/** Each message is an order to pay. Waits are short, unless said otherwise. */
export async function consumerWorld(
  plane: TestControlPlane,
  {
    queue = new Queue(),
    bank = new Bank(),
    journal,
    timeoutMs = 3000,
    place = paymentsOf,
    ...options
  }: WorldOptions = {},
): Promise<ConsumerWorld> {
  const authority = new MachineID({ baseUrl: plane.url, orgKey: plane.keys.runtime, timeoutMs })
  const { log, lines } = logLines()
  const guard = createGuard({
    authority,
    journal: journal ?? createMemoryJournal(),
    serverDeviceId: SERVER,
    surfaces: ['payments', 'tenant-a', 'tenant-b'],
    timeoutMs,
    log,
    onClose: () => authority.close(),
  })
  await guard.start()
  const decisions: string[] = []
  guard.subscribe((event) => {
    if (event.kind === 'decision') decisions.push(`${event.at.boundary} ${event.decision.code}`)
  })
  const consumer = guardedConsumer(place(guard), {
    name: 'orders',
    effects: { pay: bank.pay },
    retryMs: 10,
    idleMs: 10,
    take: queue.take,
    messageId: (order) => order,
    handle: async (order, work) => (await work.effects.pay({ order })).result.receipt,
    done: (order) => void queue.ends.push(`done ${order}`),
    giveBack: (order, why) => queue.putBack(order, why.state),
    failed: (order) => void queue.ends.push(`failed ${order}`),
    unknown: (order) => void queue.ends.push(`unknown ${order}`),
    ...options,
  } satisfies Options)
  return {
    guard,
    bank,
    queue,
    consumer,
    log: lines,
    decisions,
    [Symbol.asyncDispose]: async () => {
      await consumer.close()
      await guard.close({ graceMs: 0 })
    },
  }
}
