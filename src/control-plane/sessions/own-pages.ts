import type { IncomingMessage } from 'node:http'

import { SESSION_COOKIE } from '../../machineid/wire-sessions.ts'
import { forwardedProtoOf, isOfOperators } from '../remote-address.ts'
import { foreignPage } from './session-refusals.ts'

/** What a request says of the page that it comes from, and of the cookie that it carries. */
export interface OwnPages {
  /** Throws `ORIGIN_NOT_ALLOWED` when the browser says that a page of another site makes the call. */
  readonly assertOwn: (request: IncomingMessage) => void
  /** The token of the cookie; undefined without one, and on every lane but the operators'. */
  readonly tokenOf: (request: IncomingMessage) => string | undefined
  /** For `set-cookie`; without a token it takes the cookie away. Undefined over plain HTTP from elsewhere. */
  readonly cookieFor: (request: IncomingMessage, token?: string) => string | undefined
}

export function createOwnPages(options: {
  /** The lane serves HTTPS itself. */
  readonly tls: boolean
  /** Where browsers find it, when that is configured. */
  readonly consoleUrl: string | undefined
}): OwnPages {
  const { tls, consoleUrl } = options
  const known = consoleUrl === undefined ? undefined : new URL(consoleUrl)

  const isSecure = (request: IncomingMessage): boolean =>
    tls ||
    forwardedProtoOf(request) === 'https' ||
    (known?.protocol === 'https:' && request.headers.host?.toLowerCase() === known.host)
  const isLoopback = ({ headers }: IncomingMessage) => LOOPBACK_HOST.test(headers.host ?? '')
  // A proxy on this machine may put its own name in the place of Host: the browser itself says then that it was HTTPS.
  const isBehindHttps = (request: IncomingMessage) => known?.protocol === 'https:' && isLoopback(request)
  const nameFor = (request: IncomingMessage) => {
    if (isSecure(request)) return SESSION_COOKIE.https
    if (isBehindHttps(request) && request.headers.origin?.toLowerCase() === known?.origin) {
      return SESSION_COOKIE.https
    }
    return isLoopback(request) ? SESSION_COOKIE.loopback : undefined
  }
  /** In which order they count. */
  const namesIn = (request: IncomingMessage) => {
    if (!isOfOperators(request)) return []
    if (isSecure(request)) return [SESSION_COOKIE.https]
    if (isBehindHttps(request)) return [SESSION_COOKIE.https, SESSION_COOKIE.loopback]
    return isLoopback(request) ? [SESSION_COOKIE.loopback] : []
  }
  const isOwn = (origin: string, request: IncomingMessage) => {
    const scheme = isSecure(request) ? 'https' : 'http'
    return origin === known?.origin || origin === `${scheme}://${request.headers.host?.toLowerCase()}`
  }

  return {
    assertOwn: (request) => {
      const { origin, 'sec-fetch-site': site } = request.headers
      if (site !== undefined && site !== 'same-origin' && !(site === 'none' && request.method === 'GET')) {
        throw foreignPage()
      }
      if (origin !== undefined && !isOwn(origin.toLowerCase(), request)) throw foreignPage()
    },
    tokenOf: (request) => {
      const { cookie } = request.headers
      return namesIn(request).reduce<string | undefined>(
        (found, name) => found ?? cookieIn(cookie, name),
        undefined,
      )
    },
    cookieFor: (request, token) => {
      const name = nameFor(request)
      if (name === undefined) return undefined
      const secure = name === SESSION_COOKIE.https ? '; Secure' : ''
      const ends = token === undefined ? '; Max-Age=0' : ''
      return `${name}=${token ?? ''}; Path=/; HttpOnly; SameSite=Strict${secure}${ends}`
    },
  }
}

/** What a browser on this machine calls this machine. */
const LOOPBACK_HOST = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?$/i

function cookieIn(header: string | undefined, name: string): string | undefined {
  for (const pair of header?.split(';') ?? []) {
    const equals = pair.indexOf('=')
    if (equals !== -1 && pair.slice(0, equals).trim() === name) return pair.slice(equals + 1).trim()
  }
  return undefined
}
