import { z } from 'zod'

import { ON_DENIED, type RefusalBody } from '../agents/tool-answer.ts'
import { EFFECT_ENDS } from '../guard/call.ts'
import { BOUNDARIES, localRequestId } from '../guard/decision.ts'
import { notSent } from '../guard/effect.ts'
import { REFUSAL_WORDS } from '../guard/refusal.ts'

export interface RemoteServer {
  /** Without a slash at the end. */
  readonly url: string
  readonly token: string
  readonly timeoutMs: number
  readonly signal: AbortSignal | undefined
}

export interface RemoteCall {
  readonly name: string
  readonly args: unknown
  readonly callId: string | undefined
  readonly runId: string | undefined
  readonly signals: readonly AbortSignal[]
}

export interface RemoteAnswer {
  /** For the model. */
  readonly output: string
  /** Present when the server refused the call at a hold point. */
  readonly refusal: RefusalBody | undefined
}

export interface HttpAnswer {
  readonly statusCode: number
  /** Undefined when it was not JSON. */
  readonly body: unknown
}

const Answer = z.object({ output: z.string() })

const Refusal = z.object({
  error: z.enum(REFUSAL_WORDS),
  code: z.string(),
  boundary: z.enum(BOUNDARIES),
  device_id: z.string(),
  request_id: z.string(),
  executed: z.union([z.boolean(), z.literal('unknown')]),
  effects: z.array(
    z.object({
      name: z.string(),
      state: z.enum(EFFECT_ENDS),
    }),
  ),
  on_denied: z.enum(ON_DENIED),
  retryable: z.literal(false),
  message: z.string(),
})

/** Calls a tool over HTTP. Never rejects: what goes wrong on the way is told to the model. */
export async function callRemoteTool(server: RemoteServer, call: RemoteCall): Promise<RemoteAnswer> {
  const deadline = AbortSignal.timeout(server.timeoutMs)
  const signal = AbortSignal.any([...call.signals, deadline])
  const body = { call_id: call.callId, run_id: call.runId, arguments: call.args }
  const send = () => sendRequest(server, `/tools/${encodeURIComponent(call.name)}`, { body, signal })
  try {
    return readAnswer(await sendTwice(send, call))
  } catch (error) {
    if (deadline.aborted) return failure('TOOL_SERVER_TIMEOUT', 'unknown')
    if (signal.aborted || server.signal?.aborted) return failure('CALL_ABORTED', 'unknown')
    return failure('TOOL_SERVER_UNREACHABLE', notSent(error) ? false : 'unknown')
  }
}

/**
 * When a connection is lost, the call may have been carried out. It may be sent again all the same: under its call id
 * the server gives the stored result, or says that it is still at it. Without a call id only what was never sent is.
 * Once its signal is aborted, by the caller or by time, nothing is sent at all.
 */
async function sendTwice(send: () => Promise<HttpAnswer>, { callId }: RemoteCall): Promise<HttpAnswer> {
  try {
    return await send()
  } catch (error) {
    if (callId === undefined && !notSent(error)) throw error
    return send()
  }
}

/** One request, GET without a body and POST with one. Rejects when no whole answer comes. */
export async function sendRequest(
  server: RemoteServer,
  path: string,
  { body, signal = AbortSignal.timeout(server.timeoutMs) }: { body?: unknown; signal?: AbortSignal } = {},
): Promise<HttpAnswer> {
  const headers = { authorization: `Bearer ${server.token}`, accept: 'application/json' }
  const response = await fetch(`${server.url}${path}`, {
    ...(body === undefined
      ? { headers }
      : {
          method: 'POST',
          headers: { ...headers, 'content-type': 'application/json' },
          body: JSON.stringify(body),
        }),
    redirect: 'error',
    signal: server.signal === undefined ? signal : AbortSignal.any([server.signal, signal]),
  })
  const text = await response.text()
  return { statusCode: response.status, body: parseJson(text) }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function readAnswer({ statusCode, body }: HttpAnswer): RemoteAnswer {
  const answer = Answer.safeParse(body)
  // A proxy in between may answer for a server that is carrying out the call.
  if (!answer.success) return failure('TOOL_SERVER_BAD_ANSWER', 'unknown')
  const refusal = statusCode === 200 ? undefined : Refusal.safeParse(body).data
  return { output: answer.data.output, refusal }
}

function failure(code: string, executed: false | 'unknown'): RemoteAnswer {
  const output = JSON.stringify({
    error: executed === false ? 'permission_check_unavailable' : 'outcome_unknown',
    code,
    request_id: localRequestId(),
    executed,
    effects: [],
    retryable: false,
    message:
      executed === false
        ? 'The tool server could not be reached, so nothing was done. Do not try again now.'
        : 'The tool server did not answer. It is not known whether this happened; do not repeat it, a person must look.',
  })
  return { output, refusal: undefined }
}
