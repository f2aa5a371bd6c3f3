import { guardedTool, type Guard } from 'holdpoint'
import { z } from 'zod'

import type { Payments } from './payments.ts'

export interface SendPaymentOptions {
  /** A person must approve each payment. Default false. */
  readonly needsApproval?: boolean
}

/** Pays one invoice in full. An invoice is paid once, so the invoice is the key. */
export function sendPayment(
  guard: Guard,
  payments: Payments,
  { needsApproval = false }: SendPaymentOptions = {},
) {
  return guardedTool(guard.surface('payments'), {
    name: 'send_payment',
    description: 'Pay one open invoice in full. The amount must be the amount of the invoice.',
    parameters: z.object({
      invoiceId: z.string().describe('For example INV-1001'),
      amountCents: z.number().int().positive().describe('US cents'),
    }),
    needsApproval,
    effect: 'payment',
    key: ({ invoiceId }) => invoiceId,
    ...(payments.keyTtlMs !== undefined && { sinkKeyTtlMs: payments.keyTtlMs }),
    commit: ({ invoiceId, amountCents }, { idempotencyKey, signal }) =>
      payments.pay({ invoiceId, amountCents, idempotencyKey, signal }),
    reconcile: (_payment, { idempotencyKey, signal }) => payments.find(idempotencyKey, { signal }),
  })
}
