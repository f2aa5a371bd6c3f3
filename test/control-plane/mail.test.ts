import fc from 'fast-check'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'

import { createFolderMailer } from '../../src/control-plane/mail-folder.ts'
import { createMailQueue } from '../../src/control-plane/mail-queue.ts'
import { createSmtpMailer } from '../../src/control-plane/mail-smtp.ts'
import { MailError, noMailer, type Mailer } from '../../src/control-plane/mail.ts'
import { selfSigned } from '../fixtures/certificate.ts'
import { logLines } from '../fixtures/log-lines.ts'
import { parseMail, startTestSmtp, type TestSmtp } from '../fixtures/smtp.ts'

const FROM = 'holdpoint <holdpoint@example.com>'
const MAIL = { to: 'ops@example.org', subject: 'Recover access', text: 'Hello.\n' }

async function thrownBy(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    (error: unknown) => error,
  )
}

describe('mail by SMTP', () => {
  test('arrives as one plain text for one address, with its links whole', async () => {
    await using smtp = await startTestSmtp()
    const mailer = createSmtpMailer({ smtpUrl: smtp.url, from: FROM })
    const link = `https://ops.example.com/a/rather/long/path/recover#token=hpr_${'x='.repeat(60)}`
    await mailer.send({ ...MAIL, subject: 'Zugang für o_1', text: `Grüße.\n\n${link}\n` })
    const mail = await smtp.next()
    expect(mail).toMatchObject({ from: 'holdpoint@example.com', to: ['ops@example.org'] })
    expect(mail.headers).toMatchObject({ to: ['ops@example.org'], 'auto-submitted': ['auto-generated'] })
    expect(mail.text).toBe(`Grüße.\n\n${link}\n`)
    mailer.close()
  })

  test('an address brings no header and no second recipient of its own', async () => {
    await using smtp = await startTestSmtp()
    const mailer = createSmtpMailer({ smtpUrl: smtp.url, from: FROM })
    const parts = fc.constantFrom(
      '\r\n',
      '\n',
      '\r',
      ',',
      ';',
      ':',
      ' ',
      '<',
      '>',
      '"',
      '\0',
      '\t',
      '()',
      '@',
    )
    const bad = fc
      .tuple(fc.string({ maxLength: 8 }), parts, fc.string({ maxLength: 8 }))
      .map(([before, part, after]) => `ops${before}${part}${after}Bcc: x@example.net@example.org`)
    await fc.assert(
      fc.asyncProperty(bad, async (to) => {
        expect(await thrownBy(mailer.send({ ...MAIL, to }))).toMatchObject({
          message: 'This is not one plain email address.',
        })
      }),
    )
    await mailer.send({ ...MAIL, subject: 'a\r\nBcc: x@example.net\r\n\r\nbody' })
    const mail = await smtp.next()
    expect(mail.headers).not.toHaveProperty('bcc')
    expect(mail.to).toEqual(['ops@example.org'])
    expect(mail.text).toBe('Hello.\n')
    expect(smtp.mails).toHaveLength(1)
  })

  test('is refused to a server whose certificate nobody vouches for', async () => {
    const { key, cert } = selfSigned()
    await using smtp = await startTestSmtp({ secure: true, key, cert })
    const stranger = await thrownBy(createSmtpMailer({ smtpUrl: smtp.url, from: FROM }).send(MAIL))
    expect(stranger).toMatchObject({ code: 'MAIL_NOT_SENT', permanent: false })
    expect(smtp.mails).toHaveLength(0)
    await createSmtpMailer({ smtpUrl: smtp.url, from: FROM, ca: cert }).send(MAIL)
    expect(smtp.mails).toHaveLength(1)
  })

  test('never goes over a wire in the clear: off loopback a server must offer STARTTLS', async () => {
    await using smtp = await startTestSmtp()
    // An address that leads here, but is not one of loopback.
    const smtpUrl = smtp.url.replace('127.0.0.1', '0.0.0.0')
    expect(await thrownBy(createSmtpMailer({ smtpUrl, from: FROM }).send(MAIL))).toBeInstanceOf(MailError)
    expect(smtp.mails).toHaveLength(0)
  })

  test('tells in no error the user, the password or the address, whatever the server says', async () => {
    await using smtp = await startTestSmtp({
      authOptional: false,
      allowInsecureAuth: true,
      onAuth: ({ username, password }, _session, callback) =>
        callback(new Error(`no ${username} ${password} for ops@example.org`)),
    })
    const smtpUrl = smtp.url.replace('//', '//mailer:s%40cret@')
    const error = (await thrownBy(createSmtpMailer({ smtpUrl, from: FROM }).send(MAIL))) as MailError
    expect(error).toMatchObject({ permanent: false })
    expect(error.message).toContain(`127.0.0.1:${smtp.port} did not take a mail (EAUTH, 535)`)
    const shown = `${error.stack} ${JSON.stringify(error)} ${String(error.cause)}`
    for (const secret of ['mailer', 's@cret', 's%40cret', 'ops@']) expect(shown).not.toContain(secret)
  })

  test('a URL that cannot work is named by its form, never by its text', () => {
    const bad = ['mail.example.com', 'http://u:s3cret@h', 'smtp://u:s3cret@', 'smtps://u:%zz-s3cret@h']
    for (const smtpUrl of [...bad, 'smtps://u:s3cret@h?tls.rejectUnauthorized=false']) {
      const make = () => createSmtpMailer({ smtpUrl, from: FROM })
      expect(make).toThrow(expect.objectContaining({ code: 'SMTP_URL_INVALID' }))
      expect(make).not.toThrow(/s3cret/)
    }
  })

  test('gives up on a server that says nothing', async () => {
    const silent = createServer(() => {})
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    const { port } = silent.address() as AddressInfo
    const mailer = createSmtpMailer({ smtpUrl: `smtp://127.0.0.1:${port}`, from: FROM, timeoutMs: 300 })
    expect(await thrownBy(mailer.send(MAIL))).toMatchObject({ code: 'MAIL_NOT_SENT', permanent: false })
    const cut = createSmtpMailer({ smtpUrl: `smtp://127.0.0.1:${port}`, from: FROM })
    const sending = thrownBy(cut.send(MAIL))
    const begun = performance.now()
    cut.close()
    expect(await sending).toBeInstanceOf(MailError)
    expect(performance.now() - begun).toBeLessThan(5000)
    silent.close()
  })
})

