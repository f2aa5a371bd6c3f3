import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { EffectNotPerformed } from '../../src/guard/effect.ts'
import { INVOICES } from '../../tools/invoices.ts'
import { openPostgresTables } from '../../tools/postgres-tables.ts'
import { createPostgresSinks, type Sinks } from '../../tools/sinks.ts'
import { noPostgres, startPostgres, type TestPostgres } from '../fixtures/postgres.ts'

describe.skipIf(noPostgres)('the shipped sinks of several tool servers on one Postgres', () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'holdpoint-postgres-sinks-'))
  let server: TestPostgres
  let url: string
  let all: readonly Sinks[]
  let one: Sinks
  let other: Sinks

  beforeAll(async () => {
    server = await startPostgres()
    url = await server.createDatabase()
    const open = () => createPostgresSinks({ dataDir, database: { url } })
    all = await Promise.all([open(), open(), open()])
    ;[one, other] = all as [Sinks, Sinks]
  })
  afterAll(async () => {
    await Promise.all(all?.map(async (sinks) => sinks.close()) ?? [])
    await server?.close()
    rmSync(dataDir, { recursive: true })
  })

  const order = (invoiceId: string, amountCents: number, idempotencyKey = `key of ${invoiceId}`) => ({
    invoiceId,
    amountCents,
    idempotencyKey,
  })

  test('one ledger, with INV-1001 to INV-1020, all open', async () => {
    for (const invoice of INVOICES) expect(await other.ledger.invoice(invoice.invoiceId)).toEqual(invoice)
    expect(await one.ledger.invoice('INV-9')).toBeUndefined()
    expect(await one.ledger.find('nobody')).toEqual({ state: 'absent' })
  })

  test('the same key on all of them at once gives the same receipt, and books once', async () => {
    const receipts = await Promise.all(
      all.map(async ({ payments }) => payments.pay(order('INV-1001', 12_500))),
    )
    expect(new Set(receipts.map(({ paymentId }) => paymentId)).size).toBe(1)
    expect(await one.ledger.payments()).toEqual([receipts[0]])
    expect(await other.ledger.find('key of INV-1001')).toEqual({ state: 'done', result: receipts[0] })
    expect(await other.ledger.invoice('INV-1001')).toMatchObject({ status: 'paid' })
  })

  test('a tool server that freezes in the middle of a payment does not keep the others from it', async () => {
    const frozen = await openPostgresTables({ url, timeoutMs: 100 })
    const paying = frozen.transact(async (query) => {
      await query(`SELECT 1 FROM invoices WHERE "invoiceId" = 'INV-1010' FOR UPDATE`)
      const invoice = await other.ledger.invoice('INV-1010')
      return other.payments.pay(order('INV-1010', invoice?.amountCents ?? 0))
    })
    // What it wrote itself is gone.
    await expect(paying).rejects.toThrow()
    expect(await other.ledger.invoice('INV-1010')).toMatchObject({ status: 'paid' })
    await frozen.close()
  })

  test('of several keys for one invoice at once one pays, and the others are told that they did not', async () => {
    const paying = all.map(async ({ payments }, at) => payments.pay(order('INV-1002', 4820, `key ${at}`)))
    const ends = await Promise.allSettled(paying)
    expect(ends.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    const refused = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason as unknown] : []))
    expect(refused).toHaveLength(2)
    for (const reason of refused) expect(reason).toBeInstanceOf(EffectNotPerformed)
  })

  test('another amount is refused, and books nothing', async () => {
    await expect(one.payments.pay(order('INV-1003', 1))).rejects.toThrow(/open with 98000 cents, not 1/)
    expect(await one.ledger.find('key of INV-1003')).toEqual({ state: 'absent' })
  })

  test('an invoice that one has claimed, no other may send, until it is released', async () => {
    const claim = order('INV-1004', 31_250)
    expect(await one.ledger.claim(claim)).toEqual({ state: 'claimed', attempt: 0, repeat: false })
    expect(await other.ledger.claim(claim)).toEqual({ state: 'claimed', attempt: 0, repeat: true })
    const foreign = order('INV-1004', 31_250, 'another key')
    expect(await other.ledger.claim(foreign)).toMatchObject({ state: 'refused', reason: /being paid/ })
    await one.ledger.release(claim.idempotencyKey)
    expect(await other.ledger.claim(claim)).toEqual({ state: 'claimed', attempt: 1, repeat: false })
  })

  test('a record is one for all, and only a transaction of Postgres is written in', async () => {
    await one.records.write('k', 'A')
    await other.records.write('k', 'B')
    expect(await one.records.read('k')).toBe('B')
    await expect(one.records.write('k', 'C', { exec: () => undefined })).rejects.toMatchObject({
      code: 'GUARD_MISCONFIGURED',
    })
    expect(await other.records.read('k')).toBe('B')
  })

  test('of a mail in its own folder none says that it was not sent: it may lie in another one’s', () => {
    expect(one.mailer).not.toHaveProperty('sent')
  })

  test('where nothing answers, nothing is opened', async () => {
    const opening = createPostgresSinks({ dataDir, database: { url: 'postgres://a:b@127.0.0.1:1/none' } })
    await expect(opening).rejects.toThrow(/ECONNREFUSED/)
  })
})
