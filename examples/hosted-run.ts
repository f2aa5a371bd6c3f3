// A tool server of your own that hosts an agent: over HTTP a run starts, waits for a person, and resumes. Whoever starts
// it cannot approve it. The paused run stays on the server, sealed, and pays once however often it is resumed.
//
// While `npm start` runs in another terminal:
//   MACHINEID_BASE_URL=http://127.0.0.1:4100 MACHINEID_ORG_KEY_FILE=data/tool-server.json LOG_LEVEL=warn \
//     npx node --conditions=holdpoint-source examples/hosted-run.ts
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { env } from 'node:process'
import { Agent, getDefaultModel, setTracingDisabled } from '@openai/agents'
import { assistantMessage, functionCall, ScriptedModel } from '@openai/agents/testing'
import { guardedTool, startGuard } from 'holdpoint'
import {
  callersOf,
  createCallerToken,
  createSqliteToolStore,
  createToolServer,
  type RunView,
} from 'holdpoint/tool-server'
import { z } from 'zod'

// One file for effects, runs and approvals: an approval is used up in the transaction that stores the intent.
const folder = mkdtempSync(join(tmpdir(), 'holdpoint-example-'))
const store = createSqliteToolStore({ file: join(folder, 'runs.sqlite') })
const guard = await startGuard({ surfaces: ['payments'], journal: store.journal })

const refunded: string[] = [] // stands in for a bank
const refund = guardedTool(guard.surface('payments'), {
  name: 'refund_invoice',
  description: 'Refund one invoice in full or in part. refundNo tells refunds of the same invoice apart.',
  parameters: z.object({
    invoiceId: z.string(),
    refundNo: z.number().int(),
    amountCents: z.number().int().positive(),
  }),
  needsApproval: true,
  effect: 'payment',
  key: ({ invoiceId, refundNo }) => `${invoiceId}:${refundNo}`,
  commit: ({ amountCents }, { idempotencyKey }) => {
    refunded.push(idempotencyKey)
    return { amountCents, receipt: idempotencyKey }
  },
})

const scripted = new ScriptedModel([
  [
    functionCall(
      'refund_invoice',
      { invoiceId: 'INV-1001', refundNo: 1, amountCents: 500 },
      { callId: 'call_1' },
    ),
  ],
  [assistantMessage('I have refunded it.')],
])
if (!env.OPENAI_API_KEY) {
  console.log('OPENAI_API_KEY is not set: the agent runs on a scripted model.')
  setTracingDisabled(true)
}
const agent = new Agent({
  name: 'support',
  instructions: 'You refund invoices.',
  model: env.OPENAI_API_KEY ? env.OPENAI_MODEL || getDefaultModel() : scripted,
  tools: [refund],
})

const app = createCallerToken({ name: 'app', scopes: ['runs:start', 'runs:resume'] })
const person = createCallerToken({ name: 'person', scopes: ['runs:approve'] })
const toolServer = createToolServer({
  guard,
  tools: [refund],
  agents: [{ agent }],
  // In production 32 bytes from a secret store, so that a run can resume after a restart.
  runs: { store: store.runs, stateKeys: [randomBytes(32)] },
  callers: callersOf([app.record, person.record]),
})
const { url } = await toolServer.listen({ port: 0 })

async function post(path: string, token: string, body: object): Promise<{ status: number; body: RunView }> {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  const response = await fetch(`${url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
  return { status: response.status, body: (await response.json()) as RunView }
}

const input = 'Refund 500 cents of INV-1001. It is refund number 1.'
const { body: paused } = await post('/runs', app.token, { agent: 'support', input })
assert.equal(paused.status, 'interrupted', JSON.stringify(paused))
assert.equal(refunded.length, 0)
for (const { tool, arguments: shown } of paused.approvals)
  console.log(`Waiting: ${tool} ${JSON.stringify(shown)}`)

// The decision holds for the arguments that were shown: that is what the digest says.
const decisions = paused.approvals.map(({ callId, digest }) => ({ callId, digest, approve: true }))
const own = await post(`/runs/${paused.runId}/decisions`, app.token, { decisions })
console.log(`The app approves its own run: ${own.status}.`)
const approved = await post(`/runs/${paused.runId}/decisions`, person.token, { decisions })
console.log(`A person approves it: ${approved.status}.`)

const resume = () => post(`/runs/${paused.runId}/resume`, app.token, {})
const answers = await Promise.all([resume(), resume()])
const statuses = answers.map(({ status }) => status).toSorted((a, b) => a - b)
console.log(`Resumed twice at once: ${statuses.join(' and ')}. Refunds: ${refunded.length}.`)

await guard.close()
await toolServer.close()
await store.close()
rmSync(folder, { recursive: true })

assert.deepEqual([own.status, approved.status], [403, 200])
assert.deepEqual(statuses, [200, 409])
assert.equal(refunded.length, 1, 'There must be exactly one refund.')
