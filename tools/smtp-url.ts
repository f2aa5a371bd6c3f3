import { GuardMisconfiguredError } from 'holdpoint'

export interface SmtpServer {
  readonly host: string
  readonly port: number
  /** TLS from the first byte. */
  readonly secure: boolean
  readonly requireTLS: boolean
  readonly ignoreTLS: boolean
  readonly credentials: { readonly user: string; readonly pass: string } | undefined
}

/**
 * What `smtps://user:password@host:port` says, or `smtp://` for STARTTLS, which is insisted on off this machine.
 * Takes no options from a query: TLS without proof would be among them. Throws `GUARD_MISCONFIGURED`.
 */
export function parseSmtpUrl(text: string): SmtpServer {
  const url = URL.parse(text)
  if (url === null || !/^smtps?:$/.test(url.protocol) || url.hostname === '' || url.search !== '')
    throw invalidUrl()
  const secure = url.protocol === 'smtps:'
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const near = host === 'localhost' || host === '::1' || host.startsWith('127.')
  return {
    host,
    port: Number(url.port || (secure ? 465 : 587)),
    secure,
    requireTLS: !secure && !near,
    // Nobody listens in between, and what a mail server on this machine has for a certificate is rarely real.
    ignoreTLS: !secure && near,
    credentials:
      url.username === '' ? undefined : { user: decoded(url.username), pass: decoded(url.password) },
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
function invalidUrl(): GuardMisconfiguredError {
  return new GuardMisconfiguredError(
    'The URL of the mail server cannot be used. It has the form smtps://user:password@mail.example.com:465, or smtp:// ' +
      'with port 587, and no query; encode special characters of user and password with %.',
  )
}
