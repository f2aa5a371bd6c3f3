import type { Reconciled } from 'holdpoint'

export interface Receipt {
  readonly paymentId: string
  readonly invoiceId: string
  /** US cents. */
  readonly amountCents: number
  /** ISO 8601. */
  readonly paidAt: string
}

export interface PaymentOrder {
  readonly invoiceId: string
  /** US cents. */
  readonly amountCents: number
  /** The same key pays once. */
  readonly idempotencyKey: string
  readonly signal?: AbortSignal
}

/** Who pays invoices. */
export interface Payments {
  /** How long an idempotency key is honoured, in milliseconds. Absent: `find` knows at once, and for good. */
  readonly keyTtlMs?: number
  /** Throws `EffectNotPerformed` when nothing was paid for sure, anything else when that is not known. */
  pay(order: PaymentOrder): Receipt | Promise<Receipt>
  /** Was something paid under this key? `absent` only when it surely was not and will not be. */
  find(idempotencyKey: string, options?: { readonly signal?: AbortSignal }): Promise<Reconciled<Receipt>>
}
