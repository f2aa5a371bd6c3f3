import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { EffectNotPerformed } from 'holdpoint'

import { INVOICES, type Invoice } from './invoices.ts'
import type { PaymentOrder, Payments, Receipt } from './payments.ts'

/** How an order to pay stands in the book. */
export type Claim =
  | { readonly state: 'paid'; readonly receipt: Receipt }
  /** Not to be sent: `reason` is for the model. */
  | { readonly state: 'refused'; readonly reason: string }
  | {
      readonly state: 'claimed'
      /** How many orders under this key have ended without a payment for sure. */
      readonly attempt: number
      /** An earlier order under this key may have been sent, and nobody knows how it ended. */
      readonly repeat: boolean
    }

/** A file answers at once, a database on the network a little later. */
type Soon<T> = T | Promise<T>

/** Which invoices there are, and how they stand. Everything it says is on the disk. */
export interface Book {
  invoice(invoiceId: string): Soon<Invoice | undefined>
  /** Reserves the invoice for this key, until `release` or `book`. */
  claim(order: Omit<PaymentOrder, 'signal'>): Soon<Claim>
  /** What was sent under this key surely paid nothing and will not: the invoice is free for anybody's next order. */
  release(idempotencyKey: string): Soon<void>
  /** Marks the invoice paid. The same key books once. */
  book(receipt: Receipt, idempotencyKey: string): Soon<void>
}

/** Stands in for a bank: a payment moves no money, but is booked once for each idempotency key, and once an invoice. */
export interface Ledger extends Book, Payments {
  /** All payments, oldest first. */
  payments(): Soon<readonly Receipt[]>
}

