import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'

import { createAccountsTools } from '../../tools/accounts-tools.ts'
import { createLedger, type FileLedger } from '../../tools/ledger.ts'
import { createOutbox } from '../../tools/outbox.ts'
import { createRecords, type FileRecords } from '../../tools/records.ts'
import { EMAIL, PAYMENTS, SERVER, startTestToolServer, type TestToolServer } from '../tool-server/start.ts'

let server: TestToolServer
let ledger: FileLedger
let records: FileRecords

beforeAll(async () => {
  server = await startTestToolServer({
    tools: (guard, dir) => {
      ledger = createLedger({ file: join(dir, 'ledger.sqlite') })
      records = createRecords({ file: join(dir, 'records.sqlite') })
      return createAccountsTools(guard, {
        ledger,
        payments: ledger,
        records,
        mailer: createOutbox({ directory: join(dir, 'outbox') }),
      })
    },
  })
})
afterAll(async () => {
  await server.close()
  ledger.close()
  records.close()
})
afterEach(async () => {
  for (const device of [SERVER, PAYMENTS, EMAIL]) await server.authority.restore(device)
})

let calls = 0
const call = (tool: string, args: object, callId = `call_${(calls += 1)}`, token?: string) =>
  server.call(tool, { call_id: callId, run_id: 'run_1', arguments: args }, token)
const mails = () => readdirSync(join(server.dir, 'outbox'))

test('four tools with the names and parameters that are promised', async () => {
  const { body } = await server.get('/tools')
  const signature = (tool: {
    name: string
    parameters: { properties: Record<string, { type: string }> }
  }) => [tool.name, Object.entries(tool.parameters.properties).map(([name, { type }]) => `${name}: ${type}`)]
  expect(body.map(signature)).toEqual([
    ['lookup_invoice', ['invoiceId: string']],
    ['send_payment', ['invoiceId: string', 'amountCents: integer']],
    ['send_email', ['to: string', 'subject: string', 'text: string']],
    ['write_record', ['key: string', 'value: string']],
  ])
})

test('their schemas hold no look-around, which the Responses API refuses', async () => {
  expect(JSON.stringify((await server.get('/tools')).body)).not.toMatch(/\(\?[=!<]/)
})

describe('send_payment', () => {
  test('pays an open invoice once: another call gets the stored receipt', async () => {
    const args = { invoiceId: 'INV-1001', amountCents: 12_500 }
    const first = await call('send_payment', args)
    const second = await call('send_payment', args)
    expect(JSON.parse(first.body.output)).toMatchObject({ invoiceId: 'INV-1001', amountCents: 12_500 })
    expect(second.body.replayed).toBe(true)
    expect(JSON.parse(second.body.output).result).toEqual(JSON.parse(first.body.output))
    expect(ledger.payments()).toHaveLength(1)
    expect(JSON.parse((await call('lookup_invoice', { invoiceId: 'INV-1001' })).body.output).status).toBe(
      'paid',
    )
  })

  test('an invoice that another caller has paid is not paid again', async () => {
    const args = { invoiceId: 'INV-1002', amountCents: 4820 }
    await call('send_payment', args)
    const paid = ledger.payments().length
    const again = await call('send_payment', args, 'call_other', server.otherToken)
    expect([again.status, again.body.code]).toEqual([422, 'EFFECT_NOT_PERFORMED'])
    expect(again.body.message).toContain('paid already')
    expect(ledger.payments()).toHaveLength(paid)
  })

  test('the amount must be the open one, and a corrected call pays', async () => {
    const wrong = await call('send_payment', { invoiceId: 'INV-1003', amountCents: 1 })
    expect([wrong.status, wrong.body.executed]).toEqual([422, false])
    const right = await call('send_payment', { invoiceId: 'INV-1003', amountCents: 98_000 })
    expect(right.status).toBe(200)
  })

  test('G1: payments revoked: nothing is paid, while email and records go on', async () => {
    await server.authority.revoke(PAYMENTS)
    const paid = ledger.payments().length
    const payment = await call('send_payment', { invoiceId: 'INV-1004', amountCents: 31_250 })
    expect([payment.status, payment.body.code, payment.body.device_id]).toEqual([
      403,
      'DEVICE_REVOKED',
      PAYMENTS,
    ])
    expect(ledger.payments()).toHaveLength(paid)
    expect(ledger.invoice('INV-1004')?.status).toBe('open')
    const others = [
      await call('send_email', { to: 'ann@example.com', subject: 'Hi', text: 'Hello' }),
      await call('write_record', { key: 'k', value: 'v' }),
      await call('lookup_invoice', { invoiceId: 'INV-1004' }),
    ]
    expect(others.map(({ status }) => status)).toEqual([200, 200, 200])
  })

  test('G1: the server device revoked: nothing at all runs', async () => {
    await server.authority.revoke(SERVER)
    for (const [tool, args] of [
      ['send_payment', { invoiceId: 'INV-1005', amountCents: 7600 }],
      ['send_email', { to: 'ann@example.com', subject: 'Hi', text: 'Hello' }],
      ['write_record', { key: 'k', value: 'v' }],
      ['lookup_invoice', { invoiceId: 'INV-1005' }],
    ] as const)
      expect((await call(tool, args)).body).toMatchObject({ code: 'DEVICE_REVOKED', device_id: SERVER })
  })
})

describe('send_email', () => {
  const email = { to: 'ann@example.com', subject: 'Reminder', text: 'Please pay.' }

  test('a repeat of one call sends one mail, a new call sends another', async () => {
    const before = mails().length
    await call('send_email', email, 'call_mail_1')
    const again = await call('send_email', email, 'call_mail_1')
    expect(again.body.replayed).toBe(true)
    expect(mails()).toHaveLength(before + 1)
    const { body } = await call('send_email', email, 'call_mail_2')
    expect(mails()).toHaveLength(before + 2)
    expect(mails()).toContain(`${JSON.parse(body.output).messageId}.eml`)
  })

  test.each(['ann', 'ann@example.com, bob@example.com', 'ann@example.com\r\nBcc: bob@example.com', ''])(
    'the address %j is refused and nothing is sent',
    async (to) => {
      const before = mails().length
      expect((await call('send_email', { ...email, to })).status).toBe(400)
      expect(mails()).toHaveLength(before)
    },
  )
})

test('write_record: A, then B, then A again writes three times', async () => {
  for (const value of ['A', 'B', 'A']) {
    await call('write_record', { key: 'letter', value })
    expect(records.read('letter')).toBe(value)
  }
})

test('lookup_invoice says what is not there', async () => {
  expect((await call('lookup_invoice', { invoiceId: 'INV-7' })).body.output).toBe(
    'There is no invoice INV-7.',
  )
})

test('payments that need approval run nothing over HTTP', async () => {
  await using approving = await startTestToolServer({
    tools: (guard, dir) =>
      createAccountsTools(guard, {
        ledger,
        payments: ledger,
        records,
        mailer: createOutbox({ directory: dir }),
        paymentsNeedApproval: true,
      }),
  })
  const { body } = await approving.call('send_payment', {
    call_id: 'c',
    arguments: { invoiceId: 'INV-1006', amountCents: 15_999 },
  })
  expect(body).toMatchObject({ code: 'APPROVAL_REQUIRED', executed: false })
  expect(ledger.invoice('INV-1006')?.status).toBe('open')
})
