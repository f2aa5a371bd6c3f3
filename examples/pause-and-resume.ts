// A refund that a person must approve: the run pauses, is kept as a file, and resumes later. Resuming asks the
// authority first, and the same file resumed twice refunds once.
//
// While `npm start` runs in another terminal:
//   MACHINEID_BASE_URL=http://127.0.0.1:4100 MACHINEID_ORG_KEY_FILE=data/tool-server.json LOG_LEVEL=warn \
//     npx node --conditions=holdpoint-source examples/pause-and-resume.ts
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { env } from 'node:process'
import { Agent, getDefaultModel, setTracingDisabled } from '@openai/agents'
import { assistantMessage, functionCall, ScriptedModel } from '@openai/agents/testing'
import { guardedTool, resumeAgent, runAgent, serializeState, startGuard } from 'holdpoint'
import { z } from 'zod'

const guard = await startGuard({ surfaces: ['payments'] })

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

// A number of its own for each run of this program: the journal remembers the refunds of earlier ones.
const args = { invoiceId: 'INV-1001', refundNo: Date.now(), amountCents: 500 }
const scripted = new ScriptedModel([
  [functionCall('refund_invoice', args, { callId: 'call_1' })],
  [assistantMessage('I have refunded it.')],
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

const input = `Refund ${args.amountCents} cents of INV-1001. It is refund number ${args.refundNo}.`
const paused = await runAgent(guard, agent, input)
assert.equal(paused.status, 'interrupted', 'The run must wait for a person.')
assert.equal(refunded.length, 0)
for (const { tool, arguments: shown } of paused.approvals)
  console.log(`Waiting: ${tool} ${JSON.stringify(shown)}`)

// Whoever can write this file chooses what is resumed: keep it where only you can.
const folder = mkdtempSync(join(tmpdir(), 'holdpoint-example-'))
const file = join(folder, 'paused-run.json')
writeFileSync(file, serializeState(paused.state ?? assert.fail()), { mode: 0o600 })

// Later, perhaps in another process. The decision comes from the person, and holds for the arguments that were shown.
const approvals = paused.approvals.map(({ callId, digest }) => ({ callId, digest, approve: true }))
const resume = () => resumeAgent(guard, agent, readFileSync(file, 'utf8'), { runId: paused.runId, approvals })

const resumed = await resume()
console.log(`Approved and resumed: ${resumed.status}. Refunds: ${refunded.length}.`)
const again = await resume()
console.log(`Resumed once more from the same file: ${again.status}. Refunds: ${refunded.length}.`)
await guard.close()
rmSync(folder, { recursive: true })

assert.deepEqual([resumed.status, again.status], ['completed', 'completed'])
assert.equal(refunded.length, 1, 'There must be exactly one refund.')
