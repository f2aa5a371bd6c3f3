import { guardedTool, type Guard } from 'holdpoint'
import { z } from 'zod'

import type { Ledger } from './ledger.ts'

/** Reads one invoice: one hold point, on the server device. */
export function lookupInvoice(guard: Guard, ledger: Pick<Ledger, 'invoice'>) {
  return guardedTool(guard.surface('tool-server'), {
    name: 'lookup_invoice',
    description: 'Look up one invoice: customer, amount in US cents, and whether it is open or paid.',
    parameters: z.object({ invoiceId: z.string().describe('For example INV-1001') }),
    effects: 'none',
    execute: async ({ invoiceId }) =>
      (await ledger.invoice(invoiceId)) ?? `There is no invoice ${invoiceId}.`,
  })
}
