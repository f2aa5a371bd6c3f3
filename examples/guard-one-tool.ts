// One guarded tool: a refund that asks for permission twice, and happens once however often the model asks for it.
//
// While `npm start` runs in another terminal:
//   MACHINEID_BASE_URL=http://127.0.0.1:4100 MACHINEID_ORG_KEY_FILE=data/tool-server.json LOG_LEVEL=warn \
//     npx node --conditions=holdpoint-source examples/guard-one-tool.ts
import process, { env } from 'node:process'
import { Agent, getDefaultModel, run, setTracingDisabled } from '@openai/agents'
import { assistantMessage, functionCall, ScriptedModel } from '@openai/agents/testing'
import { guardedTool, startGuard } from 'holdpoint'
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
  // Models do this: the same refund again, as another call.
  [functionCall('refund_invoice', args, { callId: 'call_2' })],
  [assistantMessage('I have refunded it.')],
])
if (!env.OPENAI_API_KEY) {
  console.log(
    'OPENAI_API_KEY is not set: the agent runs on a scripted model, which asks for the refund twice.',
  )
  setTracingDisabled(true)
}
const agent = new Agent({
  name: 'support',
  instructions: 'You refund invoices.',
  model: env.OPENAI_API_KEY ? env.OPENAI_MODEL || getDefaultModel() : scripted,
  tools: [refund],
})
const result = await run(
  agent,
  `Refund ${args.amountCents} cents of INV-1001. It is refund number ${args.refundNo}.`,
)
await guard.close()

const answers = result.newItems.filter((item) => item.type === 'tool_call_output_item')
for (const { output } of answers) console.log(`The tool answered: ${String(output)}`)
console.log(`Calls: ${answers.length}. Refunds: ${refunded.length}.`)
if (refunded.length !== 1) process.exitCode = 1 // exactly one is right; none where it was denied
