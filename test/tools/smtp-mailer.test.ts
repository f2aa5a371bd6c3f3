import { createServer, type AddressInfo, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { EffectNotPerformed } from '../../src/guard/effect.ts'
import { sendEmail } from '../../tools/send-email.ts'
import { createSmtpMailer, type SmtpMailerOptions } from '../../tools/smtp-mailer.ts'
import { parseSmtpUrl } from '../../tools/smtp-url.ts'
import { selfSigned } from '../fixtures/certificate.ts'
import { startTestSmtp, type TestSmtp } from '../fixtures/smtp.ts'
import { sinkWorld, type SinkWorld } from './world.ts'

const FROM = 'Accounts <accounts@bank.example>'
const EMAIL = { to: 'ann@example.com', subject: 'Reminder', text: 'Dear Ann,\n\n.\nplease pay — 12 €.\n' }
const KEY = { idempotencyKey: 'hp_1' }

let smtp: TestSmtp
let world: SinkWorld
beforeEach(async () => {
  smtp = await startTestSmtp()
  world = await sinkWorld()
})
afterEach(async () => {
  await world[Symbol.asyncDispose]()
  await smtp.close()
})

const mailer = (options: Partial<SmtpMailerOptions> = {}) =>
  createSmtpMailer({ smtpUrl: smtp.url, from: FROM, timeoutMs: 3000, ...options })
const sending = (options?: Partial<SmtpMailerOptions>, at?: Parameters<SinkWorld['call']>[2]) =>
  world.call(sendEmail(world.guard, mailer(options)), EMAIL, at)

test('delivers the mail once, with the key of the effect in its Message-ID', async () => {
  const told = await sending()
  const mail = await smtp.next()
  expect(mail.headers['message-id']).toEqual([`<${told.result.messageId}>`])
  expect(told.result.messageId).toMatch(/^hp_[A-Za-z0-9_-]{40}@bank\.example$/)
  expect([mail.from, mail.to]).toEqual(['accounts@bank.example', ['ann@example.com']])
  expect(mail.headers['from']).toEqual([FROM])
  expect(mail.text.trimEnd()).toBe(EMAIL.text.trimEnd())
  expect(await world.states()).toEqual(['done'])
})

test('a repeat of the call is replayed, and the server hears nothing', async () => {
  const first = await sending({}, { callId: 'call_a' })
  const again = await sending({}, { callId: 'call_a' })
  expect([again.replayed, again.result.result]).toEqual([true, first.result])
  expect(smtp.mails).toHaveLength(1)
})

describe('a server that says no has not taken the mail', () => {
  test.each([550, 451, 421])(
    '%i to the recipient: not performed, and the same call may send again',
    async (code) => {
      smtp.refuse = code
      const told = await sending({}, { callId: 'call_a' })
      expect([told.code, told.body?.executed]).toEqual(['EFFECT_NOT_PERFORMED', false])
      expect(told.body?.message).toContain(`(${code}). Nothing was sent.`)
      expect(await world.states()).toEqual(['failed'])
      smtp.refuse = undefined
      const again = await sending({}, { callId: 'call_a' })
      expect((await smtp.next()).headers['message-id']).toEqual([`<${again.result.messageId}>`])
    },
  )

  test.each([
    ['to MAIL', { onMailFrom: no(553) }],
    ['to the text', { onData: noAfterText(554) }],
    ['to the text, and goodbye', { onData: noAfterText(421) }],
    ['to the connection', { onConnect: no(554) }],
  ])('no %s', async (_name, options) => {
    await using refusing = await startTestSmtp(options)
    const told = await sending({ smtpUrl: refusing.url })
    expect([told.code, told.body?.executed]).toEqual(['EFFECT_NOT_PERFORMED', false])
    expect(await world.states()).toEqual(['failed'])
  })

  test('a wrong password, which nobody is told', async () => {
    await using strict = await startTestSmtp({
      authOptional: false,
      allowInsecureAuth: true,
      onAuth: (_auth, _session, callback) => callback(new Error('no')),
    })
    const smtpUrl = strict.url.replace('://', '://robot:pa55-w0rd@')
    const told = await sending({ smtpUrl })
    expect([told.code, told.body?.executed]).toEqual(['EFFECT_NOT_PERFORMED', false])
    expect(told.output + JSON.stringify(world.lines)).not.toMatch(/pa55-w0rd/)
  })
})

describe('a server that never got the text has not taken the mail', () => {
  test('a refused port', async () => {
    await smtp.close()
    const told = await sending()
    expect([told.code, told.body?.executed]).toEqual(['EFFECT_NOT_PERFORMED', false])
  })

  test.each([
    ['before its greeting', /^$/],
    ['at EHLO', /^EHLO/],
    ['at RCPT', /^RCPT/],
    ['at DATA', /^DATA/],
  ])('cut %s', async (_name, at) => {
    await using raw = await rawSmtp({ cutAt: at })
    const told = await sending({ smtpUrl: raw.url })
    expect([told.code, told.body?.executed]).toEqual(['EFFECT_NOT_PERFORMED', false])
    expect(raw.texts).toEqual([])
  })

  test('one that never speaks', async () => {
    await using raw = await rawSmtp({ silentAt: /^$/ })
    const told = await sending({ smtpUrl: raw.url, timeoutMs: 300 })
    expect(told.body?.executed).toBe(false)
  })
})

describe('a server that was given the text and says nothing may have taken the mail', () => {
  test('cut in the middle of the text: unknown', async () => {
    await using raw = await rawSmtp({ cutInText: true })
    const told = await sending({ smtpUrl: raw.url })
    expect([told.code, told.body?.executed]).toEqual(['OUTCOME_UNKNOWN', 'unknown'])
    expect(raw.texts).toEqual([])
  })

  test('cut after the text: it has the mail, and a repeat sends nothing', async () => {
    await using raw = await rawSmtp({ cutAt: /^\.$/ })
    const at = { callId: 'call_a' }
    expect((await sending({ smtpUrl: raw.url }, at)).body?.executed).toBe('unknown')
    expect(raw.texts).toHaveLength(1)
    expect((await sending({ smtpUrl: raw.url }, at)).body?.executed).toBe('unknown')
    await world.restart()
    expect((await sending({ smtpUrl: raw.url }, at)).body?.executed).toBe('unknown')
    expect([raw.texts.length, raw.connections]).toEqual([1, 1])
    expect((await world.journal.listUnknown()).map(({ effect }) => effect)).toEqual(['send_email'])
  })

  test('never answers: unknown at the time limit', async () => {
    await using raw = await rawSmtp({ silentAt: /^\.$/ })
    const startedMs = performance.now()
    expect((await sending({ smtpUrl: raw.url, timeoutMs: 300 })).body?.executed).toBe('unknown')
    expect(performance.now() - startedMs).toBeLessThan(3000)
  })

  test('the mailer is closed meanwhile', async () => {
    await using raw = await rawSmtp({ silentAt: /^\.$/ })
    const closing = mailer({ smtpUrl: raw.url })
    const told = world.call(sendEmail(world.guard, closing), EMAIL)
    while (raw.texts.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    closing.close()
    closing.close()
    expect((await told).body?.executed).toBe('unknown')
    await expect(closing.send(EMAIL, KEY)).rejects.toThrow(EffectNotPerformed)
  })

  test('an operator says that it was not sent: the same call sends the same Message-ID, another call another one', async () => {
    await using raw = await rawSmtp({ cutAt: /^\.$/ })
    await sending({ smtpUrl: raw.url }, { callId: 'call_a' })
    const [entry] = await world.journal.listUnknown()
    await world.journal.resolveUnknown(entry?.key ?? '', { state: 'failed' })
    await sending({}, { callId: 'call_a' })
    await sending({}, { callId: 'call_b' })
    const first = /^Message-ID: (.*)$/m.exec(raw.texts[0] ?? '')?.[1]?.trim()
    const [same, other] = smtp.mails.map(({ headers }) => headers['message-id']?.[0])
    expect(same).toBe(first)
    expect(other).not.toBe(first)
  })
})

describe('TLS', () => {
  test('smtps:// with a certificate that is trusted', async () => {
    const certificate = selfSigned()
    await using secure = await startTestSmtp({ secure: true, ...certificate })
    const told = await sending({ smtpUrl: secure.url, ca: certificate.cert })
    expect(told.code).toBe('output')
    expect(secure.mails).toHaveLength(1)
  })

  test('smtps:// with one that is not: nothing was sent', async () => {
    await using secure = await startTestSmtp({ secure: true, ...selfSigned() })
    const told = await sending({ smtpUrl: secure.url })
    expect([told.code, told.body?.executed, secure.mails.length]).toEqual(['EFFECT_NOT_PERFORMED', false, 0])
  })

  test('smtp:// insists on STARTTLS off this machine only', () => {
    expect(parseSmtpUrl('smtp://mail.example.com')).toMatchObject({ port: 587, requireTLS: true })
    expect(parseSmtpUrl('smtp://127.0.0.1:25')).toMatchObject({
      port: 25,
      requireTLS: false,
      ignoreTLS: true,
    })
    expect(parseSmtpUrl('smtps://u%40x:p@mail.example.com')).toMatchObject({
      port: 465,
      secure: true,
      credentials: { user: 'u@x', pass: 'p' },
    })
  })

  test.each([
    'smtps://user:s3cret@mail.example.com?tls.rejectUnauthorized=false',
    'http://s3cret',
    'smtp://%:s3cret@x',
  ])('the URL %s is refused without being repeated', (url) => {
    expect(() => parseSmtpUrl(url)).toThrow(/cannot be used/)
    expect(() => parseSmtpUrl(url)).not.toThrow(/s3cret/)
  })
})

describe('nothing of a mail can start another header or another recipient', () => {
  test.each([
    ['Hi\r\nBcc: everybody@example.com'],
    ['Hi\nX-Evil: 1\n\nbody'],
    ['=?UTF-8?Q?=0D=0ABcc:_x@example.com?='],
    ['Größe — 請求書 😀 '.repeat(20)],
  ])('the subject %j', async (subject) => {
    await mailer().send({ ...EMAIL, subject }, KEY)
    const mail = await smtp.next()
    expect(Object.keys(mail.headers).toSorted()).toEqual([
      'auto-submitted',
      'content-transfer-encoding',
      'content-type',
      'date',
      'from',
      'message-id',
      'mime-version',
      'subject',
      'to',
    ])
    expect(mail.to).toEqual([EMAIL.to])
  })

  test.each([
    'ann@example.com\r\nBcc: bob@example.com',
    'ann@example.com, bob@example.com',
    'Ann <ann@example.com>',
    'ann@example.com> SIZE=1\r\nRCPT TO:<bob@example.com',
    '',
  ])('the recipient %j is refused before a connection', async (to) => {
    await expect(mailer().send({ ...EMAIL, to }, KEY)).rejects.toThrow(/one plain email address/)
    expect(smtp.mails).toEqual([])
  })
})

/** For smtp-server's hooks: says no with this code. */
function no(responseCode: number) {
  return (...args: unknown[]) => {
    const callback = args.at(-1) as (error: Error) => void
    callback(Object.assign(new Error('no'), { responseCode }))
  }
}

function noAfterText(responseCode: number) {
  return (stream: NodeJS.ReadableStream, _session: unknown, callback: (error: Error) => void) => {
    stream.resume()
    stream.on('end', () => callback(Object.assign(new Error('no'), { responseCode })))
  }
}

interface RawSmtp extends AsyncDisposable {
  readonly url: string
  /** Texts that came whole. */
  readonly texts: string[]
  readonly connections: number
}

/**
 * A mail server that cuts the connection, or falls silent, where a line of the client matches: the empty line stands for
 * the moment of connecting, a lone dot for the end of the text.
 */
async function rawSmtp(faults: { cutAt?: RegExp; silentAt?: RegExp; cutInText?: boolean }): Promise<RawSmtp> {
  const texts: string[] = []
  const sockets = new Set<Socket>()
  let connections = 0
  const answered = (socket: Socket, line: string, answer: string) => {
    if (faults.cutAt?.test(line)) return void socket.destroy()
    if (!faults.silentAt?.test(line)) socket.write(`${answer}\r\n`)
  }
  const server = createServer((socket) => {
    connections += 1
    sockets.add(socket)
    socket.on('error', () => undefined)
    let pending = ''
    let inText = false
    answered(socket, '', '220 raw')
    socket.on('data', (chunk: Buffer) => {
      pending += chunk.toString('latin1')
      for (;;) {
        if (inText) {
          if (faults.cutInText) return void socket.destroy()
          const end = pending.indexOf('\r\n.\r\n')
          if (end < 0) return
          texts.push(pending.slice(0, end))
          pending = pending.slice(end + 5)
          inText = false
          answered(socket, '.', '250 taken')
          continue
        }
        const end = pending.indexOf('\r\n')
        if (end < 0) return
        const line = pending.slice(0, end)
        pending = pending.slice(end + 2)
        inText = line === 'DATA'
        answered(socket, line, line === 'DATA' ? '354 go on' : line === 'QUIT' ? '221 bye' : '250 ok')
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `smtp://127.0.0.1:${(server.address() as AddressInfo).port}`,
    texts,
    get connections() {
      return connections
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
