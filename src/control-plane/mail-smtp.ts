import { createTransport, type NodemailerError, type SMTPTransportOptions } from 'nodemailer'

import { HoldpointError } from '../errors.ts'
import { isLoopback } from '../loopback.ts'
import { letterOf, MailError, type Mailer } from './mail.ts'

export interface SmtpOptions {
  /** `smtps://user:password@host:port`, or `smtp://` for STARTTLS, which is insisted on off loopback. */
  readonly smtpUrl: string
  /** `holdpoint <holdpoint@example.com>` */
  readonly from: string
  /** For one mail, from the connection to the server's yes. Default 30,000. */
  readonly timeoutMs?: number
  /** Certificates to trust instead of Node's, as PEM. */
  readonly ca?: string
}

/** Sends through a mail server. Throws `SMTP_URL_INVALID`. Connects only to send. */
export function createSmtpMailer({ smtpUrl, from, timeoutMs = 30_000, ca }: SmtpOptions): Mailer {
  const server = serverOf(smtpUrl)
  const transport = createTransport({
    ...server,
    tls: { minVersion: 'TLSv1.2', rejectUnauthorized: true, ...(ca !== undefined && { ca }) },
    dnsTimeout: timeoutMs / 3,
    connectionTimeout: timeoutMs / 3,
    greetingTimeout: timeoutMs / 3,
    socketTimeout: timeoutMs / 2,
  })
  const closing = new AbortController()
  return {
    send: async (mail) => {
      const letter = letterOf(mail, from)
      const signal = AbortSignal.any([closing.signal, AbortSignal.timeout(timeoutMs)])
      try {
        await transport.sendMail({ ...letter, signal })
      } catch (error) {
        throw notSent(error as NodemailerError, `${server.host}:${server.port}`)
      }
    },
    close: () => {
      closing.abort()
      transport.close()
    },
  }
}

/** Without a cause: what a mail server says back names the address, and sometimes the user. */
function notSent({ code, originalCode, responseCode, permanent }: NodemailerError, server: string) {
  const why = [originalCode ?? code, responseCode].filter((part) => part !== undefined).join(', ')
  const what = responseCode === undefined ? 'could not be reached or trusted' : 'did not take a mail'
  return new MailError(
    `The mail server ${server} ${what} (${why || 'no reason given'}). Check SMTP_URL, and MAIL_FROM.`,
    { permanent: permanent === true && code !== 'EAUTH' },
  )
}

type Server = Required<Pick<SMTPTransportOptions, 'host' | 'port' | 'secure' | 'requireTLS' | 'ignoreTLS'>> &
  Pick<SMTPTransportOptions, 'auth'>

/** Only what is needed of the URL: nodemailer would also take options from its query, TLS without proof among them. */
function serverOf(smtpUrl: string): Server {
  const url = URL.parse(smtpUrl)
  if (url === null || !/^smtps?:$/.test(url.protocol) || url.hostname === '' || url.search !== '') {
    throw invalidUrl()
  }
  const secure = url.protocol === 'smtps:'
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const near = isLoopback(host)
  return {
    host,
    port: Number(url.port || (secure ? 465 : 587)),
    secure,
    requireTLS: !secure && !near,
    // Nobody listens in between, and what a mail server on this machine has for a certificate is rarely real.
    ignoreTLS: !secure && near,
    ...(url.username !== '' && { auth: { user: decoded(url.username), pass: decoded(url.password) } }),
  }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw invalidUrl()
  }
}

/** Without the URL, which has a password in it. */
function invalidUrl(): HoldpointError {
  return new HoldpointError(
    'SMTP_URL_INVALID',
    'SMTP_URL cannot be used. It has the form smtps://user:password@mail.example.com:465, or smtp:// with port 587, ' +
      'and no query; encode special characters of user and password with %.',
  )
}
