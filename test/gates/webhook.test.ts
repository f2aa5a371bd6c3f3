import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import express, { type RequestHandler } from 'express'
import { afterEach, describe, expect, test } from 'vitest'

import { webhookGate } from '../../src/gates/webhook.ts'
import { defineEffect, EffectNotPerformed } from '../../src/guard/effect.ts'
import { PAYMENTS, SERVER } from '../fixtures/guard.ts'
import {
  closeServers,
  fulfilling,
  gateway,
  PAID,
  post,
  served,
  shop,
  signed,
  verify,
  type OrderPaid,
} from './webhook-shop.ts'

afterEach(closeServers)

describe('a delivery whose signature is right', () => {
  test('is asked for at task and at side_effect, then carried out, and answered 200', async () => {
    const made = await shop()
    const { authority, fulfilled } = made
    const url = await fulfilling(made)
    const { status, headers, text } = await post(url, signed(PAID))
    expect({ status, text }).toEqual({ status: 200, text: '{"received":true}' })
    expect(headers.get('cache-control')).toBe('no-store')
    expect(authority.boundaries).toEqual(['startup', 'task', 'side_effect'])
    expect(authority.questions[1]).toMatchObject({
      tool: 'shop',
      callId: 'shop:evt_1',
      deviceIds: [SERVER, PAYMENTS],
    })
    expect(fulfilled).toEqual([17])
  })

  test.each([
    ['behind express.raw', express.raw({ type: '*/*' })],
    ['behind express.json for other types', express.json({ type: 'application/vnd.other' })],
  ])('is verified over its raw bytes %s', async (_how, parser) => {
    const { guard } = await shop()
    const bodies: Buffer[] = []
    const url = await gateway(
      guard,
      {
        effects: 'none',
        verify: (request) => (bodies.push(request.body), verify(request)),
        handle: () => undefined,
      },
      parser,
    )
    const delivery = signed({ ...PAID, name: 'Zoë' })
    expect(await post(url, delivery)).toMatchObject({ status: 200 })
    expect(String(bodies[0])).toBe(delivery.body)
  })

  test('works on a plain node:http server too, with a verify that takes its time', async () => {
    const made = await shop()
    const gate = webhookGate(made.guard, {
      name: 'shop',
      effects: { fulfil: made.fulfil() },
      verify: async (request) => (await Promise.resolve(), verify(request)),
      eventId: ({ id }) => id,
      handle: (event, { effects }) => effects.fulfil(event),
    })
    const url = await served((request, response) => void gate(request, response))
    expect(await post(url, signed(PAID))).toMatchObject({ status: 200 })
    expect(made.fulfilled).toEqual([17])
  })

  test('does nothing twice when it comes twice, one after the other or at once', async () => {
    const made = await shop()
    const url = await fulfilling(made)
    const delivery = signed(PAID)
    const [first, second] = await Promise.all([post(url, delivery), post(url, delivery)])
    // Whichever came second was told the outcome of the first, or to come again.
    expect([200, 409]).toContain(first.status)
    expect([200, 409]).toContain(second.status)
    expect(await post(url, delivery)).toMatchObject({ status: 200 })
    expect(made.fulfilled).toEqual([17])
  })
})

