import { CSRF_HEADER } from './csrf-header.ts'
import { ApiError, unreachable } from './api-error.ts'
import { noteAnswer, noteSilence } from './connection.ts'
import { ROUTES, type CallName, type Input, type Output } from './routes.ts'
import { csrfToken, sessionEnded } from './session-state.ts'

const TIMEOUT_MS = 15_000

export interface CallOptions {
  readonly signal?: AbortSignal | undefined
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
  const search = new URLSearchParams(given.map(([key, value]) => [key, String(value)])).toString()
  return search === '' ? path : `${path}?${search}`
}

async function send(
  name: CallName,
  input: object,
  { signal }: CallOptions,
  previewing: boolean,
): Promise<unknown> {
  const { method } = ROUTES[name]
  const { id, ...body } = input as Readonly<Record<string, unknown>>
  const url =
    method === 'GET'
      ? hrefOf(name, { id, ...body })
      : hrefOf(name, { id, ...(previewing && { preview: true }) })
  const timeout = AbortSignal.timeout(TIMEOUT_MS)
  let response: Response
  let answer: unknown
  try {
    response = await fetch(url, {
      method,
      credentials: 'same-origin',
      redirect: 'error',
      signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
      ...(method === 'POST' && {
        headers: { 'content-type': 'application/json', [CSRF_HEADER]: csrfToken() },
        body: JSON.stringify(body),
      }),
    })
    answer = await response.json()
  } catch (cause) {
    if (signal?.aborted === true) throw cause
    noteSilence()
    throw unreachable(cause)
  }
  if (!isAnswer(answer)) {
    noteSilence()
    throw unreachable(
      new Error(`Something else than the control plane answered, with status ${response.status}.`),
    )
  }
  noteAnswer()
  if (response.ok) return answer
  const error = refusalOf(response.status, answer)
  if (response.status === 401) sessionEnded(error)
  throw error
}

interface Answer {
  readonly request_id: string
  readonly code?: string
  readonly message?: string
  readonly epoch?: number
  readonly retryAfterSeconds?: number
}

/** Every answer of the control plane has an id; what a proxy in between says has none. */
function isAnswer(answer: unknown): answer is Answer {
  return (
    typeof answer === 'object' &&
    answer !== null &&
    'request_id' in answer &&
    typeof answer.request_id === 'string'
  )
}

function refusalOf(
  status: number,
  { code, message, request_id: requestId, epoch, retryAfterSeconds }: Answer,
): ApiError {
  return new ApiError({
    code: code ?? 'REFUSED',
    message: message ?? `The control plane refused this with status ${status}.`,
    status,
    requestId,
    epoch,
    retryAfterSeconds,
  })
}
