import type { Request } from 'express'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { z } from 'zod'

import { readJson, sendJson } from '../http.ts'
import { PreviewQuery } from '../machineid/wire-fields.ts'
import { MAX_BODY_BYTES, type KeyKind } from '../machineid/wire.ts'
import { assertPlatform, authenticate, type KeyAccess, type PlatformAccess } from './api-access.ts'
import { parse } from './api-parse.ts'
import type { DecisionRates } from './decision-rates.ts'
import type { CanaryCut } from './drills/canary.ts'
import type { DrillRuns } from './drills/drill-runs.ts'
import type { Feed } from './feed.ts'
import type { CallQuota } from './limits.ts'
import type { Nodes } from './nodes/nodes.ts'
import type { Preview } from './preview.ts'
import type { KeyRecord } from './records.ts'
import type { Recovery } from './recovery.ts'
import { Refusal, wrongKind, type RefusalCode } from './refusal.ts'
import { remoteAddressOf } from './remote-address.ts'
import { queryOf } from './request-path.ts'
import type { Caller } from './service.ts'
import type { SessionRecord } from './sessions/session-store.ts'
import type { StopEvidenceLog } from './stops/evidence-log.ts'
import type { ControlPlaneStore } from './store.ts'
import type { DiagnosisBody } from '../machineid/wire-drills.ts'

export interface ApiContext extends PlatformAccess, KeyAccess {
  readonly recovery: Recovery
  /** For evidence, which is read as it is kept. */
  readonly store: ControlPlaneStore
  readonly feed: Feed
  readonly rates: DecisionRates
  readonly drillRuns: DrillRuns
  /** What is observed of stops. */
  readonly evidence: StopEvidenceLog
  readonly nodes: Pick<Nodes, 'count'>
  /** What only this process knows of how it is set up. */
  readonly diagnosis: Pick<DiagnosisBody, 'validateWorkers' | 'decisionLog'>
  readonly onCut: (cut: CanaryCut) => void
  readonly quota: CallQuota
  /** Whether failed sign-ins are. */
  readonly limited: boolean
  /** Answers what was refused or what went wrong. */
  readonly onError: (response: ServerResponse, error: unknown, handler?: string) => void
}

export interface JsonReply {
  readonly statusCode?: number
  readonly headers?: Readonly<Record<string, string>>
  /** `status: "ok"`, `handler` and `request_id` are added where it does not say otherwise. */
  readonly body: Readonly<Record<string, unknown>>
}

/** A reply that writes itself, such as a stream. What it throws before its first byte is answered as an error. */
export interface OwnReply {
  readonly respond: (request: IncomingMessage, response: ServerResponse) => Promise<void> | void
}

export type Reply = JsonReply | OwnReply

/** What openapi.json says of a call, and what reads and answers it. */
export interface RouteContract {
  readonly method: 'get' | 'post'
  /** With `:id` for a part that varies. */
  readonly path: string
  /** MachineID's name for the call, in every answer. */
  readonly handler: string
  /** One sentence without a full stop. */
  readonly summary: string
  /** The body of a POST, the query of a GET. */
  readonly input: z.ZodType
  /** The body of a 200. */
  readonly output: z.ZodType
  /** Where a 200 is a stream: `output` is then the data of one event. */
  readonly outputType?: 'text/event-stream' | undefined
  /** Where JSON lines, or CSV, can be asked for too: one of them. */
  readonly lines?: z.ZodType | undefined
  /** What it refuses with beside what every call of its kind does. */
  readonly refusals?: readonly RefusalCode[] | undefined
  /** The body of its refusals, where one says more than every error does. Default `ErrorResponse`. */
  readonly refused?: z.ZodType | undefined
  /** Answered by the agent lane alone, which takes no cookies. */
  readonly ofAgents?: true | undefined
  /** A stop: never kept waiting by a quota. */
  readonly stop?: true | undefined
  /** Evidence of a stop: it has a quota of its own, so that neither takes the other's place. */
  readonly evidence?: true | undefined
  /** The largest body, in bytes. Default 16 KiB. */
  readonly bodyLimitBytes?: number | undefined
}

/** One call of the API: who may make it, what it takes, what it does. */
export interface Route extends RouteContract {
  /** Key kinds; `platform` takes the platform token; `open` takes it only when anyone else could reach the listener. */
  readonly access: readonly KeyKind[] | 'platform' | 'open' | 'none'
  /** Takes `?preview=true`. */
  readonly hasPreview: boolean
  readonly handle: (request: Request, response: ServerResponse) => void
}

