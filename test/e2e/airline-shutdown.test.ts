import { describe, expect, test } from 'vitest'

import { remoteTools } from '../../src/tool-server/remote-tools.ts'
import { loadAirline, type RecordedCall } from '../fixtures/airline.ts'
import { playAtOnce } from '../fixtures/airline-play.ts'
import { callIdsOf, startAirline } from '../fixtures/airline-server.ts'

const airline = loadAirline()

describe.skipIf(airline.absent)('recorded conversations while the tool server shuts down', () => {
  const conversations = airline.conversations
    .filter(({ calls }) => calls.some(({ surface }) => surface === 'payments'))
    .slice(0, 16)
  const calls = conversations.flatMap((one) => one.calls)

  test('G3, G8: payments in flight finish and are in the journal, every later call is told, none runs', async () => {
    await using server = await startAirline(airline)
    const release = Promise.withResolvers<void>()
    const fourInFlight = Promise.withResolvers<void>()
    const signals = { body: new Map<string, AbortSignal>(), effect: new Map<string, AbortSignal>() }
    server.onStart = async ({ what, call, signal }) => {
      signals[what].set(call.callId, signal)
      if (what === 'body') return
      if (signals.effect.size === 4) fourInFlight.resolve()
      await release.promise
    }
    const tools = await remoteTools(server.url, server.token, { runId: 'run_1' })
    const onSend = (callId: string) => server.record({ what: 'sent', callId })
    const playing = playAtOnce(conversations, { tools, onSend })

    // One payment in each of the four conversations that play at once.
    await fourInFlight.promise
    const inFlight = [...signals.effect.keys()]
    server.record({ what: 'closing' })
    const closing = server.guard.close({ graceMs: 10_000 })
    const late = await server.post(calls[0] as RecordedCall)
    expect([late.status, late.body['code']]).toEqual([503, 'GUARD_SHUTTING_DOWN'])
    // Bodies are told to stop; effects, which may have happened, have their grace time.
    expect(inFlight.map((callId) => signals.body.get(callId)?.aborted)).toEqual([true, true, true, true])
    expect(inFlight.map((callId) => signals.effect.get(callId)?.aborted)).toEqual([
      false,
      false,
      false,
      false,
    ])
    release.resolve()
    const told = await playing
    expect(await closing).toBe(true)

    const after = server.events.slice(server.events.findIndex(({ what }) => what === 'closing'))
    expect(after.filter(({ what }) => what === 'asked' || what === 'body' || what === 'effect')).toEqual([])
    const sentLate = new Set(callIdsOf(after, 'sent'))
    expect(sentLate.size).toBeGreaterThan(calls.length / 4)
    for (const { callId, output } of calls) {
      const text = told.get(callId) as string
      // What was sent before, the four in flight included, ended as recorded.
      if (!sentLate.has(callId)) expect(text).toBe(output)
      else expect(JSON.parse(text)).toMatchObject({ code: 'GUARD_SHUTTING_DOWN', executed: false })
    }
    expect(server.journal()).toEqual({ done: 4 })
  }, 60_000)
})
