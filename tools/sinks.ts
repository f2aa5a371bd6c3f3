import { existsSync, renameSync } from 'node:fs'
import { join } from 'node:path'

import { createLedger, type Ledger } from './ledger.ts'
import type { Mailer } from './mailer.ts'
import { createOutbox } from './outbox.ts'
import type { Payments } from './payments.ts'
import { createRecords, type Records } from './records.ts'
import { createSmtpMailer, type SmtpMailerOptions } from './smtp-mailer.ts'
import { createStripePayments, type StripePaymentsOptions } from './stripe-payments.ts'

export interface SinksOptions {
  readonly dataDir: string
  /** The file of the guard's journal, whose transactions `write_record` joins. Default `DATA_DIR/journal.sqlite`. */
  readonly journalFile?: string
  /** Absent: the embedded ledger pays, which moves no money. */
  readonly stripe?: Omit<StripePaymentsOptions, 'book'> | undefined
  /** Absent: mails become files in `DATA_DIR/outbox`. */
  readonly smtp?: Omit<SmtpMailerOptions, 'from'> | undefined
  /** `accounts@example.com` or `Accounts <accounts@example.com>`, which is the default. */
  readonly mailFrom?: string | undefined
}

/** What the shipped tools act on. */
export interface Sinks {
  /** The invoices, and which of them are paid, whoever pays. */
  readonly ledger: Ledger
  readonly payments: Payments
  readonly mailer: Mailer
  readonly records: Records
  /** Cuts what is being sent, and closes the files. */
  close(): void
}

const MAIL_FROM = 'Accounts <accounts@example.com>'

/** Opens them. Open the journal first, which creates its file as it must be. Connects to nobody. */
export function createSinks(options: SinksOptions): Sinks {
  const { dataDir, stripe, smtp, mailFrom: from = MAIL_FROM } = options
  const smtpMailer = smtp === undefined ? undefined : createSmtpMailer({ ...smtp, from })
  const ledger = createLedger({ file: join(dataDir, 'ledger.sqlite') })
  const payments = stripe === undefined ? ledger : createStripePayments({ ...stripe, book: ledger })
  const mailer = smtpMailer ?? createOutbox({ directory: join(dataDir, 'outbox'), from })
  const records = createRecords({
    file: options.journalFile ?? join(dataDir, 'journal.sqlite'),
    sharesJournal: true,
  })
  // Where records lay before they shared the journal's file.
  const older = join(dataDir, 'records.sqlite')
  if (existsSync(older)) {
    records.importFrom(older)
    renameSync(older, `${older}.imported`)
  }
  return {
    ledger,
    payments,
    mailer,
    records,
    close: () => {
      smtpMailer?.close()
      records.close()
      ledger.close()
    },
  }
}
