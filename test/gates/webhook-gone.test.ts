// Senders that are gone when the gate wants their body: each delivery settles all the same. Real sockets, node:http.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { afterEach, expect, test } from 'vitest'

import { webhookGate } from '../../src/gates/webhook.ts'
import { closeServers, served, shop, verify } from './webhook-shop.ts'

afterEach(closeServers)

async function endpoint(before: (request: IncomingMessage) => Promise<unknown>) {
  const made = await shop()
  const gate = webhookGate(made.guard, {
    name: 'shop',
    effects: 'none',
    maxBodyBytes: 64,
    verify,
    eventId: ({ id }) => id,
    handle: () => undefined,
  })
  const settled = Promise.withResolvers<void>()
  const take = async (request: IncomingMessage, response: ServerResponse) => {
    await before(request)
    await gate(request, response)
    settled.resolve()
  }
  const { port } = new URL(await served((request, response) => void take(request, response)))
  const sender = connect(Number(port), '127.0.0.1')
  sender.on('error', () => {})
  return { ...made, sender, settled: settled.promise }
}

const BEGIN = 'POST /webhooks/shop HTTP/1.1\r\nhost: shop\r\ncontent-length: 1000000\r\n\r\n'

test('a sender that was gone before the gate was reached', async () => {
  const begun = Promise.withResolvers<void>()
  const { sender, settled, lines, authority } = await endpoint((request) => {
    begun.resolve()
    // What stands before the gate takes its time.
    return new Promise((resolve) => request.once('close', resolve))
  })
  sender.write(`${BEGIN}{"id"`)
  await begun.promise
  sender.destroy()
  await settled
  expect(lines.at(-1)).toMatchObject({ level: 'warn', code: 'BODY_INCOMPLETE' })
  expect(authority.boundaries).toEqual(['startup'])
})

test('a sender of far too much, whom the server hangs up on', async () => {
  const { sender, settled, lines } = await endpoint(async () => {})
  sender.write(BEGIN + 'x'.repeat(100_000))
  await settled
  expect(lines.at(-1)).toMatchObject({ level: 'warn', code: 'BODY_TOO_LARGE' })
})
