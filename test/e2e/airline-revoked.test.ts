import { describe, expect, test } from 'vitest'

import { remoteTools } from '../../src/tool-server/remote-tools.ts'
import { loadAirline } from '../fixtures/airline.ts'
import { play } from '../fixtures/airline-play.ts'
import { callIdsOf, PAYMENTS, startAirline } from '../fixtures/airline-server.ts'

const airline = loadAirline()

describe.skipIf(airline.absent)('recorded conversations after the payments surface was revoked', () => {
  const { conversations, calls } = airline

  test('G1: exactly the calls on payments are denied, each with a request_id of the authority; all others are as recorded', async () => {
    await using server = await startAirline(airline)
    await server.authority.revoke(PAYMENTS)
    const requestIds = new Set<string>()
    for (const conversation of conversations) {
      const told = await play(conversation, { tools: await remoteTools(server.url, server.token) })
      for (const { callId, surface, output } of conversation.calls) {
        if (surface !== 'payments') {
          expect(told.get(callId)).toBe(output)
          continue
        }
        const refusal = JSON.parse(told.get(callId) as string) as Record<string, unknown>
        expect(refusal).toMatchObject({
          error: 'permission_denied',
          code: 'DEVICE_REVOKED',
          device_id: PAYMENTS,
          executed: false,
        })
        expect(refusal['request_id']).toMatch(/^[0-9a-f-]{36}$/)
        requestIds.add(refusal['request_id'] as string)
      }
    }
    const surfaces = Object.groupBy(calls.values(), ({ surface }) => surface)
    expect(surfaces['payments']).toHaveLength(120)
    expect(requestIds.size).toBe(120)
    const ran = new Set(callIdsOf(server.events, 'body'))
    expect(ran.size).toBe(572 - 120)
    expect([...ran].filter((callId) => calls.get(callId)?.surface === 'payments')).toEqual([])
    // What was denied at `tool` never reached the journal.
    const effects = (surfaces['records']?.length ?? 0) + (surfaces['handoff']?.length ?? 0)
    expect(server.journal()).toEqual({ done: effects })
  }, 60_000)
})
