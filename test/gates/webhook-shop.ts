import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import express, { type RequestHandler } from 'express'
import { Webhook } from 'standardwebhooks'

import type { EffectsOrNone } from '../../src/gates/effects.ts'
import { webhookGate, type WebhookGateOptions } from '../../src/gates/webhook.ts'
import type { WebhookRequest } from '../../src/gates/webhook-body.ts'
import type { Place } from '../../src/gates/place.ts'
import { defineEffect, type EffectOptions } from '../../src/guard/effect.ts'
import type { GuardOptions } from '../../src/guard/guard.ts'
import { startedGuard, type TestGuard } from '../fixtures/guard.ts'

// A shop on a real Express 5 server that is told of paid orders by signed webhooks, on a scripted authority.

const SENDER = new Webhook(`whsec_${Buffer.alloc(24, 7).toString('base64')}`)
const closers: (() => Promise<void>)[] = []

/** Ends every server that was made. */
export async function closeServers(): Promise<void> {
  for (const close of closers.splice(0)) await close()
}

export interface OrderPaid {
  readonly id: string
  readonly order: number
  readonly tenant?: string
}

export function verify({ body, headers }: WebhookRequest): OrderPaid {
  return SENDER.verify(body, headers as Record<string, string>) as OrderPaid
}

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: Record<string, unknown>
  readonly text: string
}

export interface Shop extends TestGuard {
  /** Orders that were fulfilled, in order. */
  readonly fulfilled: number[]
  readonly fulfil: (
    change?: Partial<EffectOptions<OrderPaid, number>>,
  ) => ReturnType<typeof defineEffect<OrderPaid, number>>
}

export async function shop(options: Partial<GuardOptions> = {}): Promise<Shop> {
  const made = await startedGuard(options)
  const fulfilled: number[] = []
  const fulfil = (change = {}) =>
    defineEffect<OrderPaid, number>({
      kind: 'write',
      name: 'fulfil_order',
      key: 'each-call',
      run: ({ order }) => fulfilled.push(order),
      ...change,
    })
  return { ...made, fulfilled, fulfil }
}

export async function served(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  closers.push(async () => {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/webhooks/shop`
}

/** A gate on a real Express 5 server, without a body parser unless one is given. */
export async function gateway<const E extends EffectsOrNone>(
  place: Place<OrderPaid>,
  options: Partial<WebhookGateOptions<OrderPaid, E, unknown>> & {
    readonly effects: E
    readonly handle: WebhookGateOptions<OrderPaid, E, unknown>['handle']
  },
  parser?: RequestHandler,
): Promise<string> {
  const app = express()
  if (parser !== undefined) app.use(parser)
  app.post(
    '/webhooks/shop',
    webhookGate(place, { name: 'shop', verify, eventId: ({ id }) => id, ...options }),
  )
  return served(app)
}

/** Fulfils the order of each event. */
export function fulfilling(shop: Shop, effect = shop.fulfil()): Promise<string> {
  return gateway(shop.guard.surface('payments'), {
    effects: { fulfil: effect },
    handle: (event, { effects }) => effects.fulfil(event),
  })
}

export function signed(event: object, at = new Date()): { body: string; headers: Record<string, string> } {
  const body = JSON.stringify(event)
  const timestamp = String(Math.floor(at.getTime() / 1000))
  const headers = {
    'content-type': 'application/json',
    'webhook-id': 'msg_1',
    'webhook-timestamp': timestamp,
    'webhook-signature': SENDER.sign('msg_1', at, body),
  }
  return { body, headers }
}

export async function post(url: string, delivery: { body: string; headers: Record<string, string> }) {
  const response = await fetch(url, { method: 'POST', ...delivery })
  const text = await response.text()
  return { status: response.status, headers: response.headers, text, body: JSON.parse(text) } as Answer
}

export const PAID = { id: 'evt_1', order: 17 } as const satisfies OrderPaid
