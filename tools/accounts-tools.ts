import type { Guard } from 'holdpoint'

import type { Ledger } from './ledger.ts'
import { lookupInvoice } from './lookup-invoice.ts'
import type { Mailer } from './mailer.ts'
import type { Payments } from './payments.ts'
import type { Records } from './records.ts'
import { sendEmail } from './send-email.ts'
import { sendPayment } from './send-payment.ts'
import { writeRecord } from './write-record.ts'

export interface AccountsToolsOptions {
  /** The invoices. */
  readonly ledger: Pick<Ledger, 'invoice'>
  readonly payments: Payments
  readonly mailer: Mailer
  readonly records: Records
  /** A person must approve each payment. Default false. */
  readonly paymentsNeedApproval?: boolean
}

/** The four tools. The guard must declare the surfaces payments, email and records. */
export function createAccountsTools(guard: Guard, options: AccountsToolsOptions) {
  const { ledger, payments, mailer, records, paymentsNeedApproval = false } = options
  return [
    lookupInvoice(guard, ledger),
    sendPayment(guard, payments, { needsApproval: paymentsNeedApproval }),
    sendEmail(guard, mailer),
    writeRecord(guard, records),
  ]
}