describe('a delivery that is not verified is answered 400 and asks nothing', () => {
  test.each([
    ['one with another body', { ...signed(PAID), body: JSON.stringify({ ...PAID, order: 1 }) }],
    ['one with the signature of an hour ago', signed(PAID, new Date(Date.now() - 3_600_000))],
    ['one without a signature', { body: JSON.stringify(PAID), headers: {} }],
    ['an empty one', { body: '', headers: signed(PAID).headers }],
  ])('%s', async (_which, delivery) => {
    const made = await shop()
    const url = await fulfilling(made)
    const { status, body, text, headers } = await post(url, delivery)
    expect(status).toBe(400)
    expect(body).toMatchObject({
      error: 'webhook_not_verified',
      code: 'WEBHOOK_NOT_VERIFIED',
      executed: false,
    })
    expect(body['request_id']).toMatch(/^local_/)
    expect(text).not.toMatch(/stack|at .*\.ts|whsec/)
    expect(headers.get('cache-control')).toBe('no-store')
    expect(made.authority.boundaries).toEqual(['startup'])
    expect(made.fulfilled).toEqual([])
    expect(made.lines.at(-1)).toMatchObject({ msg: 'webhook refused', request_id: body['request_id'] })
  })

  test.each([[false], [true], [undefined], [null]])(
    'one whose verify answers %s in place of an event',
    async (answer) => {
      const made = await shop()
      const url = await gateway(made.guard, {
        effects: { fulfil: made.fulfil() },
        verify: () => answer as never,
        handle: (event, { effects }) => effects.fulfil(event),
      })
      expect(await post(url, signed(PAID))).toMatchObject({
        status: 400,
        body: { code: 'WEBHOOK_NOT_VERIFIED' },
      })
      expect(made.fulfilled).toEqual([])
    },
  )

  test.each([[undefined], [''], ['x'.repeat(257)], ['a\nb'], [['a', 'b']]])(
    'one whose event id is no short text, since it could not be known again: case %#',
    async (id) => {
      const made = await shop()
      const url = await gateway(made.guard, {
        effects: 'none',
        eventId: () => id,
        handle: () => undefined,
      })
      expect(await post(url, signed(PAID))).toMatchObject({
        status: 400,
        body: { code: 'WEBHOOK_EVENT_ID_MISSING' },
      })
      expect(made.authority.boundaries).toEqual(['startup'])
    },
  )

  test('one that is too large: 413', async () => {
    const { guard, authority } = await shop()
    const url = await gateway(guard, { effects: 'none', maxBodyBytes: 64, handle: () => undefined })
    const answer = await post(url, signed({ ...PAID, note: 'x'.repeat(100) }))
    expect(answer).toMatchObject({ status: 413, body: { code: 'BODY_TOO_LARGE' } })
    expect(authority.boundaries).toEqual(['startup'])
  })

  test('one that is too large, and was read before the gate: 413', async () => {
    const { guard, authority } = await shop()
    const options = { effects: 'none', maxBodyBytes: 64, handle: () => undefined } as const
    const url = await gateway(guard, options, express.raw({ type: '*/*', limit: '1mb' }))
    const answer = await post(url, signed({ ...PAID, note: 'x'.repeat(100) }))
    expect(answer).toMatchObject({ status: 413, body: { code: 'BODY_TOO_LARGE' } })
    expect(authority.boundaries).toEqual(['startup'])
  })
})

test.each([
  ['express.json', express.json()],
  ['express.text', express.text({ type: '*/*' })],
])('behind %s, the raw body is gone: 500, and the log says what to change', async (_name, parser) => {
  const { guard, authority, lines } = await shop()
  const url = await gateway(guard, { effects: 'none', handle: () => undefined }, parser)
  const { status, body } = await post(url, signed(PAID))
  expect({ status, code: body['code'] }).toEqual({ status: 500, code: 'GUARD_MISCONFIGURED' })
  expect(lines.at(-1)).toMatchObject({ level: 'error', request_id: body['request_id'] })
  expect(lines.at(-1)?.['err']).toContain('express.raw')
  expect(authority.boundaries).toEqual(['startup'])
})

