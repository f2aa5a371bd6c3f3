import { EffectNotPerformed, GuardMisconfiguredError, notSent } from 'holdpoint'
import Stripe from 'stripe'

import type { Book } from './ledger.ts'
import type { PaymentOrder, Payments, Receipt } from './payments.ts'
import { judgeStripeError, type Verdict } from './stripe-errors.ts'

export interface StripePaymentsOptions {
  /** `sk_test_…`, `rk_live_…`. */
  readonly apiKey: string
  /** Has the invoices, and is told which are paid. */
  readonly book: Book
  /** What is charged, `pm_…`. Default with a test key: Stripe's own `pm_card_visa`. Required with a live one. */
  readonly paymentMethod?: string | undefined
  /** Whose payment method it is, `cus_…`. */
  readonly customer?: string | undefined
  /** Default `https://api.stripe.com`. */
  readonly baseUrl?: string | undefined
  /** For one charge, in milliseconds. Default 18,000: with a look-up after it below the effect's 30 s. */
  readonly timeoutMs?: number
}

/** Stripe forgets a key after 24 hours at the earliest. */
const KEY_TTL_MS = 23 * 60 * 60 * 1000
const TIMEOUT_MS = 18_000
const SEARCH_TIMEOUT_MS = 8000
const HTTPS_PORT = 443

/**
 * Pays invoices in US dollars with Stripe.
 *
 * Stripe answers the same Idempotency-Key with the same answer, a declined card included, so a new attempt after a
 * definite no needs a new one. The book counts those, durably: an order whose end is not known is only ever repeated
 * under the key that it was sent with. Throws `GUARD_MISCONFIGURED` without a payment method, or over plain HTTP.
 */
export function createStripePayments(options: StripePaymentsOptions): Payments {
  const { book, timeoutMs = TIMEOUT_MS } = options
  const connect = connector(options)
  const paymentMethod = paymentMethodOf(options)

  /** Undefined when Stripe has taken the payment, but the money has not moved. */
  const send = async (order: PaymentOrder, attempt: number): Promise<Receipt | undefined> => {
    const { invoiceId, amountCents, idempotencyKey, signal } = order
    const intent = await connect(signal).paymentIntents.create(
      {
        amount: amountCents,
        currency: 'usd',
        payment_method: paymentMethod,
        ...(options.customer !== undefined && { customer: options.customer }),
        confirm: true,
        error_on_requires_action: true,
        automatic_payment_methods: { enabled: true, allow_redirects: 'never' },
        description: `Invoice ${invoiceId}`,
        metadata: { invoice_id: invoiceId, holdpoint_key: idempotencyKey },
      },
      {
        idempotencyKey: attempt === 0 ? idempotencyKey : `${idempotencyKey}-${attempt}`,
        timeout: timeoutMs,
      },
    )
    return receiptOf(intent, idempotencyKey)
  }

  const find: Payments['find'] = async (idempotencyKey, { signal } = {}) => {
    const found = await connect(signal).paymentIntents.search(
      { query: `metadata['holdpoint_key']:'${idempotencyKey}'`, limit: 100 },
      { timeout: SEARCH_TIMEOUT_MS },
    )
    const intents = found.data.filter(({ metadata }) => metadata['holdpoint_key'] === idempotencyKey)
    const receipt = intents
      .map((intent) => receiptOf(intent, idempotencyKey))
      .find((one) => one !== undefined)
    if (receipt !== undefined) {
      await book.book(receipt, idempotencyKey)
      return { state: 'done', result: receipt }
    }
    // Stripe's index lags by minutes, so an empty answer proves nothing while a charge may just have happened. From the
    // guard `absent` counts only past `keyTtlMs`: nothing of ours has been on its way for hours, and what it did is in
    // the index.
    const over = intents.every(({ status }) => status === 'requires_payment_method' || status === 'canceled')
    return { state: over && !found.has_more ? 'absent' : 'unknown' }
  }

  /** An answer that says nothing comes back on every repeat. Of the index only a yes counts here: it lags. */
  const lookAgain = async ({ idempotencyKey, signal }: PaymentOrder): Promise<Receipt | undefined> => {
    const found = await find(idempotencyKey, { ...(signal !== undefined && { signal }) }).catch(
      () => undefined,
    )
    return found?.state === 'done' ? found.result : undefined
  }

  return {
    keyTtlMs: KEY_TTL_MS,
    pay: async (order) => {
      const claim = await book.claim(order)
      if (claim.state === 'paid') return claim.receipt
      if (claim.state === 'refused') throw new EffectNotPerformed(claim.reason)
      let unclear: unknown = new Error('Stripe has taken the payment, but it is not completed.')
      try {
        const receipt = await send(order, claim.attempt)
        if (receipt !== undefined) {
          await book.book(receipt, order.idempotencyKey)
          return receipt
        }
      } catch (thrown) {
        const verdict = judgeStripeError(thrown)
        if (paidNothing(verdict, thrown, claim.repeat)) {
          await book.release(order.idempotencyKey)
          if (verdict.message === undefined) throw thrown
          throw new EffectNotPerformed(verdict.message, { cause: thrown })
        }
        if (!verdict.answered) throw thrown
        unclear = thrown
      }
      const found = claim.repeat ? await lookAgain(order) : undefined
      if (found === undefined) throw unclear
      return found
    },
    find,
  }
}

