// A webhook of OpenAI behind a hold point, on Express 5: a response that ran in the background is ready, and its customer
// is mailed. The signature (Standard Webhooks) is checked over the raw body, then the authority is asked, and only then the
// mail goes out. While an operator has stopped mail it is answered 403; what OpenAI delivers again after the restore is
// mailed, once.
//
// While `npm start` runs in another terminal:
//   MACHINEID_BASE_URL=http://127.0.0.1:4100 MACHINEID_ORG_KEY_FILE=data/tool-server.json LOG_LEVEL=warn \
//     npx node --conditions=holdpoint-source examples/openai-webhook.ts
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { env } from 'node:process'
import express from 'express'
import { MachineID } from 'holdpoint/client'
import { defineEffect, startGuard, webhookGate } from 'holdpoint/gates'
import OpenAI from 'openai'
import { Webhook } from 'standardwebhooks'

const guard = await startGuard({ surfaces: ['payments', 'email'] })
const email = guard.surface('email')

const mailed: string[] = [] // stands in for a mail server
const mail = defineEffect({
  kind: 'email',
  name: 'mail_result',
  key: (responseId: string) => responseId,
  run: (responseId) => void mailed.push(responseId),
})

// From the settings of the project: the secret of this endpoint. Checking a signature needs no key of the API.
const webhookSecret = `whsec_${randomBytes(32).toString('base64')}`
const openai = new OpenAI({ apiKey: 'not used', webhookSecret })

const app = express()
app.post(
  '/webhooks/openai', // before express.json(), or behind express.raw({ type: '*/*' })
  webhookGate(email, {
    name: 'openai',
    effects: { mail },
    verify: ({ body, headers }) => openai.webhooks.unwrap(body.toString('utf8'), headers),
    eventId: (event) => event.id,
    handle: async (event, { effects }) => {
      if (event.type === 'response.completed') await effects.mail(event.data.id)
    },
  }),
)
const server = app.listen(0, '127.0.0.1')
await once(server, 'listening')
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/webhooks/openai`

/** What OpenAI sends, and its answer. With another secret it is somebody else who sends it. */
async function deliver(responseId: string, secret = webhookSecret) {
  const at = new Date()
  const event = { object: 'event', id: `evt_${responseId}`, type: 'response.completed' }
  const createdAt = Math.floor(at.getTime() / 1000)
  const body = JSON.stringify({ ...event, created_at: createdAt, data: { id: responseId } })
  const id = `wh_${responseId}`
  const headers = {
    'content-type': 'application/json',
    'webhook-id': id,
    'webhook-timestamp': String(createdAt),
    'webhook-signature': new Webhook(secret).sign(id, at, body),
  }
  const response = await fetch(url, { method: 'POST', headers, body })
  const answer = (await response.json()) as { code?: string; request_id?: string }
  return { ...answer, status: response.status }
}

let decisions = 0
guard.subscribe(({ kind }) => void (decisions += kind === 'decision' ? 1 : 0))
const run = `resp_${Date.now()}` // new in each run of this program: the journal remembers earlier ones

// The operator's key. In production it never lies on the machine that takes webhooks.
const operatorFile = join(env.DATA_DIR || 'data', 'operator.json')
const { operator: orgKey } = JSON.parse(readFileSync(operatorFile, 'utf8')) as { operator: string }
const operator = new MachineID({ baseUrl: env.MACHINEID_BASE_URL ?? '', orgKey })
const device = email.deviceIds.at(-1) ?? assert.fail()

const forged = await deliver(`${run}_1`, `whsec_${randomBytes(32).toString('base64')}`)
assert.deepEqual([forged.status, forged.code], [400, 'WEBHOOK_NOT_VERIFIED'])
assert.equal(decisions, 0)
console.log('A forged delivery: 400, and nothing was asked.')

assert.equal((await deliver(`${run}_1`)).status, 200)
assert.equal((await deliver(`${run}_1`)).status, 200)
assert.deepEqual(mailed, [`${run}_1`])
console.log('A genuine one, delivered twice: mailed once.')

const revoked = await operator.revoke(device, { reason: 'something looks wrong' })
assert.ok(revoked.ok, 'The operator must be able to stop mail.')
try {
  const denied = await deliver(`${run}_2`)
  assert.deepEqual([denied.status, denied.code], [403, 'DEVICE_REVOKED'])
  assert.ok(denied.request_id)
  assert.deepEqual(mailed, [`${run}_1`])
  console.log(`${device} is revoked: 403 DEVICE_REVOKED, request ${denied.request_id}, nothing was mailed.`)
} finally {
  const restored = await operator.restore(device, { ifEpoch: revoked.value.epoch, reason: 'all is well' })
  assert.ok(restored.ok, 'The operator must be able to restore mail.')
}
assert.equal((await deliver(`${run}_2`)).status, 200)
assert.equal((await deliver(`${run}_2`)).status, 200)
assert.deepEqual(mailed, [`${run}_1`, `${run}_2`])
console.log('It is restored: what OpenAI delivers again is mailed, once.')

server.close()
server.closeAllConnections()
await operator.close()
await guard.close()