describe('a stop', () => {
  test('is answered 403 before any effect, and after the restore the next delivery is done, once', async () => {
    const made = await shop()
    const url = await fulfilling(made)
    made.authority.stop(PAYMENTS)
    const denied = await post(url, signed(PAID))
    expect(denied.status).toBe(403)
    expect(denied.body).toEqual({
      status: 'error',
      error: 'permission_denied',
      code: 'DEVICE_REVOKED',
      boundary: 'task',
      device_id: PAYMENTS,
      request_id: 'req-2',
      executed: false,
      effects: [],
      message: expect.stringContaining('restored') as string,
    })
    expect(denied.headers.get('cache-control')).toBe('no-store')
    expect(made.fulfilled).toEqual([])

    made.authority.restore(PAYMENTS)
    expect(await post(url, signed(PAID))).toMatchObject({ status: 200 })
    expect(await post(url, signed(PAID))).toMatchObject({ status: 200 })
    expect(made.fulfilled).toEqual([17])
  })

  test('between two effects is a 403 that says what happened; the next delivery does only what was left', async () => {
    const made = await shop()
    const mailed: number[] = []
    const mail = defineEffect<OrderPaid, number>({
      kind: 'email',
      name: 'mail_customer',
      key: ({ order }) => String(order),
      run: ({ order }) => mailed.push(order),
    })
    let stopNow = true
    const url = await gateway(made.guard.surface('payments'), {
      effects: { fulfil: made.fulfil(), mail },
      handle: async (event, { effects }) => {
        await effects.fulfil(event)
        if (stopNow) made.authority.stop(PAYMENTS)
        // The author's catch cannot hide a denial.
        await effects.mail(event).catch(() => undefined)
      },
    })
    const denied = await post(url, signed(PAID))
    expect(denied).toMatchObject({ status: 403, body: { boundary: 'side_effect', executed: true } })
    expect(denied.body['effects']).toEqual([
      { name: 'fulfil_order', state: 'done' },
      { name: 'mail_customer', state: 'denied' },
    ])
    stopNow = false
    made.authority.restore(PAYMENTS)
    expect(await post(url, signed(PAID))).toMatchObject({ status: 200 })
    expect({ fulfilled: made.fulfilled, mailed }).toEqual({ fulfilled: [17], mailed: [17] })
  })

  test('of one tenant stops the webhooks of that tenant only; a tenant without a surface gets nothing', async () => {
    const made = await shop({ surfaces: ['tenant-a', 'tenant-b'] })
    const byTenant = made.guard.surfaceBy(
      ['tenant-a', 'tenant-b'],
      (event: OrderPaid) => `tenant-${event.tenant}`,
    )
    const url = await gateway(byTenant, {
      effects: { fulfil: made.fulfil() },
      handle: (event, { effects }) => effects.fulfil(event),
    })
    made.authority.stop('openai-agent:test:tenant-a:01')
    const of = (tenant: string, order: number) => post(url, signed({ id: `evt_${order}`, order, tenant }))
    expect(await of('a', 1)).toMatchObject({ status: 403, body: { code: 'DEVICE_REVOKED' } })
    expect(await of('b', 2)).toMatchObject({ status: 200 })
    expect(await of('c', 3)).toMatchObject({ status: 500, body: { code: 'GUARD_MISCONFIGURED' } })
    expect(made.fulfilled).toEqual([2])
  })
})

