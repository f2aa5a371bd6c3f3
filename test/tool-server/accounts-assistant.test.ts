import { run, Agent, tool } from '@openai/agents'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'

import { createAccountsAssistant } from '../../tools/accounts-assistant.ts'
import { createAccountsTools } from '../../tools/accounts-tools.ts'
import { createScriptedModel } from '../../tools/scripted-model.ts'
import { createSinks, type FileSinks } from '../../tools/sinks.ts'
import type { ApprovalView } from '../../src/agents/hosted/run-types.ts'
import { PAYMENTS, startTestToolServer, type TestToolServer } from './start.ts'

let server: TestToolServer
let sinks: FileSinks
beforeEach(async () => {
  server = await startTestToolServer({
    tools: (guard, dir) => {
      sinks = createSinks({ dataDir: dir })
      return createAccountsTools(guard, sinks)
    },
    agents: (guard) => [
      { agent: createAccountsAssistant(guard, { ...sinks, model: createScriptedModel() }) },
    ],
  })
})
afterEach(async () => {
  await server.guard.close({ graceMs: 100 })
  sinks.close()
  await server.close()
})

const ask = (input: string, runId = 'r1') =>
  server.post('/runs', { agent: 'accounts-assistant', runId, input })

async function decide(runId: string, verdict: (approval: ApprovalView) => object) {
  const { body } = await server.get(`/runs/${runId}`)
  const decisions = (body.approvals as ApprovalView[]).map((approval) => ({
    callId: approval.callId,
    digest: approval.digest,
    ...verdict(approval),
  }))
  expect((await server.post(`/runs/${runId}/decisions`, { decisions })).status).toBe(200)
  return (await server.post(`/runs/${runId}/resume`, {})).body
}

describe('accounts-assistant on the scripted model', () => {
  test('"Pay INV-1001 and INV-1002": looks both up, waits for a person, and pays what was approved', async () => {
    const { body } = await ask('Pay INV-1001 and INV-1002')
    const waiting = body.approvals as ApprovalView[]
    expect(waiting.map(({ tool: name, arguments: args }) => [name, args])).toEqual([
      ['send_payment', { invoiceId: 'INV-1001', amountCents: 12_500 }],
      ['send_payment', { invoiceId: 'INV-1002', amountCents: 4820 }],
    ])
    expect(new Set(waiting.map(({ callId }) => callId)).size).toBe(2)
    const ended = await decide('r1', ({ arguments: args }) =>
      (args as { invoiceId: string }).invoiceId === 'INV-1001'
        ? { approve: true }
        : { approve: false, message: 'Not this month.' },
    )
    expect(ended.status).toBe('completed')
    const [note, first, second] = ended.output.split('\n')
    expect(note).toContain('A scripted model answered')
    expect(first).toBe('INV-1001: paid, 125.00 dollars.')
    expect(second).toMatch(/^INV-1002: not paid\. .*Not this month\./)
    expect(sinks.ledger.payments().map(({ invoiceId }) => invoiceId)).toEqual(['INV-1001'])
  })

  test('a denied payment is told with its code, and what was paid before is said to be', async () => {
    await ask('Pay INV-1001')
    await server.authority.revoke(PAYMENTS)
    expect((await decide('r1', () => ({ approve: true }))).output).toContain(
      'INV-1001: not paid. DEVICE_REVOKED',
    )
    await server.authority.restore(PAYMENTS)
    await ask('Pay INV-1001', 'r2')
    expect((await decide('r2', () => ({ approve: true }))).output).toContain('INV-1001: paid')
    expect((await ask('pay inv-1001', 'r3')).body.output).toContain('It has been paid already.')
    expect(sinks.ledger.payments()).toHaveLength(1)
  })

  test('mails, records and look-ups, one after the other', async () => {
    const { body } = await ask(
      'Mail ops@example.com: All is well\nwrite CITY = Graz; look up INV-1003 and INV-9999',
    )
    expect(body.status).toBe('completed')
    expect(body.output.split('\n').slice(1)).toEqual([
      'Mail to ops@example.com: sent.',
      'CITY: written.',
      expect.stringMatching(/^INV-1003: .*Calder Freight/),
      'INV-9999: There is no invoice INV-9999.',
    ])
    expect(sinks.records.read('CITY')).toBe('Graz')
  })

  test('a mail that comes after a payment waits for the payment', async () => {
    await ask('Pay INV-1001 and mail ops@example.com: paid it')
    const names = async () =>
      (await server.get('/runs/r1')).body.steps
        .filter(({ type }: { type: string }) => type === 'tool_called')
        .map((step: { tool: string }) => step.tool)
    expect(await names()).toEqual(['lookup_invoice', 'send_payment'])
    await decide('r1', () => ({ approve: true }))
    expect(await names()).toEqual(['lookup_invoice', 'send_payment', 'send_email'])
  })

  test('the same asked twice in different runs pays once', async () => {
    await ask('Pay INV-1001', 'r1')
    await ask('Pay INV-1001', 'r2')
    await decide('r1', () => ({ approve: true }))
    const second = await decide('r2', () => ({ approve: true }))
    expect(second.status).toBe('completed')
    expect(sinks.ledger.payments()).toHaveLength(1)
  })

  test('anything else is answered with what it knows', async () => {
    expect((await ask('Tell me a joke')).body.output).toContain('I only know a few sentences')
  })
})

test('over /tools a payment needs no approval: another set of tools', async () => {
  const { status } = await server.call('send_payment', {
    call_id: 'c',
    arguments: { invoiceId: 'INV-1001', amountCents: 12_500 },
  })
  expect(status).toBe(200)
})

test('streamed or not, the scripted model gives the SDK the same', async () => {
  const lookup = tool({
    name: 'lookup_invoice',
    description: 'Look up',
    parameters: z.object({ invoiceId: z.string() }),
    execute: ({ invoiceId }) => `${invoiceId} is open`,
  })
  const agent = new Agent({ name: 'x', model: createScriptedModel(), tools: [lookup] })
  const plain = await run(agent, 'look up INV-1')
  const streamed = await run(agent, 'look up INV-1', { stream: true })
  await streamed.completed
  expect(streamed.finalOutput).toBe(plain.finalOutput)
  expect(plain.finalOutput).toContain('INV-1: INV-1 is open')
})
