import { Readable } from 'node:stream'
import { EffectNotPerformed } from 'holdpoint'
import type { NodemailerError, SMTPEnvelope } from 'nodemailer'
import MailComposer from 'nodemailer/lib/mail-composer'
import SMTPConnection from 'nodemailer/lib/smtp-connection'

import { domainOf, type Email, type Mailer } from './mailer.ts'
import { parseSmtpUrl, type SmtpServer } from './smtp-url.ts'

export interface SmtpMailerOptions {
  /** `smtps://user:password@host:port`, or `smtp://` for STARTTLS, which is insisted on off this machine. */
  readonly smtpUrl: string
  /** `Accounts <accounts@example.com>` */
  readonly from: string
  /** For one mail, from the connection to the server's yes, in milliseconds. Default 25,000: below the effect's 30 s. */
  readonly timeoutMs?: number
  /** Certificates to trust instead of Node's, as PEM. */
  readonly ca?: string
}

export interface SmtpMailer extends Mailer {
  /** Cuts what is being sent. Fine to call twice. */
  close(): void
}

const TIMEOUT_MS = 25_000

/**
 * Sends through a mail server, one connection a mail. Connects only to send. Once the server has been given the text,
 * only its answer tells what became of the mail; `send` then throws what is no `EffectNotPerformed`.
 * Throws `GUARD_MISCONFIGURED` on a URL that it cannot use.
 */
export function createSmtpMailer(options: SmtpMailerOptions): SmtpMailer {
  const server = parseSmtpUrl(options.smtpUrl)
  const domain = domainOf(options.from)
  const closing = new AbortController()
  return {
    send: async (email, { idempotencyKey, signal }) => {
      const messageId = `${idempotencyKey}@${domain}`
      const letter = await compose(email, options.from, messageId)
      const overdue = AbortSignal.timeout(options.timeoutMs ?? TIMEOUT_MS)
      const signals = [closing.signal, overdue, ...(signal === undefined ? [] : [signal])]
      await deliver(letter, server, { ...options, signal: AbortSignal.any(signals) })
      return messageId
    },
    close: () => closing.abort(new Error('The mailer was closed.')),
  }
}

interface Letter {
  readonly envelope: SMTPEnvelope
  readonly content: Buffer
}

/** Exactly one plain address: a string of several would be taken apart into several recipients. */
const ONE_ADDRESS = /^[^\s\p{Cc}<>()[\],;:\\"@]{1,64}@[A-Za-z0-9.-]{1,253}$/u

async function compose({ to, subject, text }: Email, from: string, messageId: string): Promise<Letter> {
  if (!ONE_ADDRESS.test(to)) {
    throw new EffectNotPerformed(
      'This is not one plain email address, such as ann@example.com. Nothing was sent.',
    )
  }
  const mail = new MailComposer({
    from,
    to: { name: '', address: to },
    subject,
    text,
    messageId: `<${messageId}>`,
    headers: { 'Auto-Submitted': 'auto-generated' },
    disableFileAccess: true,
    disableUrlAccess: true,
  }).compile()
  return { envelope: mail.getEnvelope(), content: await mail.build() }
}

interface Delivery extends Pick<SmtpMailerOptions, 'timeoutMs' | 'ca'> {
  readonly signal: AbortSignal
}

/** What of the mail has left this process. */
interface Handed {
  text: boolean
}

async function deliver(letter: Letter, server: SmtpServer, delivery: Delivery): Promise<void> {
  const handed: Handed = { text: false }
  try {
    delivery.signal.throwIfAborted()
    await converse(letter, server, { ...delivery, handed })
  } catch (thrown) {
    throw judged(thrown as NodemailerError, handed)
  }
}

async function converse(
  { envelope, content }: Letter,
  { credentials, ...server }: SmtpServer,
  { timeoutMs = TIMEOUT_MS, ca, signal, handed }: Delivery & { readonly handed: Handed },
): Promise<void> {
  const connection = new SMTPConnection({
    ...server,
    tls: { minVersion: 'TLSv1.2', rejectUnauthorized: true, ...(ca !== undefined && { ca }) },
    dnsTimeout: timeoutMs / 3,
    connectionTimeout: timeoutMs / 3,
    greetingTimeout: timeoutMs / 3,
    socketTimeout: timeoutMs,
  })
  const failed = Promise.withResolvers<never>()
  const cut = () => failed.reject(signal.reason as Error)
  connection.once('error', failed.reject)
  // After 421 the connection ends before the step that it answers.
  connection.once('end', () =>
    setImmediate(() => failed.reject(new Error('The mail server ended the connection.'))),
  )
  signal.addEventListener('abort', cut, { once: true })
  const step = (take: (done: (error?: Error | null) => void) => void) =>
    Promise.race([
      failed.promise,
      new Promise<void>((resolve, reject) => take((error) => (error ? reject(error) : resolve()))),
    ])
  try {
    await step((done) => connection.connect(done))
    if (credentials !== undefined) await step((done) => connection.login({ credentials }, done))
    await step((done) => connection.send(envelope, textOf(content, handed), done))
  } finally {
    signal.removeEventListener('abort', cut)
    failed.promise.catch(() => undefined)
    connection.close()
  }
}

/** Read only once the server has said to go ahead (354): before that, no part of the text can have reached it. */
function textOf(content: Buffer, handed: Handed): Readable {
  return new Readable({
    read() {
      handed.text = true
      this.push(content)
      this.push(null)
    },
  })
}

/** A server that says no has not taken the mail; one that says nothing may have, once it was given the text. */
function judged(error: NodemailerError, handed: Handed): unknown {
  const { responseCode } = error
  if (responseCode !== undefined && responseCode >= 400 && responseCode < 600) {
    const later = responseCode < 500 && error.code !== 'EAUTH'
    const message = `The mail server did not take the mail (${responseCode}). Nothing was sent.`
    return new EffectNotPerformed(later ? `${message} Try again later.` : message, { cause: error })
  }
  if (handed.text) return error
  return new EffectNotPerformed('The mail server could not be reached or trusted. Nothing was sent.', {
    cause: error,
  })
}
