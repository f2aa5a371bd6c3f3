import { PATHS } from '../../machineid/paths.ts'
import { ApiError } from '../api/api-error.ts'
import { exchange } from '../api/exchange.ts'
import type { Session } from '../api/session-state.ts'

const REFRESH_EVERY_MS = 60_000
const STOP_TIMEOUT_MS = 5000

let session: Session | undefined
let refreshedAtMs = 0

/** Who is signed in; undefined when nobody is. Throws `ApiError` when that could not be found out. */
export async function lookAtSession(): Promise<Session | undefined> {
  try {
    session = (await exchange(PATHS.session, { method: 'GET' })) as Session
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 401) throw error
    session = undefined
  }
  return session
}

export async function signIn(key: string): Promise<Session> {
  session = (await exchange(PATHS.session, { method: 'POST', body: { key } })) as Session
  return session
}

export async function signOut(): Promise<void> {
  await post(PATHS.sessionEnd, {})
  session = undefined
}

export async function get(path: string): Promise<unknown> {
  return exchange(path, { method: 'GET' })
}

/** Asked once more when another tab has renewed the session, and not when somebody else is signed in by now. */
export async function post(path: string, body: object): Promise<unknown> {
  const before = session?.sessionId
  const ask = () =>
    exchange(path, { method: 'POST', body, csrfToken: session?.csrfToken, timeoutMs: STOP_TIMEOUT_MS })
  try {
    return await ask()
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 'CSRF_REFUSED') throw error
    await lookAtSession()
    if (session === undefined || session.sessionId !== before) throw error
    return ask()
  }
}

/** Called when a person does something: keeps the session, at most once a minute. */
export function keepSession(): void {
  if (session === undefined || Date.now() - refreshedAtMs < REFRESH_EVERY_MS) return
  refreshedAtMs = Date.now()
  void post(PATHS.sessionRefresh, {})
    .then((renewed) => {
      if (session?.sessionId === (renewed as Session).sessionId) session = renewed as Session
    })
    .catch(() => undefined)
}
