import { EffectNotPerformed } from 'holdpoint'

import { INVOICES, type Invoice } from './invoices.ts'
import { beingPaid, whyNot, type Claim, type Ledger } from './ledger.ts'
import type { PaymentOrder, Receipt } from './payments.ts'
import type { PostgresTables, Query } from './postgres-tables.ts'

const RECEIPT = 'SELECT "paymentId", "invoiceId", "amountCents", "paidAt" FROM payments'
/** Of two tool servers that handle one order one waits for the other, also for a COMMIT that nobody heard of again. */
const LOCK_KEY = 'SELECT pg_advisory_xact_lock(hashtextextended($1, 4100432))'
const LOCK_INVOICE =
  'SELECT "invoiceId", customer, "amountCents", status FROM invoices WHERE "invoiceId" = $1 FOR UPDATE'
const CLOSE = `UPDATE claims SET open = false, attempt = attempt + $1 WHERE "idempotencyKey" = $2 AND open`

type Order = Omit<PaymentOrder, 'signal'>

/** One ledger for any number of tool servers, with INV-1001 to INV-1020. */
export async function createPostgresLedger(
  { query, transact }: PostgresTables,
  { now = () => new Date() }: { readonly now?: () => Date } = {},
): Promise<Ledger> {
  await transact(seed)
  return {
    invoice: async (invoiceId) => {
      const [row] = await query(LOCK_INVOICE.replace(' FOR UPDATE', ''), [invoiceId])
      return row as Invoice | undefined
    },
    claim: (order) => transact((ask) => claim(ask, order)),
    release: (idempotencyKey) => transact(async (ask) => void (await ask(CLOSE, [1, idempotencyKey]))),
    book: (receipt, idempotencyKey) => transact((ask) => book(ask, receipt, idempotencyKey)),
    pay: (order) => transact((ask) => pay(ask, order, now())),
    find: (idempotencyKey) =>
      transact(async (ask) => {
        await ask(LOCK_KEY, [idempotencyKey])
        const receipt = await receiptOf(ask, idempotencyKey)
        return receipt === undefined ? { state: 'absent' } : { state: 'done', result: receipt }
      }),
    payments: async () => (await query(`${RECEIPT} ORDER BY seq`)) as unknown as Receipt[],
  }
}

async function seed(query: Query): Promise<void> {
  const columns = '"invoiceId" TEXT, customer TEXT, "amountCents" BIGINT, status TEXT'
  await query(
    `INSERT INTO invoices SELECT * FROM json_to_recordset($1::json) AS invoice (${columns})
     ON CONFLICT ("invoiceId") DO NOTHING`,
    [JSON.stringify(INVOICES)],
  )
}

async function receiptOf(query: Query, idempotencyKey: string): Promise<Receipt | undefined> {
  const [row] = await query(`${RECEIPT} WHERE "idempotencyKey" = $1`, [idempotencyKey])
  return row as Receipt | undefined
}

async function claim(query: Query, { invoiceId, amountCents, idempotencyKey }: Order): Promise<Claim> {
  await query(LOCK_KEY, [idempotencyKey])
  const [invoice] = await query(LOCK_INVOICE, [invoiceId])
  const receipt = await receiptOf(query, idempotencyKey)
  if (receipt !== undefined) return { state: 'paid', receipt }
  const reason = whyNot(invoice as Invoice | undefined, invoiceId, amountCents)
  if (reason !== undefined) return { state: 'refused', reason }
  const [holder] = await query('SELECT "idempotencyKey" FROM claims WHERE "invoiceId" = $1 AND open', [
    invoiceId,
  ])
  if (holder !== undefined && holder['idempotencyKey'] !== idempotencyKey)
    return { state: 'refused', reason: beingPaid(invoiceId) }
  const [claimed] = await query(
    `INSERT INTO claims VALUES ($1, $2, 0, true)
     ON CONFLICT ("idempotencyKey") DO UPDATE SET open = true RETURNING attempt`,
    [idempotencyKey, invoiceId],
  )
  return { state: 'claimed', attempt: Number(claimed?.['attempt']), repeat: holder !== undefined }
}

async function book(query: Query, receipt: Receipt, idempotencyKey: string): Promise<void> {
  const { paymentId, invoiceId, amountCents, paidAt } = receipt
  await query(LOCK_KEY, [idempotencyKey])
  await query(
    `INSERT INTO payments ("paymentId", "invoiceId", "amountCents", "paidAt", "idempotencyKey")
     VALUES ($1, $2, $3, $4, $5) ON CONFLICT ("idempotencyKey") DO NOTHING`,
    [paymentId, invoiceId, amountCents, paidAt, idempotencyKey],
  )
  await query(`UPDATE invoices SET status = 'paid' WHERE "invoiceId" = $1`, [invoiceId])
  await query(CLOSE, [0, idempotencyKey])
}

async function pay(query: Query, order: Order, at: Date): Promise<Receipt> {
  const claimed = await claim(query, order)
  if (claimed.state === 'paid') return claimed.receipt
  if (claimed.state === 'refused') throw new EffectNotPerformed(claimed.reason)
  const { invoiceId, amountCents, idempotencyKey } = order
  const paymentId = `pay_${crypto.randomUUID()}`
  const receipt = { paymentId, invoiceId, amountCents, paidAt: at.toISOString() }
  await book(query, receipt, idempotencyKey)
  return receipt
}
