import { createServer } from 'node:net'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { guardedToolCore } from '../../src/agents/guarded-tool.ts'
import { idempotencyKeyOf } from '../../src/guard/effect.ts'
import { reconcileUnknown } from '../../src/guard/settle-unknown.ts'
import { createLedger, type FileLedger } from '../../tools/ledger.ts'
import { sendPayment } from '../../tools/send-payment.ts'
import { createStripePayments, type StripePaymentsOptions } from '../../tools/stripe-payments.ts'
import { selfSigned } from '../fixtures/certificate.ts'
import { startTestStripe, STRIPE_FAULTS, type StripeFault, type TestStripe } from '../fixtures/stripe.ts'
import { DAY_MS, sinkWorld, type SinkWorld } from './world.ts'

const INVOICE = { invoiceId: 'INV-1001', amountCents: 12_500 }
const PATIENT_MS = 10_000
const HASTY_MS = 150
const RUNS = Number(process.env['STRIPE_RUNS'] ?? 60)

interface PayWorld extends SinkWorld {
  readonly stripe: TestStripe
  readonly ledger: FileLedger
  /** How long the client waits for Stripe. */
  timeoutMs: number
  /** An operator has Stripe asked about the only unknown payment. */
  reconcile(): ReturnType<typeof reconcileUnknown>
  pay(args?: object, at?: Parameters<SinkWorld['call']>[2]): ReturnType<SinkWorld['call']>
}

async function payWorld(
  options: Partial<StripePaymentsOptions> & { declineCode?: string } = {},
): Promise<PayWorld> {
  const { declineCode, ...overrides } = options
  const world = await sinkWorld()
  const stripe = await startTestStripe(declineCode === undefined ? {} : { declineCode })
  const ledger = createLedger({ file: join(world.dir, 'ledger.sqlite') })
  const paying = () =>
    createStripePayments({
      apiKey: stripe.apiKey,
      baseUrl: stripe.url,
      book: ledger,
      timeoutMs: made.timeoutMs,
      ...overrides,
    })
  const dispose = world[Symbol.asyncDispose]
  const made: PayWorld = Object.assign(world, {
    stripe,
    ledger,
    timeoutMs: PATIENT_MS,
    reconcile: async () => {
      const [entry] = await world.journal.listUnknown()
      const [effect] = guardedToolCore(sendPayment(world.guard, paying()))?.effects ?? []
      if (entry === undefined || effect === undefined) throw new Error('nothing is unknown')
      return reconcileUnknown(world.guard, entry, effect, 'olga')
    },
    pay: (args: object = INVOICE, at?: Parameters<SinkWorld['call']>[2]) =>
      world.call(sendPayment(world.guard, paying()), args, at),
    [Symbol.asyncDispose]: async () => {
      await dispose()
      await stripe.close()
      ledger.close()
    },
  })
  return made
}

let world: PayWorld
beforeEach(async () => {
  world = await payWorld()
})
afterEach(async () => {
  await world[Symbol.asyncDispose]()
})

