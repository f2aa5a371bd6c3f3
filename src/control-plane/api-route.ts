import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { z } from 'zod'

import { readJson, sendJson } from '../http.ts'
import { KEY_HEADER, MAX_BODY_BYTES, type KeyKind } from '../machineid/wire.ts'
import { invalidDeviceId, invalidKey, missingKey, Refusal, wrongKind } from './refusal.ts'
import type { Caller, ControlPlaneService } from './service.ts'
import type { KeyRecord } from './store.ts'

export interface ApiContext {
  readonly service: ControlPlaneService
  readonly platformToken: string | undefined
  /** True when only this machine can reach the listener. */
  readonly loopback: boolean
  /** Answers what was refused or what went wrong. */
  readonly onError: (response: ServerResponse, error: unknown, handler?: string) => void
}

export interface Reply {
  readonly statusCode?: number
  /** `status: "ok"`, `handler` and `request_id` are added where it does not say otherwise. */
  readonly body: Readonly<Record<string, unknown>>
}

/** One call of the API: who may make it, what it takes, what it does. */
export interface Route {
  readonly method: 'get' | 'post'
  readonly path: string
  /** MachineID's name for the call, in every answer. */
  readonly handler: string
  /** Key kinds; `platform` takes the platform token; `open` takes it only when anyone else could reach the listener. */
  readonly access: readonly KeyKind[] | 'platform' | 'open'
  readonly handle: (request: IncomingMessage, response: ServerResponse) => void
}

/** What an authenticated, parsed call works with. */
export interface Call<T> {
  readonly input: T
  readonly caller: Caller
  readonly requestId: string
}

export interface OrgCall<T> extends Call<T> {
  readonly orgId: string
  readonly key: KeyRecord
}

interface Definition<T, C> {
  readonly method: 'get' | 'post'
  readonly path: string
  readonly handler: string
  /** The body of a POST, the query of a GET. */
  readonly input: z.ZodType<T>
  readonly run: (call: C) => Promise<Reply>
}

/** A call made with an org key. */
export function orgRoute<T>(
  context: ApiContext,
  kinds: readonly KeyKind[],
  definition: Definition<T, OrgCall<T>>,
): Route {
  return route(context, kinds, definition, async (request, requestId) => {
    const key = await authenticate(context.service, request)
    if (!kinds.includes(key.kind)) throw wrongKind(key.kind, kinds)
    const caller: Caller = { actor: key.keyId, kind: key.kind, requestId }
    return { key, caller, orgId: key.orgId }
  })
}

/** A call of whoever runs the platform. */
export function platformRoute<T>(
  context: ApiContext,
  access: 'platform' | 'open',
  definition: Definition<T, Call<T>>,
): Route {
  return route(context, access, definition, async (request, requestId) => {
    assertPlatform(context, access, request)
    return { caller: { actor: 'platform', kind: 'platform', requestId } }
  })
}

function route<T, A extends { caller: Caller }>(
  { service, onError }: ApiContext,
  access: Route['access'],
  definition: Definition<T, A & Call<T>>,
  admit: (request: IncomingMessage, requestId: string) => Promise<A>,
): Route {
  const { method, path, handler, input, run } = definition
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    try {
      const requestId = service.newId()
      const admitted = await admit(request, requestId)
      const given = method === 'get' ? queryOf(request) : await bodyOf(request)
      const { statusCode = 200, body } = await run({ ...admitted, input: parse(input, given), requestId })
      sendJson(response, statusCode, { status: 'ok', handler, ...body, request_id: requestId })
    } catch (error) {
      onError(response, error, handler)
    }
  }
  return { method, path, handler, access, handle: (request, response) => void answer(request, response) }
}

async function authenticate(service: ControlPlaneService, request: IncomingMessage): Promise<KeyRecord> {
  const key = request.headers[KEY_HEADER]
  if (typeof key !== 'string' || key === '') throw missingKey()
  const record = await service.findKey(key)
  if (record === undefined) throw invalidKey()
  return record
}

function assertPlatform(context: ApiContext, access: 'platform' | 'open', request: IncomingMessage): void {
  const { platformToken, loopback } = context
  if (platformToken === undefined) {
    if (access === 'open' && loopback) return refuseWebPages(request)
    throw new Refusal(
      'PLATFORM_TOKEN_NOT_CONFIGURED',
      'This call takes the platform token, and none is set here. Start the control plane with PLATFORM_TOKEN.',
    )
  }
  const given = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1] ?? ''
  if (timingSafeEqual(sha256(given), sha256(platformToken))) return
  throw new Refusal(
    'PLATFORM_TOKEN_INVALID',
    'Send the platform token in the header authorization: Bearer ….',
  )
}

/** Any page in a browser on this machine can post here without reading the answer; browsers name its origin. */
function refuseWebPages(request: IncomingMessage): void {
  if (request.headers.origin === undefined) return
  throw new Refusal(
    'ORIGIN_NOT_ALLOWED',
    'A web page may not make this call. Set PLATFORM_TOKEN and send it.',
  )
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

function queryOf(request: IncomingMessage): unknown {
  const url = request.url ?? ''
  const query = url.indexOf('?')
  return Object.fromEntries(new URLSearchParams(query === -1 ? '' : url.slice(query)))
}

/** Changes take no query: an option that is not known here, such as a preview, must not become the change itself. */
async function bodyOf(request: IncomingMessage): Promise<unknown> {
  if (request.url?.includes('?') === true) {
    throw new Refusal('BAD_REQUEST', 'This call takes no query. Send its fields in the JSON body.')
  }
  return readJson(request, MAX_BODY_BYTES)
}

/** Names the field, never its value: that may be a key in the wrong place. */
function parse<T>(schema: z.ZodType<T>, given: unknown): T {
  const result = schema.safeParse(given)
  if (result.success) return result.data
  const { path = [], code, message = 'is not as expected' } = result.error.issues[0] ?? {}
  const [field] = path
  if (field === 'deviceId') throw invalidDeviceId((given as { deviceId?: unknown }).deviceId)
  if (field === undefined) {
    throw new Refusal('BAD_REQUEST', code === 'custom' ? message : 'The body must be a JSON object.')
  }
  // Below `labels` the names are the caller's own, and may be anything.
  const named = field === 'context' ? path.join('.') : String(field)
  throw new Refusal('BAD_REQUEST', `"${named}" ${message}.`)
}
