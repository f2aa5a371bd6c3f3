import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'

import { EffectNotPerformed } from '../../src/guard/effect.ts'
import { INVOICES } from '../../tools/invoices.ts'
import { createLedger } from '../../tools/ledger.ts'
import { createOutbox } from '../../tools/outbox.ts'
import { createRecords } from '../../tools/records.ts'
import { createSinks } from '../../tools/sinks.ts'
import { startTestSmtp } from '../fixtures/smtp.ts'
import { startTestStripe } from '../fixtures/stripe.ts'

const directory = mkdtempSync(join(tmpdir(), 'holdpoint-sinks-'))
afterAll(() => rmSync(directory, { recursive: true }))

let files = 0
const newPath = () => join(directory, `${(files += 1)}`, 'data')
const NOW = new Date('2026-11-21T10:00:00.000Z')
const now = () => NOW

describe('ledger', () => {
  test('starts with INV-1001 to INV-1020, all open', () => {
    const ledger = createLedger({ file: newPath() })
    expect(INVOICES.map(({ invoiceId }) => invoiceId)).toEqual(
      Array.from({ length: 20 }, (_, index) => `INV-${1001 + index}`),
    )
    for (const invoice of INVOICES) {
      expect(ledger.invoice(invoice.invoiceId)).toEqual(invoice)
      expect(invoice.status).toBe('open')
      expect(Number.isInteger(invoice.amountCents) && invoice.amountCents > 0).toBe(true)
    }
    ledger.close()
  })

  const payment = { invoiceId: 'INV-1001', amountCents: 12_500, idempotencyKey: 'key-1' }

  test('the same key gives the same receipt, and books once, also after it was opened again', async () => {
    const file = newPath()
    const ledger = createLedger({ file, now })
    const first = ledger.pay(payment)
    expect(first).toMatchObject({ paidAt: NOW.toISOString(), invoiceId: 'INV-1001', amountCents: 12_500 })
    expect(ledger.pay(payment)).toEqual(first)
    ledger.close()
    const again = createLedger({ file })
    expect(again.pay(payment)).toEqual(first)
    expect(again.payments()).toHaveLength(1)
    expect(again.invoice('INV-1001')?.status).toBe('paid')
    expect(await again.find('key-1')).toEqual({ state: 'done', result: first })
    again.close()
  })

  test.each([
    ['an invoice that is paid', { ...payment, idempotencyKey: 'key-2' }, /paid already/],
    ['another amount', { ...payment, invoiceId: 'INV-1002', amountCents: 1 }, /open with 4820 cents, not 1/],
    ['an unknown invoice', { ...payment, invoiceId: 'INV-9' }, /no invoice INV-9/],
  ])('refuses %s and books nothing', async (_name, refused, reason) => {
    const ledger = createLedger({ file: newPath() })
    if (refused.invoiceId === 'INV-1001') ledger.pay(payment)
    const before = ledger.payments().length
    const paying = () => ledger.pay({ ...refused, idempotencyKey: 'key-2' })
    expect(paying).toThrow(EffectNotPerformed)
    expect(paying).toThrow(reason)
    expect(ledger.payments()).toHaveLength(before)
    expect(await ledger.find('key-2')).toEqual({ state: 'absent' })
    ledger.close()
  })
})

describe('the book', () => {
  const order = { invoiceId: 'INV-1001', amountCents: 12_500, idempotencyKey: 'key-1' }
  const receipt = { paymentId: 'pi_1', invoiceId: 'INV-1001', amountCents: 12_500, paidAt: NOW.toISOString() }

  test('keeps an invoice for one key until that is released or booked, and counts what was released', () => {
    const file = newPath()
    const first = createLedger({ file })
    expect(first.claim(order)).toEqual({ state: 'claimed', attempt: 0, repeat: false })
    expect(first.claim(order)).toEqual({ state: 'claimed', attempt: 0, repeat: true })
    expect(first.claim({ ...order, idempotencyKey: 'key-2' })).toMatchObject({ state: 'refused' })
    first.close()
    const book = createLedger({ file })
    expect(book.claim(order)).toMatchObject({ repeat: true })
    book.release('key-1')
    book.release('key-1')
    expect(book.claim({ ...order, idempotencyKey: 'key-2' })).toMatchObject({ attempt: 0, repeat: false })
    book.release('key-2')
    expect(book.claim(order)).toEqual({ state: 'claimed', attempt: 1, repeat: false })
    book.close()
  })

  test('books a payment once', () => {
    const book = createLedger({ file: newPath() })
    book.claim(order)
    book.book(receipt, 'key-1')
    book.book(receipt, 'key-1')
    expect(book.payments()).toEqual([receipt])
    expect(book.claim(order)).toEqual({ state: 'paid', receipt })
    expect(book.claim({ ...order, idempotencyKey: 'key-2' })).toMatchObject({ state: 'refused' })
    expect(() => book.book({ ...receipt, paymentId: 'pi_2' }, 'key-2')).toThrow(/UNIQUE/)
    book.close()
  })
})