describe('a payment', () => {
  test('is one PaymentIntent with invoice and key, under the key of the effect, and the book marks it paid', async () => {
    const told = await world.pay()
    expect(told.result).toMatchObject({ ...INVOICE, paymentId: 'pi_test_1' })
    expect(world.stripe.charges).toHaveLength(1)
    const [create] = world.stripe.creates
    expect(create?.params).toEqual({
      amount: '12500',
      currency: 'usd',
      payment_method: 'pm_card_visa',
      confirm: 'true',
      error_on_requires_action: 'true',
      'automatic_payment_methods[enabled]': 'true',
      'automatic_payment_methods[allow_redirects]': 'never',
      description: 'Invoice INV-1001',
      'metadata[invoice_id]': 'INV-1001',
      'metadata[holdpoint_key]': create?.idempotencyKey,
    })
    const key = JSON.stringify(['o_test', 'local', 'send_payment', 'business', 'INV-1001'])
    expect(create?.idempotencyKey).toBe(idempotencyKeyOf(key))
    expect(world.ledger.invoice('INV-1001')?.status).toBe('paid')
    expect(world.ledger.payments()).toEqual([told.result])
  })

  test('that is asked for again is replayed, and Stripe hears nothing', async () => {
    const first = await world.pay()
    const again = await world.pay()
    expect([again.replayed, again.result.result]).toEqual([true, first.result])
    expect(world.stripe.creates).toHaveLength(1)
  })

  test('of a wrong amount, an unknown invoice, or one that another caller paid is refused before anything is sent', async () => {
    await world.pay({ invoiceId: 'INV-1002', amountCents: 4820 }, { caller: 'ann' })
    for (const [args, reason] of [
      [{ invoiceId: 'INV-1001', amountCents: 1 }, /open with 12500 cents, not 1/],
      [{ invoiceId: 'INV-9', amountCents: 1 }, /no invoice INV-9/],
      [{ invoiceId: 'INV-1002', amountCents: 4820 }, /paid already/],
    ] as const) {
      const { code, body } = await world.pay(args)
      expect([code, body?.message]).toEqual(['EFFECT_NOT_PERFORMED', expect.stringMatching(reason)])
    }
    expect(world.stripe.creates).toHaveLength(1)
  })

  test('called twice at once charges once: the second waits for the first', async () => {
    world.stripe.script('slow')
    const both = await Promise.all([world.pay(), world.pay()])
    expect(both.map(({ code, replayed }) => [code, replayed])).toEqual([
      ['output', false],
      ['output', true],
    ])
    expect(world.stripe.charges).toHaveLength(1)
  })

  test('that two callers ask for at once charges once: their keys differ, the invoice is one', async () => {
    world.stripe.script('slow', 'slow')
    const both = await Promise.all([
      world.pay(INVOICE, { caller: 'ann' }),
      world.pay(INVOICE, { caller: 'bob' }),
    ])
    expect(both.map(({ code }) => code).toSorted()).toEqual(['EFFECT_NOT_PERFORMED', 'output'])
    expect(world.stripe.charges).toHaveLength(1)
  })

  test('whose outcome is unknown keeps its invoice from other callers', async () => {
    world.stripe.script('cut-after-charge')
    await world.pay(INVOICE, { caller: 'ann' })
    const other = await world.pay(INVOICE, { caller: 'bob' })
    expect(other.body?.message).toMatch(/being paid by another call/)
    expect(world.stripe.creates).toHaveLength(1)
  })
})

