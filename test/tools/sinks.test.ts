import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'

import { INVOICES } from '../../tools/invoices.ts'
import { createLedger } from '../../tools/ledger.ts'
import { createOutbox } from '../../tools/outbox.ts'
import { createRecords } from '../../tools/records.ts'

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

  test('the same key gives the same receipt, and books once, also after it was opened again', () => {
    const file = newPath()
    const ledger = createLedger({ file, now })
    const first = ledger.pay(payment)
    expect(first).toMatchObject({
      accepted: true,
      receipt: { paidAt: NOW.toISOString(), amountCents: 12_500 },
    })
    expect(ledger.pay(payment)).toEqual(first)
    ledger.close()
    const again = createLedger({ file })
    expect(again.pay(payment)).toEqual(first)
    expect(again.payments()).toHaveLength(1)
    expect(again.invoice('INV-1001')?.status).toBe('paid')
    expect(first).toMatchObject({ receipt: again.receipt('key-1') })
    again.close()
  })

  test.each([
    ['an invoice that is paid', { ...payment, idempotencyKey: 'key-2' }, /paid already/],
    ['another amount', { ...payment, invoiceId: 'INV-1002', amountCents: 1 }, /open with 4820 cents, not 1/],
    ['an unknown invoice', { ...payment, invoiceId: 'INV-9' }, /no invoice INV-9/],
  ])('refuses %s and books nothing', (_name, refused, reason) => {
    const ledger = createLedger({ file: newPath() })
    if (refused.invoiceId === 'INV-1001') ledger.pay(payment)
    const before = ledger.payments().length
    expect(ledger.pay({ ...refused, idempotencyKey: 'key-2' })).toEqual({
      accepted: false,
      reason: expect.stringMatching(reason),
    })
    expect(ledger.payments()).toHaveLength(before)
    expect(ledger.receipt('key-2')).toBeUndefined()
    ledger.close()
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
