import { PATHS } from '../../machineid/paths.ts'
import { ApiError } from '../api/api-error.ts'
import { exchange } from '../api/exchange.ts'
import { assertNotReadable, type PageAddress } from '../api/plain-http.ts'
import type { Session } from '../api/session-state.ts'

const REFRESH_EVERY_MS = 60_000
const STOP_TIMEOUT_MS = 5000

let session: Session | undefined
let refreshedAtMs = 0

/** Who is signed in; undefined when nobody is. Throws `ApiError` when that could not be found out. */
export async function lookAtSession(): Promise<Session | undefined> {
  session = await signedIn()
  return session
}

async function signedIn(): Promise<Session | undefined> {
  try {
    return (await exchange(PATHS.session, { method: 'GET' })) as Session
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 401) throw error
    return undefined
  }
}

export async function signIn(key: string, page: PageAddress): Promise<Session> {
  assertNotReadable(page)
  session = (await exchange(PATHS.session, { method: 'POST', body: { key } })) as Session
  return session
}

export async function signOut(): Promise<void> {
  await post(PATHS.sessionEnd, {})
  session = undefined
}

/** Throws `OTHER_ORG` rather than answer for another org than the page is about. */
export async function get(path: string, timeoutMs?: number): Promise<unknown> {
  const mine = session
  const answer = await exchange(path, { method: 'GET', timeoutMs })
  const { orgId } = answer as { readonly orgId?: string }
  if (mine !== undefined && orgId !== undefined && orgId !== mine.orgId) throw otherOrg()
  return answer
}

/**
 * Tabs share a cookie: when another one has signed in anew, this is asked once more in that session. What was meant for
 * one org is never sent to another: `OTHER_ORG`.
 */
export async function post(path: string, body: object): Promise<unknown> {
  const mine = session
  const ask = (as: Session | undefined) =>
    exchange(path, { method: 'POST', body, csrfToken: as?.csrfToken, timeoutMs: STOP_TIMEOUT_MS })
  try {
    return await ask(mine)
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 'CSRF_REFUSED') throw error
    const now = await signedIn()
    if (now === undefined) throw error
    if (now.orgId !== mine?.orgId) throw otherOrg()
    session = now
    return ask(now)
  }
}

export function isOtherOrg(error: unknown): boolean {
  return error instanceof ApiError && error.code === OTHER_ORG
}

const OTHER_ORG = 'OTHER_ORG'

function otherOrg(): ApiError {
  return new ApiError({
    code: OTHER_ORG,
    message: 'Another tab of this browser has signed in to another org.',
    status: 403,
  })
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