describe('an answer that never came leaves the outcome unknown, and the repeat has the same key', () => {
  test.each([
    ['cut-after-charge', true],
    ['cut-in-answer', true],
    ['silent-after-charge', true],
    ['cut-before-charge', false],
    ['silent-before-charge', false],
    ['bad-gateway', false],
    ['not-json', false],
    ['lock-timeout', false],
  ] as const)('%s: one charge, done', async (fault, replays) => {
    world.stripe.script(fault)
    if (fault.startsWith('silent-')) world.timeoutMs = HASTY_MS
    const first = await world.pay()
    world.timeoutMs = PATIENT_MS
    expect([first.code, first.body?.executed]).toEqual(['OUTCOME_UNKNOWN', 'unknown'])
    expect(await world.states()).toEqual(['unknown'])
    const again = await world.pay()
    expect([again.code, again.replayed]).toEqual(['output', false])
    const keys = world.stripe.creates.map(({ idempotencyKey }) => idempotencyKey)
    expect(keys).toEqual([keys[0], keys[0]])
    expect(world.stripe.creates[1]?.replayed).toBe(replays)
    expect(world.stripe.charges).toHaveLength(1)
    expect(await world.states()).toEqual(['done'])
    expect(world.ledger.payments()).toEqual([again.result])
  })

  test('charged only after we had given up: the repeat meets the first one still running, and is told nothing', async () => {
    world.stripe.script('late')
    world.timeoutMs = HASTY_MS
    expect((await world.pay()).body?.executed).toBe('unknown')
    world.timeoutMs = PATIENT_MS
    expect((await world.pay()).body?.executed).toBe('unknown')
    expect([world.stripe.creates[1]?.status, world.stripe.charges.length]).toEqual([409, 0])
    await world.stripe.settled()
    expect((await world.pay()).code).toBe('output')
    expect(world.stripe.charges).toHaveLength(1)
  })

  test('also across a restart with the same journal', async () => {
    world.stripe.script('cut-after-charge')
    await world.pay()
    await world.restart()
    expect((await world.pay()).code).toBe('output')
    await world.restart()
    expect((await world.pay()).replayed).toBe(true)
    expect(world.stripe.charges).toHaveLength(1)
    expect(world.stripe.creates).toHaveLength(2)
  })

  test('a cut connection is not repeated by the client itself: each request had its own hold point (G2)', async () => {
    world.stripe.script('cut-before-charge')
    await world.pay()
    expect(world.stripe.creates).toHaveLength(1)
  })

  test('the effect’s signal ends the request', async () => {
    await using patient = await payWorld()
    patient.stripe.script('silent-before-charge')
    const startedMs = performance.now()
    const paying = patient.pay()
    while (patient.stripe.creates.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    await patient.guard.close({ graceMs: 0 })
    expect((await paying).body?.executed).toBe('unknown')
    expect(performance.now() - startedMs).toBeLessThan(5000)
  })

  test('every connection is its own, so that none can be stale', async () => {
    await world.pay()
    expect(world.stripe.creates[0]?.headers.connection).toBe('close')
  })

  test.each([
    ['internal-error', 0],
    ['internal-error-after-charge', 1],
  ] as const)(
    '%s: Stripe gives the same 500 again; only a charge that the search finds settles it',
    async (fault, charges) => {
      world.stripe.script(fault)
      world.stripe.indexed = false
      expect((await world.pay()).body?.executed).toBe('unknown')
      expect((await world.pay()).body?.executed).toBe('unknown')
      expect(world.stripe.creates.map(({ replayed }) => replayed)).toEqual([false, true])
      world.stripe.indexed = true
      const third = await world.pay()
      expect(third.code).toBe(charges === 1 ? 'output' : 'OUTCOME_UNKNOWN')
      expect(world.stripe.charges).toHaveLength(charges)
      expect(await world.states()).toEqual([charges === 1 ? 'done' : 'unknown'])
    },
  )

  test('a payment that Stripe is still processing is unknown until the money has moved', async () => {
    world.stripe.script('processing')
    expect((await world.pay()).body?.executed).toBe('unknown')
    expect((await world.pay()).code).toBe('output')
    expect([world.stripe.charges.length, world.ledger.payments().length]).toEqual([1, 1])
  })
})

describe('past the life of the key nothing is sent before the search has been asked', () => {
  test('it was charged: done, and the book knows', async () => {
    world.stripe.script('cut-after-charge')
    await world.pay()
    world.advanceMs(DAY_MS)
    await world.stripe.forgetKeys()
    const told = await world.pay()
    expect([told.replayed, told.result.result.paymentId]).toEqual([true, 'pi_test_1'])
    expect([world.stripe.creates.length, world.stripe.charges.length]).toEqual([1, 1])
    expect(world.ledger.invoice('INV-1001')?.status).toBe('paid')
  })

  test('it was not: paid now', async () => {
    world.stripe.script('internal-error')
    await world.pay()
    world.advanceMs(DAY_MS)
    await world.stripe.forgetKeys()
    expect((await world.pay()).code).toBe('output')
    expect([world.stripe.searches.length, world.stripe.charges.length]).toEqual([1, 1])
  })

  test('it may still be: unknown, nothing sent', async () => {
    world.stripe.script('stuck')
    await world.pay()
    world.advanceMs(DAY_MS)
    await world.stripe.forgetKeys()
    expect((await world.pay()).body?.executed).toBe('unknown')
    expect([world.stripe.creates.length, world.stripe.searches.length]).toEqual([1, 1])
  })

  test('nobody answers: still unknown, nothing sent', async () => {
    world.stripe.script('cut-after-charge')
    await world.pay()
    world.advanceMs(DAY_MS)
    await world.stripe.close()
    expect((await world.pay()).body?.executed).toBe('unknown')
    expect(await world.states()).toEqual(['unknown'])
  })
})

describe('an operator has Stripe asked about a payment whose answer was cut off', () => {
  const unknown = { settled: false, why: 'unknown' }

  test('while the search lags nothing is freed; a day later it is found, and not charged again', async () => {
    world.stripe.indexed = false
    world.stripe.script('cut-after-charge')
    await world.pay()
    expect(await world.reconcile()).toEqual(unknown)
    await world.stripe.forgetKeys()
    world.stripe.indexed = true
    world.advanceMs(DAY_MS)
    expect((await world.pay(INVOICE, { callId: 'call_next_day' })).replayed).toBe(true)
    expect(world.stripe.charges).toHaveLength(1)
  })

  test('until then the same call may be made again: Stripe knows the key', async () => {
    world.stripe.indexed = false
    world.stripe.script('cut-after-charge')
    await world.pay()
    expect(await world.reconcile()).toEqual(unknown)
    expect((await world.pay()).code).toBe('output')
    expect(world.stripe.charges).toHaveLength(1)
  })

  test('what is found counts at once', async () => {
    world.stripe.script('cut-after-charge')
    await world.pay()
    expect(await world.reconcile()).toEqual({ settled: true, state: 'done' })
    expect((await world.pay()).replayed).toBe(true)
  })

  test('past the life of the key what is not found frees the invoice', async () => {
    world.stripe.script('cut-before-charge')
    await world.pay()
    await world.stripe.forgetKeys()
    world.advanceMs(DAY_MS)
    expect(await world.reconcile()).toEqual({ settled: true, state: 'failed' })
    expect((await world.pay()).code).toBe('output')
    expect(world.stripe.charges).toHaveLength(1)
  })
})

describe('a definite no frees the invoice', () => {
  test('declined: Stripe would give the same decline under the same key, so the next attempt has another', async () => {
    world.stripe.script('decline')
    const declined = await world.pay()
    expect([declined.code, declined.body?.executed, declined.body?.message]).toEqual([
      'EFFECT_NOT_PERFORMED',
      false,
      'The card was declined: its funds are insufficient. Nothing was charged.',
    ])
    expect(await world.states()).toEqual(['failed'])
    expect((await world.pay()).code).toBe('output')
    const [first, second] = world.stripe.creates
    expect(second?.idempotencyKey).toBe(`${first?.idempotencyKey}-1`)
    expect(world.stripe.charges).toHaveLength(1)
  })

  test('declined, then cut after the charge, and a day later: never a key whose answer Stripe may have forgotten', async () => {
    world.stripe.script('decline', 'cut-after-charge')
    await world.pay()
    world.advanceMs(DAY_MS - 1000)
    await world.pay()
    world.advanceMs(2000)
    await world.stripe.forgetKeys()
    world.stripe.script('cut-before-charge')
    await world.pay()
    await world.pay()
    const [first, ...later] = world.stripe.creates.map(({ idempotencyKey }) => idempotencyKey)
    expect(new Set(later)).toEqual(new Set([`${first}-1`]))
  })

  test.each([
    ['rate-limit', /no more payments right now/],
    ['unauthorized', /does not let this server pay/],
    ['forbidden', /does not let this server pay/],
  ] as const)('%s: refused, told without the key, and another attempt pays', async (fault, message) => {
    world.stripe.script(fault)
    const refused = await world.pay()
    expect([refused.code, refused.body?.message]).toEqual([
      'EFFECT_NOT_PERFORMED',
      expect.stringMatching(message),
    ])
    expect(refused.output).not.toContain(world.stripe.apiKey)
    expect(JSON.stringify(world.lines)).not.toContain(world.stripe.apiKey)
    expect((await world.pay()).code).toBe('output')
  })

  test('parameters that Stripe does not take', async () => {
    await using wrong = await payWorld({ paymentMethod: 'card_visa' })
    const refused = await wrong.pay()
    expect([refused.code, refused.body?.message]).toEqual([
      'EFFECT_NOT_PERFORMED',
      expect.stringMatching(/refused the payment as invalid/),
    ])
  })

  test.each(['rate-limit', 'unauthorized', 'forbidden'] as const)(
    '%s on the repeat of an unknown payment says nothing about the earlier one',
    async (fault) => {
      world.stripe.script('cut-after-charge', fault)
      await world.pay()
      world.stripe.indexed = false
      expect((await world.pay()).body?.executed).toBe('unknown')
      expect(await world.states()).toEqual(['unknown'])
      expect((await world.pay()).code).toBe('output')
      expect(world.stripe.charges).toHaveLength(1)
    },
  )

  test('a stolen card looks like any other decline', async () => {
    await using stolen = await payWorld({ declineCode: 'stolen_card' })
    stolen.stripe.script('decline')
    expect((await stolen.pay()).body?.message).toBe('The card was declined. Nothing was charged.')
  })
})

describe('a connection that never came about has sent nothing', () => {
  const closedPort = async () => {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    await new Promise((resolve) => server.close(resolve))
    return port
  }

  test.each([
    ['a refused port', async () => `http://127.0.0.1:${await closedPort()}`],
    ['a name that does not exist', async () => 'https://stripe.invalid'],
  ])('%s: not performed, and the invoice is free', async (_name, urlOf) => {
    await using away = await payWorld({ baseUrl: await urlOf() })
    const told = await away.pay()
    expect([told.code, told.body?.executed]).toEqual(['EFFECT_NOT_PERFORMED', false])
    expect(await away.states()).toEqual(['failed'])
    expect(away.ledger.claim({ ...INVOICE, idempotencyKey: 'another' })).toMatchObject({ state: 'claimed' })
  })

  test('a certificate that nobody vouches for', async () => {
    let requests = 0
    const server = createTlsServer(selfSigned(), () => (requests += 1))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    await using away = await payWorld({ baseUrl: `https://127.0.0.1:${port}` })
    const told = await away.pay()
    expect([told.code, told.body?.executed, requests]).toEqual(['EFFECT_NOT_PERFORMED', false, 0])
    await new Promise((resolve) => server.close(resolve))
  })

  test('on the repeat of an unknown payment it says nothing', async () => {
    world.stripe.script('cut-after-charge')
    await world.pay()
    await world.stripe.close()
    expect((await world.pay()).body?.executed).toBe('unknown')
    expect(await world.states()).toEqual(['unknown'])
  })
})

test.each([
  ['a live key without a payment method', { apiKey: 'sk_live_1' }, /payment method/],
  ['plain HTTP to another machine', { apiKey: 'sk_test_1', baseUrl: 'http://stripe.example' }, /https/],
])('refuses %s, and names no key', (_name, options, message) => {
  const create = () => createStripePayments({ ...options, book: world.ledger })
  expect(create).toThrow(message)
  expect(create).not.toThrow(/sk_/)
})

describe('whatever Stripe and the network do', () => {
  const step = fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom<StripeFault>('none', ...STRIPE_FAULTS) },
    { weight: 1, arbitrary: fc.constant('restart' as const) },
    { weight: 1, arbitrary: fc.constant('day' as const) },
    { weight: 1, arbitrary: fc.constant('index lags' as const) },
    { weight: 1, arbitrary: fc.constant('late is over' as const) },
    { weight: 2, arbitrary: fc.constant('operator asks' as const) },
  )

  const agree = async ({ stripe, ledger, states }: PayWorld) => {
    const charges = stripe.charges.length
    const [state] = await states()
    expect(charges).toBeLessThanOrEqual(1)
    if (state === 'done') expect([charges, ledger.payments().length]).toEqual([1, 1])
    if (state === 'failed') expect(charges).toBe(0)
  }

  test(
    'an invoice is charged at most once, and done means charged, failed means not charged',
    async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 7 }), async (steps) => {
          await using fuzzed = await payWorld({ timeoutMs: 80 })
          for (const one of steps) {
            if (one === 'restart') await fuzzed.restart()
            else if (one === 'index lags') fuzzed.stripe.indexed = false
            else if (one === 'late is over') await fuzzed.stripe.settled()
            else if (one === 'operator asks') {
              if ((await fuzzed.states()).includes('unknown')) await fuzzed.reconcile()
              await agree(fuzzed)
            } else if (one === 'day') {
              fuzzed.advanceMs(DAY_MS)
              await fuzzed.stripe.forgetKeys()
              fuzzed.stripe.indexed = true
            } else {
              fuzzed.stripe.script(one)
              await fuzzed.pay()
              await agree(fuzzed)
            }
          }
          await fuzzed.stripe.settled()
          await agree(fuzzed)
        }),
        { numRuns: RUNS },
      )
    },
    30_000 + RUNS * 1000,
  )
})
