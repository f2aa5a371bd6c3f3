import type { Guard } from 'holdpoint'

import type { Ledger } from './ledger.ts'
import { lookupInvoice } from './lookup-invoice.ts'
import type { Outbox } from './outbox.ts'
import type { Records } from './records.ts'
import { sendEmail } from './send-email.ts'
import { sendPayment } from './send-payment.ts'
import { writeRecord } from './write-record.ts'

export interface AccountsToolsOptions {
  readonly ledger: Ledger
  readonly outbox: Outbox
  readonly records: Records
  /** A person must approve each payment. Default false. */
  readonly paymentsNeedApproval?: boolean
}

/** The four tools. The guard must declare the surfaces payments, email and records. */
export function createAccountsTools(guard: Guard, options: AccountsToolsOptions) {
  const { ledger, outbox, records, paymentsNeedApproval = false } = options
  return [
    lookupInvoice(guard, ledger),
    sendPayment(guard, ledger, { needsApproval: paymentsNeedApproval }),
    sendEmail(guard, outbox),
    writeRecord(guard, records),
  ]
}