describe('mail into a folder', () => {
  test('is one file that only this user can read, and the log names it without its links', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'holdpoint-mail-'))
    const directory = join(dir, 'operator-outbox')
    const { log, lines } = logLines()
    const mailer = createFolderMailer({ directory, from: FROM, log })
    await mailer.send({
      ...MAIL,
      text: `Open https://ops.example.com/recover#token=hpr_${'a'.repeat(60)} ü\n`,
    })
    await mailer.send(MAIL)
    const files = await readdir(directory)
    expect(files).toHaveLength(2)
    expect(files.every((name) => name.endsWith('.eml'))).toBe(true)
    expect((await stat(directory)).mode & 0o777).toBe(0o700)
    for (const name of files) expect((await stat(join(directory, name))).mode & 0o777).toBe(0o600)
    const mails = await Promise.all(
      files.map(async (name) => parseMail(await readFile(join(directory, name), 'latin1'))),
    )
    const link = `https://ops.example.com/recover#token=hpr_${'a'.repeat(60)}`
    expect(mails.map(({ text }) => text)).toContain(`Open ${link} ü\n`)
    expect(mails.some(({ raw }) => raw.includes(link))).toBe(true)
    expect(mails[0]?.headers).toMatchObject({
      from: [FROM],
      to: ['ops@example.org'],
      'content-type': ['text/plain; charset=utf-8'],
      'content-transfer-encoding': ['8bit'],
    })
    expect(lines().map(({ file }) => file)).toEqual(
      expect.arrayContaining(files.map((name) => join(directory, name))),
    )
    expect(JSON.stringify(lines())).not.toMatch(/hpr_|ops@/)
    await rm(dir, { recursive: true })
  })

  test('that cannot be written says so', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'holdpoint-mail-'))
    await writeFile(join(dir, 'file'), '')
    const { log } = logLines()
    const mailer = createFolderMailer({ directory: join(dir, 'file', 'outbox'), from: FROM, log })
    expect(await thrownBy(mailer.send(MAIL))).toMatchObject({
      code: 'MAIL_NOT_SENT',
      message: expect.stringContaining('Check DATA_DIR'),
    })
    await rm(dir, { recursive: true })
  })
})

