import { ApiError } from './api-error.ts'
import { noteAnswer, noteSilence } from './connection.ts'
import { exchange } from './exchange.ts'
import { ROUTES, type CallName, type Input, type Output } from './routes.ts'
import { isSameSessionStill, lookAtSession } from './session-look.ts'
import { csrfToken, currentSession, sessionEnded } from './session-state.ts'

export interface CallOptions {
  readonly signal?: AbortSignal | undefined
  /** Default 15,000. */
  readonly timeoutMs?: number | undefined
}

/** One call of the public API, as whoever is signed in. Throws `ApiError`. */
export function call<N extends CallName>(
  name: N,
  input: Input<N>,
  options: CallOptions = {},
): Promise<Output<N>> {
  return send(name, input, options, false) as Promise<Output<N>>
}

/** What a stop would hit. Changes nothing. */
export function preview(name: CallName, input: object, options: CallOptions = {}): Promise<PreviewAnswer> {
  return send(name, input, options, true) as Promise<PreviewAnswer>
}

export interface PreviewAnswer {
  readonly orgEpoch: number
  readonly deviceCount: number
  readonly truncated: boolean
  readonly hits: number
  readonly devices: readonly { readonly deviceId: string; readonly now: string; readonly then: string }[]
}

/** Where a GET is, for links that a browser follows by itself, such as downloads and streams. */
export function hrefOf(name: CallName, input: Readonly<Record<string, unknown>>): string {
  const { id, ...query } = input
  const path = ROUTES[name].path.replace(':id', encodeURIComponent(String(id)))
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== '')
  const search = new URLSearchParams(
    given.map(([key, value]): [string, string] => [key, String(value)]),
  ).toString()
  return search === '' ? path : `${path}?${search}`
}

async function send(
  name: CallName,
  input: object,
  { signal, timeoutMs }: CallOptions,
  previewing: boolean,
): Promise<unknown> {
  const { method } = ROUTES[name]
  const { id, ...body } = input as Readonly<Record<string, unknown>>
  const url =
    method === 'GET'
      ? hrefOf(name, { id, ...body })
      : hrefOf(name, { id, ...(previewing && { preview: true }) })
  const ask = () => noted(() => exchange(url, { method, body, csrfToken: csrfToken(), signal, timeoutMs }))
  try {
    return await ask()
  } catch (error) {
    // Another tab may have signed in anew. Nothing was done yet, so it is asked once more, unless somebody else is
    // signed in now: what was meant for one org is not sent to another.
    if (!isRefusedAs(error, 'CSRF_REFUSED') || !(await isSameSessionStill())) throw error
    return ask()
  }
}

/** Notes for the whole page what an answer says: that there is one, who is signed in, and that nobody is. */
async function noted(ask: () => Promise<unknown>): Promise<unknown> {
  try {
    const answer = await ask()
    noteAnswer()
    noticeOtherOrg(answer)
    return answer
  } catch (error) {
    if (error instanceof ApiError) {
      if (error.status === 0) noteSilence()
      else noteAnswer()
      if (error.status === 401) sessionEnded(error)
    }
    throw error
  }
}

/** Tabs share the cookie: somebody signed in to another org in another tab. */
function noticeOtherOrg(answer: unknown): void {
  const { orgId } = answer as { readonly orgId?: unknown }
  const session = currentSession()
  if (session === undefined || orgId === undefined || orgId === session.orgId) return
  void lookAtSession().catch(() => undefined)
}

function isRefusedAs(error: unknown, code: string): boolean {
  return error instanceof ApiError && error.code === code
}
