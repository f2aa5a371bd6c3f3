import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { remoteTools } from '../../src/tool-server/remote-tools.ts'
import { loadAirline, type RecordedCall } from '../fixtures/airline.ts'
import { startLossyProxy, type LossyProxy } from '../fixtures/airline-lossy-proxy.ts'
import { play } from '../fixtures/airline-play.ts'
import { startAirline, type AirlineServer } from '../fixtures/airline-server.ts'

const airline = loadAirline()

describe.skipIf(airline.absent)('recorded payments whose first answer gets lost', () => {
  const { conversations, calls } = airline
  const payments = [...calls.values()].filter(({ surface }) => surface === 'payments')
  const isPayment = (callId = '') => calls.get(callId)?.surface === 'payments'
  /** Of every second payment the connection is cut while the effect runs, of the others when the answer is there. */
  const cutWhileRunning = new Set(
    payments.filter((_call, index) => index % 2 === 0).map(({ callId }) => callId),
  )
  let server: AirlineServer
  let proxy: LossyProxy

  beforeAll(async () => {
    server = await startAirline(airline)
    proxy = await startLossyProxy(server.url, isPayment)
  })
  afterAll(async () => {
    await proxy[Symbol.asyncDispose]()
    await server[Symbol.asyncDispose]()
  })

  const effects = () => server.events.filter(({ what, callId }) => what === 'effect' && isPayment(callId))
  const replayText = ({ tool, output }: RecordedCall) =>
    JSON.stringify({ replayed: true, effects: [{ name: tool, state: 'replayed' }], result: output })

  test('the client repeats the call, gets the stored result marked as replayed, and no effect runs twice', async () => {
    server.onStart = ({ what, call }) =>
      what === 'effect' && cutWhileRunning.has(call.callId) ? proxy.cut(call.callId) : undefined
    for (const conversation of conversations) {
      if (!conversation.calls.some(({ surface }) => surface === 'payments')) continue
      const tools = await remoteTools(proxy.url, server.token, { runId: 'run_with_losses' })
      const told = await play(conversation, { tools })
      expect([...told]).toEqual(
        conversation.calls.map((call) => [
          call.callId,
          call.surface === 'payments' ? replayText(call) : call.output,
        ]),
      )
    }
    server.onStart = () => {}
    expect(payments).toHaveLength(120)
    expect(effects().map(({ callId }) => callId)).toEqual(payments.map(({ callId }) => callId))
    expect(server.journal()).not.toHaveProperty('intent')
  }, 60_000)

  test('another caller with the same ids never gets the stored result: its payment is one of its own', async () => {
    for (const call of payments) {
      server.events.length = 0
      const first = await server.post(call)
      const repeated = await server.post(call)
      const foreign = await server.post(call, server.otherToken)
      expect([first, repeated, foreign].map(({ status }) => status)).toEqual([200, 200, 200])
      expect([first, repeated, foreign].map(({ body }) => body['replayed'] ?? false)).toEqual([
        false,
        true,
        false,
      ])
      expect(repeated.body['output']).toBe(replayText(call))
      const keys = effects().map(({ idempotencyKey }) => idempotencyKey)
      expect([keys.length, new Set(keys).size]).toEqual([2, 2])
    }
  }, 60_000)
})
