import type { z } from 'zod'

import type { DenialCode } from '../guard/decision.ts'
import { AuthorityFailure, failClosed } from '../guard/fail-closed.ts'
import { isEpoch } from './answer.ts'
import { Deadline } from './deadline.ts'
import { managementHeadProblem, refusalCode } from './management-answer.ts'
import { requestHeaders, type Connection } from './profile.ts'
import { own, parseStrictObject, type JsonObject } from './strict-json.ts'
import { REQUEST_ID } from './wire.ts'

/** A call that the authority did not do, or that got no usable answer. */
interface Refused {
  readonly ok: false
  /** Whether the authority said no itself. When it did not, a change may or may not have happened. */
  readonly answered: boolean
  /** The authority's own code, such as `EPOCH_STALE` or `DEVICE_LIMIT_REACHED`, or a local one. */
  readonly code: DenialCode
  /** The authority's, or `local_<uuid>`. */
  readonly requestId: string | undefined
  /** With `EPOCH_STALE` and the like: the epoch to look at before trying again. */
  readonly epoch: number | undefined
  /** For the log, never for a model or a caller. */
  readonly cause: unknown
}

/** What became of a call: its value, or why it was refused. It is never thrown. */
export type Result<T> =
  { readonly ok: true; readonly value: T; readonly requestId: string | undefined } | Refused

/** What each call of the client takes. */
export interface CallOptions {
  /** Budget of this call, in milliseconds, over 0 and at most 3,000. Default: that of the client. */
  readonly timeoutMs?: number | undefined
  /** Gives the call up early: `CALL_ABORTED`. */
  readonly signal?: AbortSignal | undefined
}

export interface ManagementCall<T> extends CallOptions {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly body?: JsonObject | undefined
  readonly timeoutMs: number
  /** Why it cannot be sent, as a sentence. */
  readonly problem?: string | undefined
  /** Sent again when the connection failed before any byte came back. Never for what could turn a no into a yes. */
  readonly retry: boolean
  readonly schema: z.ZodType<T>
  /** The device that the answer must be about, if it names one. */
  readonly deviceId?: string | undefined
  /** Default 32 MiB. */
  readonly maxAnswerBytes?: number | undefined
}

/** A list of a large org is long; this is all an operator's process will hold. */
const MAX_ANSWER_BYTES = 32 * 1024 * 1024

/** Registers, stops, restores, lists: every call but the question itself. Never rejects. */
export async function manage<T>(connection: Connection, call: ManagementCall<T>): Promise<Result<T>> {
  const result = await failClosed(() => attempt(connection, call))
  if ('ok' in result) return result
  const { code, requestId, cause } = result
  if (code === 'AUTHORITY_UNAUTHORIZED') connection.key.refused()
  return { ok: false, answered: false, code, requestId, epoch: undefined, cause }
}

async function attempt<T>(connection: Connection, call: ManagementCall<T>): Promise<Result<T>> {
  if (call.problem !== undefined) throw new AuthorityFailure('GUARD_MISCONFIGURED', call.problem)
  const deadline = new Deadline(call.timeoutMs, call.signal, connection.clock)
  try {
    const { incoming } = await connection.transport.send(
      () => ({
        method: call.method,
        path: connection.pathPrefix + call.path,
        headers: requestHeaders(connection.key, { hasBody: call.body !== undefined }),
        body: call.body === undefined ? null : JSON.stringify(call.body),
        maxAnswerBytes: call.maxAnswerBytes ?? MAX_ANSWER_BYTES,
        headProblem: managementHeadProblem,
      }),
      deadline,
      call,
    )
    return read(connection, call, incoming.status, parseStrictObject(incoming.body))
  } finally {
    deadline.close()
  }
}

function read<T>(
  connection: Connection,
  call: ManagementCall<T>,
  status: number,
  body: JsonObject | undefined,
): Result<T> {
  const requestId = body && text(own(body, 'request_id'))
  const code = refusalCode(status, body)
  if (code !== undefined) {
    const epoch = body && own(body, 'epoch')
    return {
      ok: false,
      answered: true,
      code,
      requestId,
      epoch: isEpoch(epoch) ? epoch : undefined,
      cause: undefined,
    }
  }
  const parsed = call.schema.safeParse(body)
  if (body === undefined || !parsed.success) {
    throw new AuthorityFailure('AUTHORITY_BAD_BODY', `The answer to ${call.path} is not what it should be.`)
  }
  if (call.deviceId !== undefined && (own(body, 'deviceId') ?? call.deviceId) !== call.deviceId) {
    throw new AuthorityFailure(
      'AUTHORITY_WRONG_DEVICE',
      `The answer to ${call.path} is about another device.`,
    )
  }
  checkOrg(connection, call, body)
  return { ok: true, value: parsed.data, requestId }
}

/** The ack of a stop raises what later questions are held to. One from another org has stopped nothing here. */
function checkOrg<T>({ org }: Connection, { path }: ManagementCall<T>, body: JsonObject): void {
  const orgId = own(body, 'orgId')
  const orgEpoch = own(body, 'orgEpoch')
  if (typeof orgId !== 'string' || orgId === '') return
  if (orgId !== (org.orgId ?? orgId)) {
    throw new AuthorityFailure('AUTHORITY_WRONG_DEVICE', `The answer to ${path} is from another org.`)
  }
  if (isEpoch(orgEpoch)) org.saw(orgId, orgEpoch)
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && REQUEST_ID.test(value) ? value : undefined
}
