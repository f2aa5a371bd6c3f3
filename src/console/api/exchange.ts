import { ApiError, unreachable } from './api-error.ts'
import { CSRF_HEADER } from './csrf-header.ts'

const TIMEOUT_MS = 15_000

export interface Asked {
  readonly method: 'GET' | 'POST'
  /** Of a POST. */
  readonly body?: object | undefined
  /** Of whoever is signed in. Left out by the calls that anybody may make. */
  readonly csrfToken?: string | undefined
  readonly signal?: AbortSignal | undefined
  /** Default 15,000. */
  readonly timeoutMs?: number | undefined
}

/** One question to the control plane. Throws `ApiError`: `UNREACHABLE` with status 0 when it did not answer. */
export async function exchange(
  url: string,
  { method, body, csrfToken, signal, timeoutMs = TIMEOUT_MS }: Asked,
): Promise<unknown> {
  const timeout = AbortSignal.timeout(timeoutMs)
  let response: Response
  let answer: unknown
  try {
    response = await fetch(url, {
      method,
      credentials: 'same-origin',
      redirect: 'error',
      cache: 'no-store',
      signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
      ...(method === 'POST' && {
        headers: {
          'content-type': 'application/json',
          ...(csrfToken !== undefined && { [CSRF_HEADER]: csrfToken }),
        },
        body: JSON.stringify(body ?? {}),
      }),
    })
    answer = await response.json()
  } catch (cause) {
    if (signal?.aborted === true) throw cause
    throw unreachable(cause)
  }
  if (!isAnswer(answer)) {
    throw unreachable(
      new Error(`Something else than the control plane answered, with status ${response.status}.`),
    )
  }
  if (response.ok) return answer
  throw refusalOf(response.status, answer)
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
