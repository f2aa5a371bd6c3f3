import type { MCPServerStreamableHttp } from '@openai/agents'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { remoteTools } from '../../src/tool-server/remote-tools.ts'
import { loadAirline } from '../fixtures/airline.ts'
import { connectMcp, play, type PlayOptions } from '../fixtures/airline-play.ts'
import { callIdsOf, startAirline, type AirlineServer } from '../fixtures/airline-server.ts'

const airline = loadAirline()

describe.skipIf(airline.absent)('recorded conversations with everything allowed', () => {
  const { conversations, calls } = airline
  let server: AirlineServer
  let mcp: MCPServerStreamableHttp

  beforeAll(async () => {
    server = await startAirline(airline)
    mcp = await connectMcp(server.url, server.token)
  })
  afterAll(async () => {
    await mcp.close()
    await server[Symbol.asyncDispose]()
  })

  const overHttp = async (runId: string): Promise<PlayOptions> => ({
    tools: await remoteTools(server.url, server.token, { runId }),
  })
  const overMcp = async (runId: string): Promise<PlayOptions> => ({ mcp, runId })

  test.each([
    ['POST /tools/:name', 'http', overHttp],
    ['/mcp', 'mcp', overMcp],
  ])(
    'over %s each of 572 calls gives the recorded output, byte for byte',
    async (_path, run, through) => {
      server.events.length = 0
      const before = server.journal()['done'] ?? 0
      const recorded = [...calls.values()]
      expect(recorded).toHaveLength(572)
      for (const [index, conversation] of conversations.entries()) {
        const told = await play(conversation, await through(`${run}_${index}`))
        expect([...told]).toEqual(conversation.calls.map(({ callId, output }) => [callId, output]))
      }

      // Each body and each effect ran once, and each effect is in the journal as done.
      const withEffect = recorded.filter(({ surface }) => surface !== 'tool-server')
      expect([callIdsOf(server.events, 'body').length, callIdsOf(server.events, 'effect').length]).toEqual([
        572,
        withEffect.length,
      ])
      expect(server.journal()).toEqual({ done: before + withEffect.length })
    },
    60_000,
  )
})
