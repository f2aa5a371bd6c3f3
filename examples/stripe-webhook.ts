// A webhook of Stripe behind a hold point, on Express 5: the signature is checked over the raw body, then the authority is
// asked, and only then an order is fulfilled. A forged delivery asks nothing; one that comes twice does nothing twice; while
// an operator has stopped payments it is answered 403, and what Stripe delivers again after the restore is done, once.
//
// While `npm start` runs in another terminal:
//   MACHINEID_BASE_URL=http://127.0.0.1:4100 MACHINEID_ORG_KEY_FILE=data/tool-server.json LOG_LEVEL=warn \
//     npx node --conditions=holdpoint-source examples/stripe-webhook.ts
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
import Stripe from 'stripe'

const guard = await startGuard({ surfaces: ['payments', 'email'] })
const payments = guard.surface('payments')

const fulfilled: string[] = [] // stands in for a warehouse
const fulfil = defineEffect({
  kind: 'write',
  name: 'fulfil_order',
  key: (orderId: string) => orderId,
  run: (orderId) => ({ shipment: fulfilled.push(orderId) }),
})

// From the dashboard: the secret of this endpoint. Checking a signature needs no key of the account.
const endpointSecret = `whsec_${randomBytes(24).toString('hex')}`
const stripe = new Stripe('not_used')

const app = express()
app.post(
  '/webhooks/stripe', // before express.json(), or behind express.raw({ type: '*/*' })
  webhookGate(payments, {
    name: 'stripe',
    effects: { fulfil },
    verify: ({ body, headers }) =>
      stripe.webhooks.constructEvent(body, headers['stripe-signature'] ?? '', endpointSecret),
    eventId: (event) => event.id,
    handle: async (event, { effects }) => {
      if (event.type !== 'checkout.session.completed') return
      await effects.fulfil(event.data.object.client_reference_id ?? assert.fail('It names no order.'))
    },
  }),
)
const server = app.listen(0, '127.0.0.1')
await once(server, 'listening')
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/webhooks/stripe`

/** What Stripe sends, and its answer. With another secret it is somebody else who sends it. */
async function deliver(orderId: string, secret = endpointSecret) {
  const session = { object: 'checkout.session', client_reference_id: orderId }
  const event = { object: 'event', id: `evt_${orderId}`, type: 'checkout.session.completed' }
  const payload = JSON.stringify({ ...event, data: { object: session } })
  const signature = stripe.webhooks.generateTestHeaderString({ payload, secret })
  const headers = { 'content-type': 'application/json', 'stripe-signature': signature }
  const response = await fetch(url, { method: 'POST', headers, body: payload })
  const answer = (await response.json()) as { code?: string; request_id?: string }
  return { ...answer, status: response.status }
}

let decisions = 0
guard.subscribe(({ kind }) => void (decisions += kind === 'decision' ? 1 : 0))
const order = `order-${Date.now()}` // new in each run of this program: the journal remembers earlier ones

// The operator's key. In production it never lies on the machine that takes webhooks.
const operatorFile = join(env.DATA_DIR || 'data', 'operator.json')
const { operator: orgKey } = JSON.parse(readFileSync(operatorFile, 'utf8')) as { operator: string }
const operator = new MachineID({ baseUrl: env.MACHINEID_BASE_URL ?? '', orgKey })
const device = payments.deviceIds.at(-1) ?? assert.fail()

const forged = await deliver(`${order}-1`, 'whsec_of_somebody_else')
assert.deepEqual([forged.status, forged.code], [400, 'WEBHOOK_NOT_VERIFIED'])
assert.equal(decisions, 0)
console.log('A forged delivery: 400, and nothing was asked.')

assert.equal((await deliver(`${order}-1`)).status, 200)
assert.equal((await deliver(`${order}-1`)).status, 200)
assert.deepEqual(fulfilled, [`${order}-1`])
console.log('A genuine one, delivered twice: fulfilled once.')

const revoked = await operator.revoke(device, { reason: 'something looks wrong' })
assert.ok(revoked.ok, 'The operator must be able to stop payments.')
try {
  const denied = await deliver(`${order}-2`)
  assert.deepEqual([denied.status, denied.code], [403, 'DEVICE_REVOKED'])
  assert.ok(denied.request_id)
  assert.deepEqual(fulfilled, [`${order}-1`])
  console.log(
    `${device} is revoked: 403 DEVICE_REVOKED, request ${denied.request_id}, nothing was fulfilled.`,
  )
} finally {
  const restored = await operator.restore(device, { ifEpoch: revoked.value.epoch, reason: 'all is well' })
  assert.ok(restored.ok, 'The operator must be able to restore payments.')
}
assert.equal((await deliver(`${order}-2`)).status, 200)
assert.equal((await deliver(`${order}-2`)).status, 200)
assert.deepEqual(fulfilled, [`${order}-1`, `${order}-2`])
console.log('It is restored: what Stripe delivers again is fulfilled, once.')

server.close()
server.closeAllConnections()
await operator.close()
await guard.close()
