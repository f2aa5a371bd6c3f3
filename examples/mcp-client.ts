// The same tool server over MCP. Any MCP client can use it; one that sends its call ids along may also repeat a call
// whose answer was lost: the server gives the stored result instead of sending a second mail.
//
// While `npm start` runs in another terminal:
//   npx node --conditions=holdpoint-source examples/mcp-client.ts
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { env } from 'node:process'
import {
  Agent,
  getDefaultModel,
  MCPServerStreamableHttp,
  run,
  setTracingDisabled,
  tool,
} from '@openai/agents'
import { assistantMessage, functionCall, ScriptedModel } from '@openai/agents/testing'

const file = join(env.DATA_DIR || 'data', 'tool-server.json')
const { callerToken } = JSON.parse(readFileSync(file, 'utf8')) as { callerToken: string }
const server = new MCPServerStreamableHttp({
  name: 'accounts',
  url: `http://127.0.0.1:${env.TOOL_SERVER_PORT || 4200}/mcp`,
  requestInit: { headers: { authorization: `Bearer ${callerToken}` } },
})
await server.connect()

interface Call {
  readonly name: string
  readonly args: Record<string, unknown>
  readonly callId: string | undefined
}
const runId = `run_${crypto.randomUUID()}`
const send = async ({ name, args, callId }: Call) => {
  const meta = { 'holdpoint/call_id': callId, 'holdpoint/run_id': runId }
  const result = await server.callToolResult(name, args, meta)
  const text = result.content.map((part) => (part.type === 'text' ? part.text : '')).join('')
  return { ...result, text }
}

// `new Agent({ mcpServers: [server] })` would do without call ids, which the SDK does not send by itself.
const calls: Call[] = []
const tools = (await server.listTools()).map(({ name, description = '', inputSchema }) =>
  tool({
    name,
    description,
    parameters: { ...inputSchema, additionalProperties: true },
    strict: false,
    execute: async (args, _runContext, details) => {
      const call = { name, args: args as Record<string, unknown>, callId: details?.toolCall?.callId }
      calls.push(call)
      return (await send(call)).text
    },
  }),
)

const mail = { to: 'ada@example.com', subject: 'Invoice INV-1001', text: 'It is due on Friday.' }
const scripted = new ScriptedModel([
  [functionCall('send_email', mail, { callId: 'call_1' })],
  [assistantMessage('The mail is sent.')],
])
if (!env.OPENAI_API_KEY) {
  console.log('OPENAI_API_KEY is not set: the agent runs on a scripted model.')
  setTracingDisabled(true)
}
const model = env.OPENAI_API_KEY ? env.OPENAI_MODEL || getDefaultModel() : scripted
const result = await run(
  new Agent({ name: 'accounts-assistant', model, tools }),
  `Send this: ${JSON.stringify(mail)}`,
)
console.log(`The model says: ${result.finalOutput}`)

// As if the answer had been lost on its way: the same call once more.
const call = calls.find(({ name }) => name === 'send_email') ?? assert.fail('A mail must be sent.')
const repeated = await send(call)
await server.close()
console.log(`The same call again: ${repeated.text}`)
assert.notEqual(repeated.isError, true, 'The mail must be allowed.')
assert.equal(repeated._meta?.['holdpoint/replayed'], true, 'The second time it must not be sent.')
console.log('Sent twice, mailed once.')