describe('mails that wait', () => {
  const queueOf = (mailer: Mailer, options: { maxWaiting?: number; nowMs?: () => number } = {}) => {
    const { log, lines } = logLines()
    const { nowMs = () => 0, maxWaiting } = options
    return { queue: createMailQueue({ mailer, log, nowMs, retryAfterMs: [20], maxWaiting }), lines }
  }
  const smtpMailer = (smtp: TestSmtp) => createSmtpMailer({ smtpUrl: smtp.url, from: FROM })

  test('are tried again until the server takes them, and the log tells the domain only', async () => {
    await using smtp = await startTestSmtp()
    smtp.refuse = 451
    const { queue, lines } = queueOf(smtpMailer(smtp))
    queue.post(MAIL, 1000)
    while (lines().length < 2) await pause(5)
    smtp.refuse = undefined
    expect(await smtp.next()).toMatchObject({ to: ['ops@example.org'] })
    await queue.close()
    expect(smtp.mails).toHaveLength(1)
    expect(lines()[0]).toMatchObject({ level: 'warn', domain: 'example.org', failures: 1 })
    expect(JSON.stringify(lines())).not.toContain('ops@')
  })

  test('are given up when they are refused for good, or too late to be of use', async () => {
    await using smtp = await startTestSmtp()
    smtp.refuse = 550
    const refused = queueOf(smtpMailer(smtp))
    refused.queue.post(MAIL, 1000)
    await refused.queue.idle()
    smtp.refuse = 451
    const late = queueOf(smtpMailer(smtp), { nowMs: () => 990 })
    late.queue.post(MAIL, 1000)
    await late.queue.idle()
    for (const { lines } of [refused, late]) {
      expect(lines()).toMatchObject([
        { level: 'error', failures: 1, msg: expect.stringContaining('giving up') },
      ])
    }
    await refused.queue.close()
    await late.queue.close()
  })

  test('beyond a number are dropped, and said to be', async () => {
    const hanging = Promise.withResolvers<void>()
    const sent: string[] = []
    const mailer: Mailer = {
      send: ({ to }) => {
        sent.push(to)
        return hanging.promise
      },
      close: () => hanging.resolve(),
    }
    const { queue, lines } = queueOf(mailer, { maxWaiting: 5 })
    for (let at = 0; at < 7; at++) queue.post({ ...MAIL, to: `${at}@example.org` }, 1000)
    expect(sent).toHaveLength(3)
    expect(lines()).toMatchObject([{ waiting: 5 }, { waiting: 5 }])
    hanging.resolve()
    await queue.close()
    expect(sent).toEqual([
      '0@example.org',
      '1@example.org',
      '2@example.org',
      '3@example.org',
      '4@example.org',
    ])
  })

  test('are tried once more when the control plane closes', async () => {
    await using smtp = await startTestSmtp()
    smtp.refuse = 451
    const { log, lines } = logLines()
    const mailer = smtpMailer(smtp)
    const queue = createMailQueue({ mailer, log, nowMs: () => 0, retryAfterMs: [60_000] })
    queue.post(MAIL, 120_000)
    await queue.idle()
    expect(lines()).toHaveLength(1)
    smtp.refuse = undefined
    await queue.close()
    expect(smtp.mails).toHaveLength(1)
  })

  test('without a mail server and a folder there is one clear line', async () => {
    const { queue, lines } = queueOf(noMailer)
    queue.post(MAIL, 1000)
    await queue.close()
    expect(lines()).toMatchObject([{ reason: 'Mail is not configured. Set SMTP_URL and MAIL_FROM.' }])
  })
})
