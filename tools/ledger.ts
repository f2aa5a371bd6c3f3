import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

import { INVOICES, type Invoice } from './invoices.ts'

export interface Receipt {
  readonly paymentId: string
  readonly invoiceId: string
  readonly amountCents: number
  /** ISO 8601. */
  readonly paidAt: string
}

export type Payment =
  | { readonly accepted: true; readonly receipt: Receipt }
  | { readonly accepted: false; readonly reason: string }

/** Stands in for a bank: a payment moves no money, but is booked once for each idempotency key, and once an invoice. */
export interface Ledger {
  invoice(invoiceId: string): Invoice | undefined
  /** The same key gives the same receipt and books nothing anew. */
  pay(payment: {
    readonly invoiceId: string
    readonly amountCents: number
    readonly idempotencyKey: string
  }): Payment
  /** What was booked under this key. */
  receipt(idempotencyKey: string): Receipt | undefined
  /** All payments, oldest first. */
  payments(): readonly Receipt[]
  close(): void
}

const SCHEMA = `
  PRAGMA synchronous = FULL;
  CREATE TABLE IF NOT EXISTS invoices (
    invoiceId TEXT PRIMARY KEY,
    customer TEXT NOT NULL,
    amountCents INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('open', 'paid'))
  ) STRICT;
  CREATE TABLE IF NOT EXISTS payments (
    paymentId TEXT PRIMARY KEY,
    invoiceId TEXT NOT NULL UNIQUE REFERENCES invoices,
    amountCents INTEGER NOT NULL,
    paidAt TEXT NOT NULL,
    idempotencyKey TEXT NOT NULL UNIQUE
  ) STRICT`
const RECEIPT = 'SELECT paymentId, invoiceId, amountCents, paidAt FROM payments'

/** A ledger in a SQLite file, with INV-1001 to INV-1020. */
export function createLedger(options: { readonly file: string; readonly now?: () => Date }): Ledger {
  const { file, now = () => new Date() } = options
  mkdirSync(dirname(file), { recursive: true })
  const db = new DatabaseSync(file, { timeout: 5000 })
  db.exec(SCHEMA)
  const seed = db.prepare('INSERT OR IGNORE INTO invoices VALUES (?, ?, ?, ?)')
  for (const { invoiceId, customer, amountCents, status } of INVOICES)
    seed.run(invoiceId, customer, amountCents, status)

  const invoiceById = db.prepare('SELECT * FROM invoices WHERE invoiceId = ?')
  const receiptByKey = db.prepare(`${RECEIPT} WHERE idempotencyKey = ?`)
  const allReceipts = db.prepare(`${RECEIPT} ORDER BY rowid`)
  const insertPayment = db.prepare('INSERT INTO payments VALUES (?, ?, ?, ?, ?)')
  const markPaid = db.prepare("UPDATE invoices SET status = 'paid' WHERE invoiceId = ?")

  const invoice = (invoiceId: string) => invoiceById.get(invoiceId) as Invoice | undefined
  const receipt = (idempotencyKey: string) => receiptByKey.get(idempotencyKey) as Receipt | undefined

  const pay: Ledger['pay'] = ({ invoiceId, amountCents, idempotencyKey }) => {
    const booked = receipt(idempotencyKey)
    if (booked !== undefined) return { accepted: true, receipt: booked }
    const reason = whyNot(invoice(invoiceId), invoiceId, amountCents)
    if (reason !== undefined) return { accepted: false, reason }
    const paymentId = `pay_${crypto.randomUUID()}`
    const paidAt = now().toISOString()
    insertPayment.run(paymentId, invoiceId, amountCents, paidAt, idempotencyKey)
    markPaid.run(invoiceId)
    return { accepted: true, receipt: { paymentId, invoiceId, amountCents, paidAt } }
  }

  return {
    invoice,
    pay: (payment) => {
      db.exec('BEGIN IMMEDIATE')
      try {
        const result = pay(payment)
        db.exec('COMMIT')
        return result
      } catch (error) {
        if (db.isTransaction) db.exec('ROLLBACK')
        throw error
      }
    },
    receipt,
    payments: () => allReceipts.all() as unknown as Receipt[],
    close: () => db.close(),
  }
}

function whyNot(invoice: Invoice | undefined, invoiceId: string, amountCents: number): string | undefined {
  if (invoice === undefined) return `There is no invoice ${invoiceId}.`
  if (invoice.status === 'paid') return `Invoice ${invoiceId} has been paid already.`
  if (invoice.amountCents === amountCents) return undefined
  return `Invoice ${invoiceId} is open with ${invoice.amountCents} cents, not ${amountCents}.`
}
