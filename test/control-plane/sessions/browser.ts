// What a browser does with a session: keeps the cookie, and proves each POST with what GET /session told.

import { request, type Dispatcher } from 'undici'

import { PATHS } from '../../../src/machineid/paths.ts'
import { CSRF_HEADER, type SessionBody } from '../../../src/machineid/wire-sessions.ts'
import type { HttpAnswer, TestControlPlane } from '../../fixtures/control-plane.ts'

export interface Exchange {
  readonly method?: 'GET' | 'POST' | 'HEAD' | 'PUT'
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: unknown
  readonly dispatcher?: Dispatcher | undefined
}

export async function send(url: string, exchange: Exchange = {}): Promise<HttpAnswer & { text: string }> {
  const { method = exchange.body === undefined ? 'GET' : 'POST', headers, body, dispatcher } = exchange
  const response = await request(url, {
    method,
    headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    ...(dispatcher && { dispatcher }),
  })
  const text = await response.body.text()
  const answered = new Headers()
  for (const [name, value] of Object.entries(response.headers)) answered.set(name, String(value))
  const isJson = answered.get('content-type') === 'application/json'
  return { status: response.statusCode, headers: answered, text, body: isJson ? JSON.parse(text) : undefined }
}

export interface SignedIn {
  /** As the last sign-in told. */
  readonly session: SessionBody
  /** `name=token`. */
  readonly cookie: string
  /** The header that a POST carries. */
  readonly headers: Readonly<Record<string, string>>
  readonly get: (path: string, headers?: Readonly<Record<string, string>>) => Promise<HttpAnswer>
  readonly post: (
    path: string,
    body?: unknown,
    headers?: Readonly<Record<string, string>>,
  ) => Promise<HttpAnswer>
  /** Another tab, or a thief: the same session with a cookie of its own. */
  readonly as: (cookie: string) => SignedIn
}

export const cookieOf = ({ headers }: HttpAnswer): string => headers.get('set-cookie')?.split(';')[0] ?? ''

export function startSession(
  { operatorUrl }: Pick<TestControlPlane, 'operatorUrl'>,
  body: { readonly key?: string | undefined; readonly link?: string },
  headers?: Readonly<Record<string, string>>,
): Promise<HttpAnswer> {
  return send(`${operatorUrl}${PATHS.session}`, { body, ...(headers && { headers }) })
}

/** Throws unless it is let in. */
export async function signIn(
  authority: Pick<TestControlPlane, 'operatorUrl'>,
  body: Parameters<typeof startSession>[1],
): Promise<SignedIn> {
  const answer = await startSession(authority, body)
  if (answer.status !== 200) throw new Error(JSON.stringify(answer.body))
  return signedIn(authority.operatorUrl, answer.body as SessionBody, cookieOf(answer))
}

function signedIn(url: string, session: SessionBody, cookie: string): SignedIn {
  const headers = { cookie, [CSRF_HEADER]: session.csrfToken }
  return {
    session,
    cookie,
    headers,
    get: (path, more) => send(`${url}${path}`, { headers: { cookie, ...more } }),
    post: (path, body = {}, more) => send(`${url}${path}`, { body, headers: { ...headers, ...more } }),
    as: (other) => signedIn(url, session, other),
  }
}
