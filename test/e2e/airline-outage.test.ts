import { describe, expect, test } from 'vitest'

import { remoteTools } from '../../src/tool-server/remote-tools.ts'
import { loadAirline } from '../fixtures/airline.ts'
import { playAtOnce, type Told } from '../fixtures/airline-play.ts'
import {
  callIdsOf,
  HANDOFF,
  startAirline,
  TIMEOUT_MS,
  type AirlineServer,
} from '../fixtures/airline-server.ts'

const airline = loadAirline()

describe.skipIf(airline.absent)('recorded conversations while the control plane dies', () => {
  const conversations = airline.conversations.slice(0, 24)
  const calls = conversations.flatMap((one) => one.calls)
  const surfaceOf = (callId: string) => airline.calls.get(callId)?.surface

  test('G4, G5: from then on nothing runs; on the same file everything goes on, and what was revoked still is', async () => {
    await using server = await startAirline(airline)
    await server.authority.revoke(HANDOFF)

    const told = await playWhileItDies(server)
    const killed = server.events.findIndex(({ what }) => what === 'killed')
    const late = new Set(callIdsOf(server.events.slice(killed), 'sent'))
    // So that it cannot pass without an outage in the middle.
    expect(late.size).toBeGreaterThan(calls.length / 4)
    expect(callIdsOf(server.events.slice(0, killed), 'effect').length).toBeGreaterThan(0)
    for (const callId of late) {
      expect(JSON.parse(told.get(callId) as string)).toMatchObject({
        error: 'permission_check_unavailable',
        code: expect.stringMatching(/^AUTHORITY_/),
        request_id: expect.stringMatching(/^local_/),
        executed: false,
      })
    }
    // No hold point that was entered after the kill let anything start: neither a late call nor a late effect.
    const entered = server.events.slice(killed).filter(({ what }) => what === 'asked')
    for (const { callId, boundary } of entered) {
      const started = boundary === 'tool' ? 'body' : 'effect'
      expect(callIdsOf(server.events, started)).not.toContain(callId)
    }
    const unanswered = server.lines.filter(({ code }) => String(code).startsWith('AUTHORITY_'))
    expect(unanswered.length).toBeGreaterThanOrEqual(entered.length)
    expect(unanswered.filter((line) => !(Number(line['latency_ms']) <= TIMEOUT_MS))).toEqual([])
    expect(server.journal()).not.toHaveProperty('intent')

    await server.authority.restart()
    const tools = await remoteTools(server.url, server.token, { runId: 'run_after' })
    const again = await playAtOnce(conversations, { tools })
    expect(again.size).toBe(calls.length)
    for (const { callId, output } of calls) {
      if (surfaceOf(callId) !== 'handoff') expect(again.get(callId)).toBe(output)
      else
        expect(JSON.parse(again.get(callId) as string)).toMatchObject({
          code: 'DEVICE_REVOKED',
          executed: false,
        })
    }
    expect(calls.filter(({ surface }) => surface === 'handoff').length).toBeGreaterThan(0)
  }, 60_000)

  /** The control plane is killed when half of the calls have been asked about. */
  async function playWhileItDies(server: AirlineServer): Promise<Told> {
    let killed: Promise<void> | undefined
    let asked = 0
    server.onEvent = ({ what }) => {
      if (what !== 'asked' || (asked += 1) !== Math.floor(calls.length / 2)) return
      killed = server.authority.kill().then(() => server.record({ what: 'killed' }))
    }
    const tools = await remoteTools(server.url, server.token, { runId: 'run_before' })
    const told = await playAtOnce(conversations, {
      tools,
      onSend: (callId) => server.record({ what: 'sent', callId }),
    })
    await killed
    server.onEvent = () => {}
    return told
  }
})