/** What an authenticated, parsed call works with. */
export interface Call<T> {
  readonly input: T
  readonly caller: Caller
  readonly requestId: string
  /** The `:id` of its path. */
  readonly id: string
}

export interface OrgCall<T> extends Call<T> {
  readonly orgId: string
  readonly key: KeyRecord
  /** Of a person who signed in: the key is then the one of the session. */
  readonly session: SessionRecord | undefined
  readonly request: IncomingMessage
}

interface Definition<T, C> extends RouteContract {
  readonly input: z.ZodType<T>
  readonly run: (call: C) => Promise<Reply>
  /** Of a stop: what it would hit. Changes nothing. */
  readonly preview?: ((call: C) => Promise<Preview>) | undefined
}

/** A call made with an org key. `kinds` may answer from the path and the key, for a key that asks about itself. */
export function orgRoute<T>(
  context: ApiContext,
  kinds: readonly KeyKind[],
  definition: Definition<T, OrgCall<T>> & {
    /** Lets a key of another kind in, such as one that burns itself. */
    readonly alsoAdmits?: (key: KeyRecord, id: string) => boolean
  },
): Route {
  return route(context, kinds, definition, async (request, requestId, id) => {
    const { key, session } = await authenticate(context, request)
    if (!kinds.includes(key.kind) && definition.alsoAdmits?.(key, id) !== true) {
      throw wrongKind(key.kind, kinds)
    }
    // A look at what a stop would hit is no stop.
    if (definition.stop !== true || request.url?.includes('?') === true) {
      context.quota(key, definition.evidence === true ? 'evidence' : 'calls')
    }
    context.service.decisions.keyUsed(key.keyId)
    const { keyId, kind, orgId } = key
    const origin = remoteAddressOf(request)
    const caller: Caller = { actor: keyId, kind, keyId, sessionId: session?.sessionId, requestId, origin }
    return { key, session, caller, orgId, request }
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
    const origin = remoteAddressOf(request)
    return { caller: { actor: 'platform', kind: 'platform', requestId, origin } }
  })
}

/** A call that needs no credential in a header. */
export function publicRoute<T>(context: ApiContext, definition: Definition<T, Call<T>>): Route {
  return route(context, 'none', definition, async (request, requestId) => ({
    caller: { actor: 'recovery', kind: 'recovery', requestId, origin: remoteAddressOf(request) },
  }))
}

/** A call that is let in by `admit`, which throws or answers what `run` gets beside the input. */
export function route<T, A extends { caller: Caller }>(
  { service, onError }: ApiContext,
  access: Route['access'],
  definition: Definition<T, A & Call<T>>,
  admit: (request: IncomingMessage, requestId: string, id: string) => Promise<A>,
): Route {
  const { run, preview, ...contract } = definition
  const { method, handler, input, bodyLimitBytes = MAX_BODY_BYTES } = contract
  const answer = async (request: Request, response: ServerResponse) => {
    try {
      const requestId = service.newId()
      const id = String(request.params['id'] ?? '')
      const admitted = await admit(request, requestId, id)
      const previewing = method === 'post' && isPreview(request, preview !== undefined)
      const given =
        method === 'get' ? Object.fromEntries(queryOf(request)) : await readJson(request, bodyLimitBytes)
      const call = { ...admitted, input: parse(input, given), requestId, id }
      const reply: Reply =
        previewing && preview !== undefined
          ? { body: { preview: true, ...(await preview(call)) } }
          : await run(call)
      if ('respond' in reply) return await reply.respond(request, response)
      const { statusCode = 200, headers = {}, body } = reply
      for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
      sendJson(response, statusCode, { status: 'ok', handler, ...body, request_id: requestId })
    } catch (error) {
      onError(response, error, handler)
    }
  }
  return {
    ...contract,
    access,
    hasPreview: preview !== undefined,
    handle: (request, response) => void answer(request, response),
  }
}

/** A query that is not known here, or that says two things, must not become the change itself. */
function isPreview(request: IncomingMessage, offered: boolean): boolean {
  const query = queryOf(request)
  if (query.size === 0 && request.url?.includes('?') !== true) return false
  if (offered && query.size === 1 && query.has('preview')) {
    return parse(PreviewQuery, Object.fromEntries(query)).preview === 'true'
  }
  throw new Refusal(
    'BAD_REQUEST',
    offered
      ? 'This call takes no query but ?preview=true. Send its fields in the JSON body.'
      : 'This call takes no query. Send its fields in the JSON body.',
  )
}
