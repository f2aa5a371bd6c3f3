// An agent whose tools live on a tool server. This process holds neither the bank's key nor the authority's: the hold
// points are on the server, and a stop reaches the agent wherever it runs.
//
// While `npm start` runs in another terminal:
//   npx node --conditions=holdpoint-source examples/remote-tools.ts
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { env } from 'node:process'
import { Agent, getDefaultModel, run, setTracingDisabled } from '@openai/agents'
import { assistantMessage, functionCall, ScriptedModel } from '@openai/agents/testing'
import { remoteTools } from 'holdpoint'

const file = join(env.DATA_DIR || 'data', 'tool-server.json')
const { callerToken } = JSON.parse(readFileSync(file, 'utf8')) as { callerToken: string }
const tools = await remoteTools(`http://127.0.0.1:${env.TOOL_SERVER_PORT || 4200}`, callerToken)
console.log(`The tool server offers ${tools.map((tool) => tool.name).join(', ')}.`)

const payment = { invoiceId: 'INV-1001', amountCents: 12_500 }
const scripted = new ScriptedModel([
  [functionCall('lookup_invoice', { invoiceId: 'INV-1001' }, { callId: 'call_1' })],
  [functionCall('send_payment', payment, { callId: 'call_2' })],
  // Models do this: the same payment again, as another call. An invoice is paid once.
  [functionCall('send_payment', payment, { callId: 'call_3' })],
  [assistantMessage('INV-1001 is paid.')],
])
if (!env.OPENAI_API_KEY) {
  console.log('OPENAI_API_KEY is not set: the agent runs on a scripted model, which pays twice.')
  setTracingDisabled(true)
}
const agent = new Agent({
  name: 'accounts-assistant',
  instructions: 'You pay invoices in full. Look up the amount first.',
  model: env.OPENAI_API_KEY ? env.OPENAI_MODEL || getDefaultModel() : scripted,
  tools,
})
const payments: string[] = []
agent.on('agent_tool_end', (_runContext, { name }, output) => {
  console.log(`${name} answered: ${output}`)
  if (name === 'send_payment') payments.push(/pay_[\w-]+/.exec(output)?.[0] ?? 'nothing paid')
})
await run(agent, 'Pay INV-1001.')

assert.ok(payments.length > 0 && !payments.includes('nothing paid'), 'INV-1001 must be paid.')
assert.equal(new Set(payments).size, 1, 'It must be paid once.')
console.log(`Calls: ${payments.length}. Payments: 1, ${payments[0]}.`)
