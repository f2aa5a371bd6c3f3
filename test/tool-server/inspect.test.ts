// GET /inspect: how a tool server is set up, as doctor reads it.

import { Agent, tool, webSearchTool } from '@openai/agents'
import { ScriptedModel } from '@openai/agents/testing'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { defineEffect, guardAgent, guardedTool, type Guard } from 'holdpoint'
import { InspectResponse } from '../../src/tool-server-wire.ts'
import { EMAIL, PAYMENTS, SERVER, startTestToolServer } from './start.ts'

const parameters = z.object({ invoiceId: z.string() })

/** Pays, and mails a receipt from another surface. */
function payTool(guard: Guard) {
  const charge = defineEffect({
    kind: 'payment',
    name: 'charge',
    key: ({ invoiceId }: { invoiceId: string }) => invoiceId,
    run: () => 'paid',
    reconcile: async () => ({ state: 'absent' as const }),
  })
  const receipt = defineEffect({
    kind: 'email',
    name: 'receipt',
    surface: 'email',
    key: 'each-call',
    onStop: 'abort',
    run: () => 'sent',
  })
  return guardedTool(guard.surface('payments'), {
    name: 'pay',
    description: 'Pay',
    parameters,
    effects: { charge, receipt },
    execute: () => 'x',
  })
}

const lookUp = (guard: Guard) =>
  guardedTool(guard.surface('tool-server'), {
    name: 'look_up',
    description: 'Look up',
    parameters,
    effects: 'none',
    execute: () => 'x',
  })

function hosted(guard: Guard) {
  const foreign = tool({ name: 'foreign', description: 'x', parameters, execute: () => 'x' })
  const helper = new Agent({ name: 'helper', model: new ScriptedModel([]), tools: [foreign] })
  guardAgent(helper, guard.surface('email'))
  const agent = new Agent({
    name: 'clerk',
    model: new ScriptedModel([]),
    tools: [payTool(guard), webSearchTool()],
    handoffs: [helper],
  })
  return [{ agent, name: 'front-desk', allowUngated: ['web_search'] }]
}

const EFFECTS = [
  {
    name: 'charge',
    kind: 'payment',
    surfaces: ['payments'],
    key: 'business',
    reconcile: true,
    onStop: 'finish',
  },
  {
    name: 'receipt',
    kind: 'email',
    surfaces: ['email'],
    key: 'each-call',
    reconcile: false,
    onStop: 'abort',
  },
]

test('it says what it is, what it asks, what it would do, and how it keeps it', async () => {
  await using server = await startTestToolServer({
    tools: (guard) => [payTool(guard), lookUp(guard)],
    agents: hosted,
  })
  const { journalMode, synchronous } = await server.store.durability()
  expect({ journalMode, synchronous }).toEqual({ journalMode: 'wal', synchronous: 'full' })
  await expect.poll(() => server.guard.stopStream?.keyKind, { timeout: 5000 }).toBe('runtime')
  const { status, body } = await server.get('/inspect')
  expect(status).toBe(200)
  expect(InspectResponse.parse(body)).toEqual(body)
  expect(body).toMatchObject({
    replica: server.guard.stopStream?.replica,
    serverDeviceId: SERVER,
    surfaces: [
      { name: 'tool-server', deviceIds: [SERVER] },
      { name: 'payments', deviceIds: [SERVER, PAYMENTS] },
      { name: 'email', deviceIds: [SERVER, EMAIL] },
      { name: 'records', deviceIds: [SERVER] },
    ],
    profile: 'custom',
    authority: { origin: null, answered: true, code: null },
    timeoutMs: 2000,
    latencyMs: { p50: expect.any(Number), p99: expect.any(Number) },
    stopStream: { state: 'up', reason: null, keyKind: 'runtime' },
    inFlight: [SERVER, PAYMENTS, EMAIL].map((deviceId) => ({ deviceId, inFlight: 0 })),
    journal: { kind: 'custom', journalMode: null, synchronous: null, unknownOutcomes: 0 },
  })
  expect(Math.abs(Date.parse(body.now) - Date.now())).toBeLessThan(5000)
  expect(body.tools).toEqual([
    { name: 'pay', surfaces: ['payments'], guarded: true, agent: null, effects: EFFECTS },
    { name: 'look_up', surfaces: ['tool-server'], guarded: true, agent: null, effects: [] },
    { name: 'pay', surfaces: ['payments'], guarded: true, agent: 'front-desk', effects: EFFECTS },
    { name: 'web_search', surfaces: [], guarded: false, agent: 'front-desk', effects: [] },
    { name: 'foreign', surfaces: ['email'], guarded: true, agent: 'helper', effects: [] },
  ])
})

test('what it is told about itself', async () => {
  await using server = await startTestToolServer({
    tools: () => [],
    about: {
      profile: 'holdpoint',
      origin: 'http://127.0.0.1:4100',
      journal: { kind: 'sqlite', journalMode: 'wal', synchronous: 'full' },
    },
  })
  expect((await server.get('/inspect')).body).toMatchObject({
    profile: 'holdpoint',
    authority: { origin: 'http://127.0.0.1:4100' },
    journal: { kind: 'sqlite', journalMode: 'wal', synchronous: 'full' },
  })
})

test('an authority that gave no answer is told, with its code, and no key, token or argument ever is', async () => {
  await using server = await startTestToolServer({ tools: (guard) => [lookUp(guard)], timeoutMs: 300 })
  await server.authority.kill()
  await server.call('look_up', { arguments: { invoiceId: 'INV-SECRET' } })
  const { body } = await server.get('/inspect')
  expect(body.authority).toMatchObject({ answered: false, code: expect.stringMatching(/^AUTHORITY_/) })
  for (const secret of [server.token, server.authority.keys.runtime, 'INV-SECRET', server.dir])
    expect(JSON.stringify(body)).not.toContain(secret)
})