describe('where permission or outcome is not known, the sender is told when to come again', () => {
  test('an authority that cannot be asked: 503 (G4)', async () => {
    const made = await shop()
    const url = await fulfilling(made)
    made.authority.next(() => {
      throw new Error('connect ECONNREFUSED')
    })
    const { status, headers, body } = await post(url, signed(PAID))
    expect({ status, error: body['error'] }).toEqual({ status: 503, error: 'permission_check_unavailable' })
    expect(headers.get('retry-after')).toBe('60')
    expect(made.fulfilled).toEqual([])
  })

  test('an unknown outcome: 409, and no later delivery repeats it', async () => {
    const made = await shop()
    let tries = 0
    const broken = made.fulfil({
      run: () => {
        tries += 1
        throw new Error('the line went dead')
      },
    })
    const url = await fulfilling(made, broken)
    for (const _delivery of [1, 2, 3]) {
      const { status, headers, body, text } = await post(url, signed(PAID))
      expect({ status, code: body['code'], executed: body['executed'] }).toEqual({
        status: 409,
        code: 'OUTCOME_UNKNOWN',
        executed: 'unknown',
      })
      expect(headers.get('retry-after')).toBe('60')
      expect(text).not.toContain('the line went dead')
    }
    expect(tries).toBe(1)
  })

  test('an unknown outcome that reconcile settles: the next delivery is answered 200, and nothing is repeated', async () => {
    const made = await shop()
    const unsure = made.fulfil({
      run: ({ order }) => {
        made.fulfilled.push(order)
        throw new Error('the answer never came')
      },
      reconcile: async () => ({ state: 'done', result: 1 }),
    })
    const url = await fulfilling(made, unsure)
    expect(await post(url, signed(PAID))).toMatchObject({ status: 409 })
    expect(await post(url, signed(PAID))).toMatchObject({ status: 200 })
    expect(made.fulfilled).toEqual([17])
  })

  test('work that a shutdown interrupts: 503', async () => {
    const made = await shop()
    const begun = Promise.withResolvers<void>()
    const url = await gateway(made.guard, {
      effects: 'none',
      handle: async (_event, { signal }) => {
        begun.resolve()
        if (!signal.aborted) await once(signal, 'abort')
        throw new Error('gave up')
      },
    })
    const answered = post(url, signed(PAID))
    await begun.promise
    await made.guard.close()
    const { status, headers } = await answered
    expect({ status, retryAfter: headers.get('retry-after') }).toEqual({ status: 503, retryAfter: '60' })
  })
})

describe('what a handler does', () => {
  test('throwing is 500 without detail, so that the sender delivers it again; the log has the error', async () => {
    const made = await shop()
    let broken = true
    const url = await gateway(made.guard, {
      effects: { fulfil: made.fulfil() },
      handle: (event, { effects }) => {
        if (broken) throw new Error('SELECT failed for tenant 7')
        return effects.fulfil(event)
      },
    })
    const failed = await post(url, signed(PAID))
    expect(failed).toMatchObject({ status: 500, body: { error: 'tool_failed', code: 'TOOL_FAILED' } })
    expect(failed.text).not.toMatch(/SELECT|stack|\.ts/)
    expect(made.lines).toContainEqual(
      expect.objectContaining({ err: 'SELECT failed for tenant 7', request_id: failed.body['request_id'] }),
    )
    broken = false
    expect(await post(url, signed(PAID))).toMatchObject({ status: 200 })
    expect(made.fulfilled).toEqual([17])
  })

  test('an effect that surely did not happen is 500 too, and is tried again at the next delivery', async () => {
    const made = await shop()
    let declined = true
    const effect = made.fulfil({
      run: ({ order }) => {
        if (declined) throw new EffectNotPerformed('out of stock')
        return made.fulfilled.push(order)
      },
    })
    const url = await fulfilling(made, effect)
    expect(await post(url, signed(PAID))).toMatchObject({
      status: 500,
      body: { code: 'EFFECT_NOT_PERFORMED', executed: false },
    })
    declined = false
    expect(await post(url, signed(PAID))).toMatchObject({ status: 200 })
    expect(made.fulfilled).toEqual([17])
  })

  test('an event id that comes back with other contents is not done again: 409', async () => {
    const made = await shop()
    const url = await fulfilling(made)
    await post(url, signed(PAID))
    const conflict = await post(url, signed({ ...PAID, order: 18 }))
    expect(conflict).toMatchObject({ status: 409, body: { error: 'effect_key_conflict' } })
    expect(conflict.headers.get('retry-after')).toBe(null)
    expect(made.fulfilled).toEqual([17])
  })

  test('giving a result tells the sender nothing of it, unless reply says what', async () => {
    const { guard } = await shop()
    const handle = () => ({ customer: 'C. Lark', iban: 'DE00' })
    const silent = await gateway(guard, { effects: 'none', handle })
    expect((await post(silent, signed(PAID))).text).toBe('{"received":true}')
    const telling = await gateway(guard, { effects: 'none', handle, reply: () => ({ challenge: 'abc' }) })
    expect((await post(telling, signed(PAID))).text).toBe('{"challenge":"abc"}')
  })

  test.each([
    ['throws', () => JSON.parse('{') as unknown],
    ['gives what JSON cannot hold', () => 1n],
    ['gives nothing', () => undefined],
  ])('a reply that %s is still a 200: it was done', async (_how, reply) => {
    const made = await shop()
    const url = await gateway(made.guard, { effects: 'none', handle: () => 1, reply })
    expect(await post(url, signed(PAID))).toMatchObject({ status: 200, text: '{"received":true}' })
  })

  test('goes on when the sender hangs up: a delivery is a message, and its repeat does nothing twice', async () => {
    const made = await shop()
    const sender = hangingUp()
    const begun = Promise.withResolvers<void>()
    const ended = Promise.withResolvers<boolean>()
    const url = await gateway(
      made.guard,
      {
        effects: { fulfil: made.fulfil() },
        handle: async (event, { effects, signal }) => {
          begun.resolve()
          await sender.gone
          await effects.fulfil(event)
          ended.resolve(signal.aborted)
        },
      },
      sender.watch,
    )
    const { body, headers } = signed(PAID)
    const hangUp = sender.send(url, { headers, body })
    await begun.promise
    hangUp()
    expect(await ended.promise).toBe(false)
    expect(made.fulfilled).toEqual([17])
    expect(await post(url, signed(PAID))).toMatchObject({ status: 200 })
    expect(made.fulfilled).toEqual([17])
  })

  test('never begins when the sender hangs up before its body is there', async () => {
    const made = await shop()
    const sender = hangingUp()
    const url = await gateway(made.guard, { effects: 'none', handle: () => undefined }, sender.watch)
    const hangUp = sender.send(url, { headers: { 'content-length': '1000' }, body: '{"id":' })
    await sender.come
    hangUp()
    await sender.gone
    expect(await post(url, signed(PAID))).toMatchObject({ status: 200 })
    expect(made.authority.boundaries).toEqual(['startup', 'task'])
    // Whoever can reach the port can do that: it must not look like an error of ours.
    expect(made.lines).toContainEqual(expect.objectContaining({ level: 'warn', code: 'BODY_INCOMPLETE' }))
  })
})