describe('outbox', () => {
  const email = { to: 'ann@example.com', subject: 'Your invoice', text: 'Dear Ann,\n\nit is paid.\n' }

  test('writes a mail that mail programs can read, with the idempotency key in its Message-ID', async () => {
    const outbox = createOutbox({ directory: newPath(), from: 'Accounts <accounts@bank.example>', now })
    expect(await outbox.send(email, { idempotencyKey: 'hp_1' })).toBe('hp_1@bank.example')
    const text = readFileSync(join(outbox.directory, 'hp_1@bank.example.eml'), 'utf8')
    const [head, body = ''] = text.split('\r\n\r\n')
    expect(head?.split('\r\n')).toEqual([
      'From: Accounts <accounts@bank.example>',
      'To: ann@example.com',
      'Subject: Your invoice',
      'Date: Sat, 21 Nov 2026 10:00:00 +0000',
      'Message-ID: <hp_1@bank.example>',
      'MIME-Version: 1.0',
      'Content-Type: text/plain; charset=utf-8',
      'Content-Transfer-Encoding: base64',
    ])
    expect(Buffer.from(body, 'base64').toString()).toBe('Dear Ann,\r\n\r\nit is paid.\r\n')
  })

  test('the same key writes one mail', async () => {
    const outbox = createOutbox({ directory: newPath() })
    expect(outbox.sent('hp_1')).toBeUndefined()
    const messageId = await outbox.send(email, { idempotencyKey: 'hp_1' })
    await outbox.send(email, { idempotencyKey: 'hp_1' })
    expect(outbox.sent('hp_1')).toBe(messageId)
    expect(readdirSync(outbox.directory)).toEqual([`${messageId}.eml`])
    await outbox.send(email, { idempotencyKey: 'hp_2' })
    expect(readdirSync(outbox.directory)).toHaveLength(2)
  })

  test.each([
    ['a line break', 'Hi\r\nBcc: everybody@example.com'],
    ['other scripts', 'Größe — 請求書 №7 😀 '.repeat(20)],
    ['what looks encoded', '=?UTF-8?B?QmNj?='],
  ])('a subject with %s starts no other header and keeps every line short', async (_name, subject) => {
    const outbox = createOutbox({ directory: newPath() })
    const messageId = await outbox.send({ ...email, subject }, { idempotencyKey: 'hp_1' })
    const text = readFileSync(join(outbox.directory, `${messageId}.eml`), 'utf8')
    const head = text.slice(0, text.indexOf('\r\n\r\n'))
    expect(head).not.toMatch(/^Bcc:/m)
    expect(Math.max(...text.split('\r\n').map((line) => line.length))).toBeLessThanOrEqual(
      78 + 'Subject: '.length,
    )
    const unfolded = /^Subject: ((?:.|\r\n )*)/m.exec(head)?.[1] ?? ''
    const decoded = [...unfolded.matchAll(/=\?UTF-8\?B\?([^?]*)\?=/g)].map(([, part]) => part ?? '')
    expect(decoded.map((part) => Buffer.from(part, 'base64').toString()).join('')).toBe(subject)
  })
})

test('records are written over, and stay', () => {
  const file = newPath()
  const records = createRecords({ file })
  expect(records.read('k')).toBeUndefined()
  records.write('k', 'A')
  records.write('k', 'B')
  records.close()
  const again = createRecords({ file })
  expect(again.read('k')).toBe('B')
  again.close()
})

describe('the sinks of a program', () => {
  const order = { invoiceId: 'INV-1001', amountCents: 12_500, idempotencyKey: 'hp_1' }
  const email = { to: 'ann@example.com', subject: 'Hi', text: 'Hello' }

  test('without settings: the ledger pays, mails are files, records lie beside the journal', async () => {
    const dataDir = newPath()
    const sinks = createSinks({ dataDir })
    await sinks.payments.pay(order)
    await sinks.mailer.send(email, { idempotencyKey: 'hp_1' })
    sinks.records.write('k', 'v')
    expect(sinks.ledger.payments()).toHaveLength(1)
    expect(readdirSync(dataDir).toSorted()).toEqual(['journal.sqlite', 'ledger.sqlite', 'outbox'])
    expect(readdirSync(join(dataDir, 'outbox'))).toEqual(['hp_1@example.com.eml'])
    sinks.close()
  })

  test('with Stripe and a mail server: those, and the ledger is told what was paid', async () => {
    await using stripe = await startTestStripe()
    await using smtp = await startTestSmtp()
    const sinks = createSinks({
      dataDir: newPath(),
      stripe: { apiKey: stripe.apiKey, baseUrl: stripe.url },
      smtp: { smtpUrl: smtp.url },
      mailFrom: 'Accounts <accounts@bank.example>',
    })
    const receipt = await sinks.payments.pay(order)
    await sinks.mailer.send(email, { idempotencyKey: 'hp_1' })
    expect(stripe.charges).toMatchObject([{ invoiceId: 'INV-1001', idempotencyKey: 'hp_1' }])
    expect(sinks.ledger.payments()).toEqual([receipt])
    expect((await smtp.next()).headers['message-id']).toEqual(['<hp_1@bank.example>'])
    sinks.close()
  })
})
