import { EffectNotPerformed, guardedTool, type Guard } from 'holdpoint'
import { z } from 'zod'

import type { Ledger } from './ledger.ts'

export interface SendPaymentOptions {
  /** A person must approve each payment. Default false. */
  readonly needsApproval?: boolean
}

/** Pays one invoice in full. An invoice is paid once, so the invoice is the key. */
export function sendPayment(
  guard: Guard,
  ledger: Ledger,
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
    commit: ({ invoiceId, amountCents }, { idempotencyKey }) => {
      const payment = ledger.pay({ invoiceId, amountCents, idempotencyKey })
      if (!payment.accepted) throw new EffectNotPerformed(payment.reason)
      return payment.receipt
    },
    reconcile: async (_payment, { idempotencyKey }) => {
      const receipt = ledger.receipt(idempotencyKey)
      return receipt === undefined ? { state: 'absent' } : { state: 'done', result: receipt }
    },
  })
}
