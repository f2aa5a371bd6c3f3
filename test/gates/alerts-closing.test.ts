// The last moments of alerts, and settings with which they would not work.
import type { ServerResponse } from 'node:http'
import { afterEach, describe, expect, test, vi } from 'vitest'

import { createAlerts, type AlertsOptions } from '../../src/gates/alerts.ts'
import { startupGate } from '../../src/gates/startup.ts'
import { guardedConsumer } from '../../src/gates/consumer.ts'
import { guardedLoop } from '../../src/gates/loop.ts'
import { startedGuard } from '../fixtures/guard.ts'
import { silence, startSink, status, type Sink } from './sink.ts'

const SECRET = `whsec_${Buffer.alloc(32, 9).toString('base64')}`
const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function watched(options: Partial<AlertsOptions> = {}) {
  const sink = await startSink()
  closers.push(() => sink.close())
  const made = await startedGuard()
  const alerts = createAlerts({ url: sink.url, secret: SECRET, log: made.guard.log, ...options })
  closers.push(() => alerts.close({ graceMs: 50 }))
  alerts.watch(made.guard)
  const at = { surface: made.guard.surface('payments'), boundary: 'side_effect' } as const
  const deny = () => {
    made.guard.denyNow(at, 'JOURNAL_UNAVAILABLE')
    made.guard.denyNow(at, 'GUARD_OVERLOADED')
    made.guard.denyNow(at, 'PERMIT_EXPIRED')
  }
  return { ...made, sink, alerts, deny }
}

const codes = ({ received }: Sink) => received.map(({ alert }) => alert.data.code)
const dropped = (lines: readonly Record<string, unknown>[]) =>
  lines.filter((line) => 'dropped' in line).map(({ msg, dropped: count }) => [msg, count])

describe('closing', () => {
  test('goes on behind an alert that the sink refuses: it is dropped and counted, the others are told', async () => {
    const { alerts, sink, deny, lines } = await watched()
    sink.next(status(400))
    deny()
    await alerts.close()
    expect(codes(sink)).toEqual(['JOURNAL_UNAVAILABLE', 'GUARD_OVERLOADED', 'PERMIT_EXPIRED'])
    expect(dropped(lines)).toEqual([
      ['an alert was dropped', 1],
      ['alerts were not delivered', 1],
    ])
  })

  test('gives one that fails meanwhile its one more try, too', async () => {
    const { alerts, sink, deny } = await watched()
    const sent = Promise.withResolvers<ServerResponse>()
    sink.next(sent.resolve)
    deny()
    const response = await sent.promise
    const closed = alerts.close()
    response.destroy()
    await closed
    expect(codes(sink)).toEqual([
      'JOURNAL_UNAVAILABLE',
      'JOURNAL_UNAVAILABLE',
      'GUARD_OVERLOADED',
      'PERMIT_EXPIRED',
    ])
  })

  test('gives up at the end of its grace alone: all that waits then is counted', async () => {
    const { alerts, sink, deny, lines } = await watched()
    sink.always(silence)
    deny()
    await alerts.close({ graceMs: 50 })
    expect(codes(sink)).toEqual(['JOURNAL_UNAVAILABLE'])
    expect(dropped(lines)).toEqual([['alerts were not delivered', 3]])
  })
})

test('a timeout that is no whole number of milliseconds is one all the same', async () => {
  const { alerts, sink, deny } = await watched({ timeoutMs: 1500.5 })
  deny()
  await alerts.close()
  expect(sink.received).toHaveLength(3)
})

describe('numbers that are none, or none of what is counted, are refused', () => {
  test.each<[keyof AlertsOptions, unknown]>([
    ['maxWaiting', 0.5],
    ['maxWaiting', 1.5],
    ['maxWaiting', 0],
    ['maxWaiting', '100'],
    ['dedupeMs', Number.NaN],
    ['dedupeMs', '300000'],
    ['retryMs', -1],
    ['retryMs', '1000'],
    ['timeoutMs', Number.POSITIVE_INFINITY],
    ['timeoutMs', '5000'],
  ])('by createAlerts: %s of %j', (option, value) => {
    const options = { url: 'https://sink.example/', secret: SECRET, [option]: value }
    expect(() => createAlerts(options)).toThrow(new RegExp(`^createAlerts: ${option}`))
  })

  test('by their close: without end it would end at once', async () => {
    const { alerts } = await watched()
    expect(() => alerts.close({ graceMs: Number.POSITIVE_INFINITY })).toThrow(/^alerts\.close: graceMs/)
  })

  test('by gates: a number that is text is none', async () => {
    const { guard } = await startedGuard()
    const text = '5000' as unknown as number
    const loop = { name: 'read', effects: 'none', units: [1], work: () => {} } as const
    expect(() => guardedLoop(guard, { ...loop, retryMs: text })).toThrow(/retryMs/)
    const each = vi.fn()
    const settle = { done: each, giveBack: each, failed: each, unknown: each }
    const consumer = {
      name: 'c',
      effects: 'none',
      take: each,
      messageId: String,
      handle: each,
      ...settle,
    } as const
    expect(() => guardedConsumer(guard, { ...consumer, idleMs: text })).toThrow(/idleMs/)
    await expect(startupGate(each, { graceMs: text })).rejects.toThrow(/graceMs/)
  })
})