/** A sender that does not wait for its answer. `come` and `gone`: as the server sees it. */
function hangingUp() {
  const come = Promise.withResolvers<void>()
  const gone = Promise.withResolvers<void>()
  const watch: RequestHandler = (_request, response, next) => {
    come.resolve()
    response.once('close', gone.resolve)
    next()
  }
  const send = (url: string, { headers, body }: { headers: Record<string, string>; body: string }) => {
    const sender = httpRequest(url, { method: 'POST', headers })
    sender.on('error', () => {})
    sender.write(body)
    if (headers['content-length'] === undefined) sender.end()
    return () => void sender.destroy()
  }
  return { watch, send, come: come.promise, gone: gone.promise }
}

describe('a gate that cannot work is not made', () => {
  const right = {
    name: 'shop',
    effects: 'none',
    verify,
    eventId: () => 'e',
    handle: () => undefined,
  } as const

  test.each([
    ['without a name', { ...right, name: '' }],
    ['without a verify', { ...right, verify: undefined }],
    ['without an eventId', { ...right, eventId: undefined }],
    ['without effects', { ...right, effects: undefined }],
    ['with an effect that defineEffect did not make', { ...right, effects: { fulfil: () => 1 } }],
    ['with a largest body that bounds nothing', { ...right, maxBodyBytes: Number.NaN }],
    ['with a Retry-After that is no time', { ...right, retryAfterSeconds: -1 }],
  ])('%s', async (_how, options) => {
    const { guard } = await shop()
    expect(() => webhookGate(guard, options as never)).toThrow(/webhookGate/)
  })
})