/** A ledger in a file: it answers at once. */
export interface FileLedger extends Ledger {
  invoice(invoiceId: string): Invoice | undefined
  claim(order: Omit<PaymentOrder, 'signal'>): Claim
  release(idempotencyKey: string): void
  book(receipt: Receipt, idempotencyKey: string): void
  pay(order: PaymentOrder): Receipt
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
  ) STRICT;
  CREATE TABLE IF NOT EXISTS claims (
    idempotencyKey TEXT PRIMARY KEY,
    invoiceId TEXT NOT NULL REFERENCES invoices,
    attempt INTEGER NOT NULL,
    open INTEGER NOT NULL CHECK (open IN (0, 1))
  ) STRICT;
  CREATE UNIQUE INDEX IF NOT EXISTS claims_open ON claims (invoiceId) WHERE open = 1`
const RECEIPT = 'SELECT paymentId, invoiceId, amountCents, paidAt FROM payments'

interface ClaimRow {
  readonly idempotencyKey: string
  readonly attempt: number
  readonly open: 0 | 1
}

/** A ledger in a SQLite file, with INV-1001 to INV-1020. */
export function createLedger(options: { readonly file: string; readonly now?: () => Date }): FileLedger {
  const { file, now = () => new Date() } = options
  mkdirSync(dirname(file), { recursive: true })
  const db = new DatabaseSync(file, { timeout: 5000 })
  db.exec(SCHEMA)
  const seed = db.prepare('INSERT OR IGNORE INTO invoices VALUES (?, ?, ?, ?)')
  for (const { invoiceId, customer, amountCents, status } of INVOICES)
    seed.run(invoiceId, customer, amountCents, status)
  const statements = prepare(db)

  const invoice = (invoiceId: string) => statements.invoice.get(invoiceId) as Invoice | undefined
  const receiptOf = (idempotencyKey: string) => statements.receipt.get(idempotencyKey) as Receipt | undefined

  const book: FileLedger['book'] = ({ paymentId, invoiceId, amountCents, paidAt }, idempotencyKey) => {
    statements.insertPayment.run(paymentId, invoiceId, amountCents, paidAt, idempotencyKey)
    statements.markPaid.run(invoiceId)
    statements.close.run(0, idempotencyKey)
  }

  const claim: FileLedger['claim'] = ({ invoiceId, amountCents, idempotencyKey }) => {
    const receipt = receiptOf(idempotencyKey)
    if (receipt !== undefined) return { state: 'paid', receipt }
    const reason = whyNot(invoice(invoiceId), invoiceId, amountCents)
    if (reason !== undefined) return { state: 'refused', reason }
    const holder = statements.openClaim.get(invoiceId) as ClaimRow | undefined
    if (holder !== undefined && holder.idempotencyKey !== idempotencyKey) {
      return { state: 'refused', reason: beingPaid(invoiceId) }
    }
    const { attempt } = statements.claim.get(idempotencyKey, invoiceId) as unknown as ClaimRow
    return { state: 'claimed', attempt, repeat: holder !== undefined }
  }

  const pay: FileLedger['pay'] = (order) => {
    const claimed = claim(order)
    if (claimed.state === 'paid') return claimed.receipt
    if (claimed.state === 'refused') throw new EffectNotPerformed(claimed.reason)
    const { invoiceId, amountCents, idempotencyKey } = order
    const receipt = {
      paymentId: `pay_${crypto.randomUUID()}`,
      invoiceId,
      amountCents,
      paidAt: now().toISOString(),
    }
    book(receipt, idempotencyKey)
    return receipt
  }

  const transact = <Result>(work: () => Result): Result => {
    db.exec('BEGIN IMMEDIATE')
    try {
      const result = work()
      db.exec('COMMIT')
      return result
    } catch (error) {
      if (db.isTransaction) db.exec('ROLLBACK')
      throw error
    }
  }

  return {
    invoice,
    claim: (order) => transact(() => claim(order)),
    release: (idempotencyKey) => void statements.close.run(1, idempotencyKey),
    book: (receipt, idempotencyKey) => transact(() => book(receipt, idempotencyKey)),
    pay: (order) => transact(() => pay(order)),
    find: async (idempotencyKey) => {
      const receipt = receiptOf(idempotencyKey)
      return receipt === undefined ? { state: 'absent' } : { state: 'done', result: receipt }
    },
    payments: () => statements.receipts.all() as unknown as Receipt[],
    close: () => db.close(),
  }
}

function prepare(db: DatabaseSync) {
  return {
    invoice: db.prepare('SELECT * FROM invoices WHERE invoiceId = ?'),
    receipt: db.prepare(`${RECEIPT} WHERE idempotencyKey = ?`),
    receipts: db.prepare(`${RECEIPT} ORDER BY rowid`),
    insertPayment: db.prepare(
      'INSERT INTO payments VALUES (?, ?, ?, ?, ?) ON CONFLICT (idempotencyKey) DO NOTHING',
    ),
    markPaid: db.prepare("UPDATE invoices SET status = 'paid' WHERE invoiceId = ?"),
    openClaim: db.prepare('SELECT * FROM claims WHERE invoiceId = ? AND open = 1'),
    claim: db.prepare(
      'INSERT INTO claims VALUES (?, ?, 0, 1) ON CONFLICT (idempotencyKey) DO UPDATE SET open = 1 RETURNING *',
    ),
    close: db.prepare(
      'UPDATE claims SET open = 0, attempt = attempt + ? WHERE idempotencyKey = ? AND open = 1',
    ),
  }
}

/** Why an order for it is refused, for the model. */
export function whyNot(
  invoice: Invoice | undefined,
  invoiceId: string,
  amountCents: number,
): string | undefined {
  if (invoice === undefined) return `There is no invoice ${invoiceId}.`
  if (invoice.status === 'paid') return `Invoice ${invoiceId} has been paid already.`
  if (invoice.amountCents === amountCents) return undefined
  return `Invoice ${invoiceId} is open with ${invoice.amountCents} cents, not ${amountCents}.`
}

export function beingPaid(invoiceId: string): string {
  return `Invoice ${invoiceId} is being paid by another call.`
}