/** Of a repeat only a word on the key itself counts: that this request was refused says nothing about the earlier one. */
function paidNothing(verdict: Verdict, thrown: unknown, repeat: boolean): boolean {
  if (verdict.about === 'key') return true
  return !repeat && (verdict.about === 'request' || notSent(thrown))
}

/** Only of money that has moved, and that was asked for under this key. */
function receiptOf(intent: Stripe.PaymentIntent, idempotencyKey: string): Receipt | undefined {
  const { id, status, amount, created, metadata } = intent
  const invoiceId = metadata?.['invoice_id']
  if (status !== 'succeeded' || metadata['holdpoint_key'] !== idempotencyKey || invoiceId === undefined)
    return undefined
  return { paymentId: id, invoiceId, amountCents: amount, paidAt: new Date(created * 1000).toISOString() }
}

/** Stripe's client for one request: it takes no signal, so its `fetch` brings it. */
function connector({ apiKey, baseUrl = 'https://api.stripe.com' }: StripePaymentsOptions) {
  const url = URL.parse(baseUrl)
  if (
    url === null ||
    !/^https?:$/.test(url.protocol) ||
    (url.protocol === 'http:' && !isNear(url.hostname))
  ) {
    throw new GuardMisconfiguredError('The base URL of Stripe must be https://…, or http:// on this machine.')
  }
  const secure = url.protocol === 'https:'
  return (signal: AbortSignal | undefined): Stripe => {
    const send: typeof fetch = (to, init) => {
      const headers = new Headers(init?.headers)
      // A kept connection may be one that Stripe has just closed: a payment that needlessly ends as unknown.
      headers.set('connection', 'close')
      return fetch(to, { ...init, headers, redirect: 'error', signal: eitherOf(init?.signal, signal) })
    }
    return new Stripe(apiKey, {
      host: url.hostname,
      port: Number(url.port || (secure ? HTTPS_PORT : 80)),
      protocol: secure ? 'https' : 'http',
      // Stripe's Node client sends a request again when its connection was cut, whatever is set here; over fetch it
      // does not. Whether something is repeated is the guard's decision, which asks first.
      httpClient: Stripe.createFetchHttpClient(send),
      maxNetworkRetries: 0,
      telemetry: false,
    })
  }
}

function eitherOf(...signals: (AbortSignal | null | undefined)[]): AbortSignal {
  return AbortSignal.any(signals.filter((signal) => signal != null))
}

function isNear(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || host.startsWith('127.')
}

function paymentMethodOf({ apiKey, paymentMethod }: StripePaymentsOptions): string {
  if (paymentMethod !== undefined) return paymentMethod
  if (/^(?:sk|rk)_test_/.test(apiKey)) return 'pm_card_visa'
  throw new GuardMisconfiguredError(
    'With a live key of Stripe say what is charged: set the payment method (pm_…), and its customer (cus_…).',
  )
}
