import { existsSync, renameSync } from 'node:fs'
import { join } from 'node:path'

import { createLedger, type FileLedger, type Ledger } from './ledger.ts'
import type { Mailer } from './mailer.ts'
import { createOutbox } from './outbox.ts'
import type { Payments } from './payments.ts'
import { createPostgresLedger } from './postgres-ledger.ts'
import { createPostgresRecords } from './postgres-records.ts'
import { openPostgresTables, type PostgresTablesOptions } from './postgres-tables.ts'
import { createRecords, type FileRecords, type Records } from './records.ts'
import { createSmtpMailer, type SmtpMailerOptions } from './smtp-mailer.ts'
import { createStripePayments, type StripePaymentsOptions } from './stripe-payments.ts'

export interface SinksOptions {
  readonly dataDir: string
  /** Absent: the embedded ledger pays, which moves no money. */
  readonly stripe?: Omit<StripePaymentsOptions, 'book'> | undefined
  /** Absent: mails become files in `DATA_DIR/outbox`. */
  readonly smtp?: Omit<SmtpMailerOptions, 'from'> | undefined
  /** `accounts@example.com` or `Accounts <accounts@example.com>`, which is the default. */
  readonly mailFrom?: string | undefined
}

export interface FileSinksOptions extends SinksOptions {
  /** The file of the guard's journal, whose transactions `write_record` joins. Default `DATA_DIR/journal.sqlite`. */
  readonly journalFile?: string
}

export interface PostgresSinksOptions extends SinksOptions {
  /** The database of the guard's journal. */
  readonly database: PostgresTablesOptions
}

/** What the shipped tools act on. */
export interface Sinks {
  /** The invoices, and which of them are paid, whoever pays. */
  readonly ledger: Ledger
  readonly payments: Payments
  readonly mailer: Mailer
  readonly records: Records
  /** Cuts what is being sent, and closes the files and connections. */
  close(): void | Promise<void>
}

export interface FileSinks extends Sinks {
  readonly ledger: FileLedger
  readonly records: FileRecords
  close(): void
}

const MAIL_FROM = 'Accounts <accounts@example.com>'

/** Opens them in files. Open the journal first, which creates its file as it must be. Connects to nobody. */
export function createSinks(options: FileSinksOptions): FileSinks {
  const { dataDir } = options
  const ledger = createLedger({ file: join(dataDir, 'ledger.sqlite') })
  const outlets = createOutlets(options, ledger)
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
    payments: outlets.payments,
    mailer: outlets.mailer,
    records,
    close: () => {
      outlets.close()
      records.close()
      ledger.close()
    },
  }
}

/**
 * Opens them in the Postgres of the guard's journal, one ledger and one set of records for all tool servers there. Mails
 * that become files lie in a folder of each of them, which tells nothing about the mails of the others: one whose outcome
 * is unknown waits for an operator. Rejects while the database cannot be used.
 */
export async function createPostgresSinks(options: PostgresSinksOptions): Promise<Sinks> {
  const tables = await openPostgresTables(options.database)
  const ledger = await createPostgresLedger(tables)
  const { payments, mailer, close } = createOutlets(options, ledger)
  const records = createPostgresRecords(tables, { sharesJournal: true })
  return {
    ledger,
    payments,
    // Without `sent`: what is not in this folder may be in another one's.
    mailer: { send: (email, how) => mailer.send(email, how) },
    records,
    close: async () => {
      close()
      await tables.close()
    },
  }
}

/** Who pays, and who sends. */
function createOutlets({ dataDir, stripe, smtp, mailFrom: from = MAIL_FROM }: SinksOptions, ledger: Ledger) {
  const smtpMailer = smtp === undefined ? undefined : createSmtpMailer({ ...smtp, from })
  const payments: Payments = stripe === undefined ? ledger : createStripePayments({ ...stripe, book: ledger })
  const mailer: Mailer = smtpMailer ?? createOutbox({ directory: join(dataDir, 'outbox'), from })
  return { payments, mailer, close: () => smtpMailer?.close() }
}
