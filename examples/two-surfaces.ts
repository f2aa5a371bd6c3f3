// Two surfaces of one agent. An operator stops payments while it works: it can no longer pay, but still sends mail.
// Only someone who has seen the last stop can undo it.
//
// While `npm start` runs in another terminal:
//   MACHINEID_BASE_URL=http://127.0.0.1:4100 MACHINEID_ORG_KEY_FILE=data/tool-server.json LOG_LEVEL=warn \
//     npx node --conditions=holdpoint-source examples/two-surfaces.ts
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { env } from 'node:process'
import { Agent, getDefaultModel, run, setTracingDisabled } from '@openai/agents'
import { assistantMessage, functionCall, ScriptedModel } from '@openai/agents/testing'
import { guardedTool, MachineID, startGuard } from 'holdpoint'
import { z } from 'zod'

const guard = await startGuard({ surfaces: ['payments', 'email'] })

const done = { paid: 0, mailed: 0 } // stands in for a bank and a mail server
const parameters = z.object({ orderNo: z.number().int() })
const pay = guardedTool(guard.surface('payments'), {
  name: 'pay_order',
  description: 'Pay one order.',
  parameters,
  effect: 'payment',
  key: ({ orderNo }) => String(orderNo),
  commit: () => ({ paid: ++done.paid }),
})
const mail = guardedTool(guard.surface('email'), {
  name: 'mail_customer',
  description: 'Tell the customer of an order about its state by mail.',
  parameters,
  effect: 'email',
  key: ({ orderNo }) => String(orderNo),
  commit: () => ({ mailed: ++done.mailed }),
})

if (!env.OPENAI_API_KEY) {
  console.log('OPENAI_API_KEY is not set: the agent runs on a scripted model.')
  setTracingDisabled(true)
}
async function handleOrder(orderNo: number): Promise<void> {
  const calls = [
    functionCall('pay_order', { orderNo }, { callId: `call_pay_${orderNo}` }),
    functionCall('mail_customer', { orderNo }, { callId: `call_mail_${orderNo}` }),
  ]
  const scripted = new ScriptedModel([calls, [assistantMessage('Done, as far as I was allowed.')]])
  const agent = new Agent({
    name: 'orders',
    instructions: 'Pay the order and mail its customer: each once, and both whatever the other tool answers.',
    model: env.OPENAI_API_KEY ? env.OPENAI_MODEL || getDefaultModel() : scripted,
    tools: [pay, mail],
  })
  await run(agent, `Order ${orderNo}`)
}

// The operator's key. In production it never lies on the agent's machine.
const operatorFile = join(env.DATA_DIR || 'data', 'operator.json')
const { operator: orgKey } = JSON.parse(readFileSync(operatorFile, 'utf8')) as { operator: string }
const operator = new MachineID({ baseUrl: env.MACHINEID_BASE_URL ?? '', orgKey })
const device = guard.surface('payments').deviceIds.at(-1) ?? assert.fail()
const orderNo = Date.now() // new in each run of this program: the journal remembers earlier ones

await handleOrder(orderNo)
assert.deepEqual(done, { paid: 1, mailed: 1 })

const first = await operator.revoke(device, { reason: 'something looks wrong' })
const second = await operator.revoke(device, { reason: 'somebody else has seen it too' })
assert.ok(first.ok && second.ok, 'The operator must be able to stop payments.')
try {
  await handleOrder(orderNo + 1)
  assert.deepEqual(done, { paid: 1, mailed: 2 })
  console.log(`${device} is revoked: the agent still sends mail, and pays nothing.`)
  const stale = await operator.restore(device, { ifEpoch: first.value.epoch })
  assert.equal(!stale.ok && stale.code, 'EPOCH_STALE')
  console.log('Who has seen only the first of two stops cannot undo them: EPOCH_STALE.')
} finally {
  const restored = await operator.restore(device, { ifEpoch: second.value.epoch, reason: 'all is well' })
  assert.ok(restored.ok, 'Who has seen the last stop can undo it.')
}
await handleOrder(orderNo + 2)
assert.deepEqual(done, { paid: 2, mailed: 3 })
console.log('It is restored: the agent pays again.')

await operator.close()
await guard.close()
