import { z } from 'zod'

import type { Call, CallInput, CallOutput } from '../machineid/calls.ts'
import { PreviewResponse } from '../machineid/wire-devices.ts'
import { KEY_HEADER } from '../machineid/wire.ts'
import { EXIT } from './cli.ts'
import { CliError } from './cli-error.ts'
import type { Http, Peer } from './http.ts'
import type { KeyAtHand } from './keys-at-hand.ts'
import { continued, streamRefusal } from './operator-events.ts'
import { checked, interrupted } from './operator-refusal.ts'

/** One server-sent event. */
export interface OperatorEvent {
  readonly event: string
  readonly id: string | undefined
  /** Parsed JSON. */
  readonly data: unknown
}

export type Query = Readonly<Record<string, string | number | boolean | undefined>>

/** The control plane, as whoever holds one key sees it. What goes wrong is a `CliError` with the next step. */
export interface OperatorClient {
  readonly url: string
  /** Of which kind the key is as its shape says, and where it was found. */
  readonly key: { readonly kind: string; readonly from: string }
  /** Throws on a refusal: status 3 for 401 and 403, else 1. */
  call<C extends Call>(call: C, input: CallInput<C>, options?: CallOptions): Promise<CallOutput<C>>
  /** What a stop would hit. Changes nothing. */
  preview<C extends Call>(
    call: C,
    input: CallInput<C>,
    options?: CallOptions,
  ): Promise<z.output<typeof PreviewResponse>>
  /** A stream of events, continued after a lost connection. Ends when `signal` aborts; throws on a refusal. */
  events(path: string, query: Query, signal: AbortSignal, told?: EventsOptions): AsyncIterable<OperatorEvent>
  /** A long answer, piece by piece. */
  download(path: string, query: Query): Promise<AsyncIterable<Buffer>>
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined
  /** Default 10 s. */
  readonly timeoutMs?: number | undefined
  /** Goes on after Ctrl-C. Default false. */
  readonly outlivesInterrupt?: boolean | undefined
}

export interface EventsOptions {
  /** Called when the connection is lost, before each try, and once it is there (again). */
  readonly onState?: (state: 'up' | 'down', why?: string) => void
}

export function createOperatorClient(http: Http, url: string, key: KeyAtHand): OperatorClient {
  const peer: Peer = {
    name: 'The control plane',
    url,
    headers: key.isPlatform ? { authorization: `Bearer ${key.secret}` } : { [KEY_HEADER]: key.secret },
  }
  const send = async (call: Call, input: unknown, preview: boolean, options: CallOptions = {}) => {
    const { path, body } = requestOf(call, input, preview)
    try {
      return checked(await http.json(peer, { method: call.method, path, body, ...options }), call, key)
    } catch (error) {
      throw preview ? error : interrupted(error, call)
    }
  }
  return {
    url,
    key: { kind: key.kind, from: key.from },
    call: async (call, input, options) => read(call.output, await send(call, input, false, options)) as never,
    preview: async (call, input, options) => read(PreviewResponse, await send(call, input, true, options)),
    events: (path, query, signal, options = {}) =>
      continued({ http, peer, key, path: withQuery(path, query), signal, ...options }),
    download: async (path, query) => {
      const answer = await http.stream(peer, { method: 'GET', path: withQuery(path, query) })
      if (answer.status !== 200) throw await streamRefusal(answer, key)
      return answer.body
    },
  }
}

function requestOf(call: Call, input: unknown, preview: boolean): { path: string; body: unknown } {
  const parsed = call.input.safeParse(input)
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) =>
      issue.path.length === 0 ? issue.message : `${z.core.toDotPath(issue.path)} ${issue.message}`,
    )
    throw new CliError('BAD_REQUEST', problems.join('\n'), EXIT.usage)
  }
  const { id } = input as { id?: string }
  const path = id === undefined ? call.path : call.path.replace(':id', encodeURIComponent(id))
  const query = call.method === 'GET' ? (parsed.data as Query) : {}
  return {
    path: withQuery(path, { ...query, ...(preview && { preview: true }) }),
    body: call.method === 'GET' ? undefined : parsed.data,
  }
}

function withQuery(path: string, query: Query): string {
  const set = Object.entries(query).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, String(value)] as [string, string]],
  )
  return set.length === 0 ? path : `${path}?${new URLSearchParams(set).toString()}`
}

function read<T extends z.ZodType>(schema: T, body: unknown): z.output<T> {
  const parsed = schema.safeParse(body)
  if (parsed.success) return parsed.data
  throw new CliError(
    'ANSWER_UNREADABLE',
    'The control plane answered something that this version does not know. Use the holdpoint of the same version.',
    EXIT.error,
    { cause: parsed.error },
  )
}
