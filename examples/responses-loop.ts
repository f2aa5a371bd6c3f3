// A loop of one's own over the plain Responses API, without the Agents SDK: guardResponse carries out the calls of a
// response with guarded tools and gives the outputs for the next request.
//
// While `npm start` runs in another terminal:
//   MACHINEID_BASE_URL=http://127.0.0.1:4100 MACHINEID_ORG_KEY_FILE=data/tool-server.json LOG_LEVEL=warn \
//     npx node --conditions=holdpoint-source examples/responses-loop.ts
import assert from 'node:assert/strict'
import { env } from 'node:process'
import { guardedTool, guardedToolCore, guardResponse, startGuard } from 'holdpoint'
import OpenAI from 'openai'
import { z } from 'zod'

const guard = await startGuard({ surfaces: ['email'] })

const sent: string[] = [] // stands in for a mail server
const sendReminder = guardedTool(guard.surface('email'), {
  name: 'send_reminder',
  description: 'Remind the customer of an invoice by mail.',
  parameters: z.object({ invoiceId: z.string() }),
  effect: 'email',
  key: 'each-call', // a customer may be reminded twice; a call that is repeated sends nothing anew
  commit: ({ invoiceId }, { idempotencyKey }) => {
    sent.push(invoiceId)
    return { messageId: `${idempotencyKey}@example.com` }
  },
})
const guarded = [sendReminder]
const tools = guarded.map((tool): OpenAI.Responses.FunctionTool => {
  const { name, description, parameters, strict } = guardedToolCore(tool) ?? assert.fail()
  return { type: 'function', name, description, parameters, strict }
})

const scripted = env.OPENAI_API_KEY ? undefined : await startScriptedServer()
const openai = new OpenAI(scripted && { baseURL: `${scripted.url}/v1`, apiKey: 'none' })

const runId = `run_${crypto.randomUUID()}` // call ids are unique only within a run
const request = { model: env.OPENAI_MODEL || 'gpt-5', tools }
let response = await openai.responses.create({ ...request, input: 'Remind the customer of INV-1001.' })
for (let turn = 0; turn < 10; turn++) {
  const outputs = await guardResponse(guard, guarded, response, { runId })
  if (outputs.length === 0) break
  console.log(`The tools answered: ${JSON.stringify(outputs.map(({ output }) => output))}`)
  response = await openai.responses.create({ ...request, input: outputs, previous_response_id: response.id })
}
await guard.close()
await scripted?.stop()

console.log(`The model says: ${response.output_text}`)
assert.deepEqual(sent, ['INV-1001'], 'The customer must be reminded exactly once.')
console.log('One reminder was sent.')

/** Speaks the Responses API on this machine: asks for one reminder, then says what came of it. */
async function startScriptedServer() {
  console.log('OPENAI_API_KEY is not set: a scripted server stands in for the Responses API.')
  const { LLMock } = await import('@copilotkit/aimock').catch((cause: unknown) => {
    throw new Error('Set OPENAI_API_KEY, or take the scripted server: npm install @copilotkit/aimock', {
      cause,
    })
  })
  const server = new LLMock({ port: 0 })
  const call = { name: 'send_reminder', arguments: '{"invoiceId":"INV-1001"}', id: 'call_1' }
  server.on({ hasToolResult: false }, { toolCalls: [call] })
  server.on({ hasToolResult: true }, { content: 'That is what I was told.' })
  await server.start()
  return server
}
