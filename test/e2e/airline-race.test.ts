import { randomInt } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'

import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { remoteTools } from '../../src/tool-server/remote-tools.ts'
import { loadAirline, type Conversation } from '../fixtures/airline.ts'
import { play, type Told } from '../fixtures/airline-play.ts'
import { PAYMENTS, startAirline, type AirlineEvent, type AirlineServer } from '../fixtures/airline-server.ts'

const airline = loadAirline()
const RUNS = 200
/** What starts behind which hold point. */
const HOLD_POINTS = [
  ['body', 'tool'],
  ['effect', 'side_effect'],
] as const
const seed = Number(process.env['HOLDPOINT_SEED'] ?? randomInt(2 ** 31))

describe.skipIf(airline.absent)('recorded conversations while the payments surface is revoked', () => {
  const short = airline.conversations.filter(
    ({ calls }) => calls.length <= 6 && calls.some(({ surface }) => surface === 'payments'),
  )
  const seen = { ran: 0, deniedAtTool: 0, deniedAtEffect: 0 }
  let server: AirlineServer
  let runs = 0

  beforeAll(async () => {
    server = await startAirline(airline)
  })
  afterAll(() => server[Symbol.asyncDispose]())

  test(`G1, G2: no payment starts whose hold point was entered after the ack, in ${RUNS} runs`, async () => {
    console.info(`To repeat this race: HOLDPOINT_SEED=${seed}`)
    const run = fc.record({
      chosen: fc.shuffledSubarray([...short.keys()], { minLength: 1, maxLength: 3 }),
      /** When the operator presses stop: after which part of the run's events, and how many turns later. */
      moment: fc.integer({ min: 0, max: 999 }),
      turns: fc.nat(5),
    })
    const property = fc.asyncProperty(run, async ({ chosen, moment, turns }) => {
      const conversations = chosen.map((index) => short[index] as Conversation)
      const calls = conversations.flatMap((one) => one.calls)
      // Sent, asked, started; with an effect, asked and started again.
      const events = calls.reduce((sum, { surface }) => sum + (surface === 'tool-server' ? 3 : 5), 0)
      const told = await raceWithRevoke(conversations, Math.floor((moment * events) / 1000), turns)
      for (const call of calls) {
        if (call.surface === 'payments') judgePayment(call.callId, call.output, told)
        else expect(told.get(call.callId)).toBe(call.output)
      }
    })
    await fc.assert(property, { numRuns: RUNS, seed, unbiased: true, endOnFailure: true })

    console.info(`${runs} runs: ${JSON.stringify(seen)}`)
    // So that it cannot pass without a race: some ran, and some were denied at each of the two hold points.
    expect(runs).toBe(RUNS)
    expect(seen.ran).toBeGreaterThan(0)
    expect(seen.deniedAtTool).toBeGreaterThan(0)
    expect(seen.deniedAtEffect).toBeGreaterThan(0)
    expect(server.journal()).not.toHaveProperty('intent')
  }, 90_000)

  async function raceWithRevoke(
    conversations: Conversation[],
    eventIndex: number,
    turns: number,
  ): Promise<Told> {
    runs += 1
    server.events.length = 0
    let revoked: Promise<void> | undefined
    const revoke = async () => {
      for (let turn = 0; turn < turns; turn += 1) await nextTurn()
      await server.authority.revoke(PAYMENTS)
      server.record({ what: 'acked' })
    }
    server.onEvent = () => {
      if (server.events.length === eventIndex + 1) revoked ??= revoke()
    }
    const tools = await remoteTools(server.url, server.token, { runId: `run_${runs}` })
    const onSend = (callId: string) => server.record({ what: 'sent', callId })
    const played = await Promise.all(conversations.map((one) => play(one, { tools, onSend })))
    await revoked
    server.onEvent = () => {}
    await server.authority.restore(PAYMENTS)
    return new Map(played.flatMap((one) => [...one]))
  }

  function judgePayment(callId: string, output: string, told: Told): void {
    const when = (what: AirlineEvent['what'], boundary?: string): number[] =>
      [...server.events.entries()]
        .filter(([, event]) => event.what === what && event.callId === callId)
        .filter(([, event]) => boundary === undefined || event.boundary === boundary)
        .map(([index]) => index)
    const acked = server.events.findIndex(({ what }) => what === 'acked')
    const [sent] = when('sent') as [number]
    expect(acked).not.toBe(-1)
    for (const [what, boundary] of HOLD_POINTS) {
      const [started, ...again] = when(what)
      if (started === undefined) continue
      const [entered = Infinity, ...others] = when('asked', boundary)
      expect(sent, `G1: ${what} of ${callId} started, though it was sent after the ack`).toBeLessThan(acked)
      expect(entered, `G2: ${what} of ${callId} started without a question of its own`).toBeLessThan(started)
      expect(entered, `G1: ${what} of ${callId} started, though asked after the ack`).toBeLessThan(acked)
      expect([again, others], `G2: ${what} of ${callId} started once, on one question`).toEqual([[], []])
    }
    if (when('effect').length > 0) {
      seen.ran += 1
      expect(told.get(callId)).toBe(output)
      return
    }
    seen[when('body').length > 0 ? 'deniedAtEffect' : 'deniedAtTool'] += 1
    expect(JSON.parse(told.get(callId) as string)).toMatchObject({
      code: 'DEVICE_REVOKED',
      device_id: PAYMENTS,
      executed: false,
      request_id: expect.not.stringMatching(/^local_/),
    })
  }
})
