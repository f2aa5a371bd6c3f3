import { randomUUID } from 'node:crypto'
import type { Socket } from 'node:net'

import type { Profile } from '../../../src/machineid/options.ts'
import { httpAnswer, type RawRequest } from '../../fixtures/raw-server.ts'

export const SERVER_DEVICE = 'openai-agent:prod:tool-server:01'
export const ORG = 'o_bad_answers'
export const EPOCH = 7
/** What rows take that wait for it; the others get a long one, so that a busy machine does not fail them. */
export const SHORT_BUDGET_MS = 300
export const LONG_BUDGET_MS = 2000

type Json = Record<string, unknown>

/** The good answer to a question, to be spoiled. In profile `machineid` envelope and decision are one object. */
export interface Good {
  readonly profile: Profile
  readonly request: RawRequest
  readonly envelope: Json
  readonly decision: Json
  /** The whole good answer as JSON text. */
  readonly text: string
}

export function goodAnswer(profile: Profile, request: RawRequest): Good {
  const question = request.json as { deviceIds: string[]; deviceId: string; nonce: string }
  const verdict = { allowed: true, code: 'ALLOW' }
  if (profile === 'machineid') {
    const { deviceId } = question
    const legacy = { status: 'allowed', reason: 'active', handler: 'devices/validate' }
    const body: Json = { ...verdict, request_id: randomUUID(), deviceId, ...legacy }
    return { profile, request, envelope: body, decision: body, text: JSON.stringify(body) }
  }
  const decisions = question.deviceIds.map((deviceId): Json => ({ deviceId, ...verdict, epoch: 3 }))
  const envelope: Json = {
    orgId: ORG,
    orgEpoch: EPOCH,
    nonce: question.nonce,
    request_id: randomUUID(),
    decisions,
  }
  return { profile, request, envelope, decision: decisions[0] as Json, text: JSON.stringify(envelope) }
}

/** The plan fields that every answer about devices carries. */
export const PLAN = {
  planTier: 'free',
  planState: 'active',
  accessUntil: null,
  limit: 3,
  devicesUsed: 1,
  remaining: 2,
  overLimit: false,
  softGraceWindow: false,
}

/** The good answer to a registration. */
export function goodRegistration(request: RawRequest): string {
  const { deviceId } = request.json as { deviceId: string }
  return JSON.stringify({
    status: 'ok',
    handler: 'devices/register',
    deviceId,
    ...PLAN,
  })
}

interface Served {
  readonly good: Good
  readonly socket: Socket
  /** The bytes of the good answer to the startup question. */
  readonly previous: Buffer
}

/** Answers a question. */
export type Serve = (served: Served) => void

/** One bad answer, and the only codes it may give. */
export interface Row {
  /** The number in the list of bad answers. */
  readonly no: number
  readonly name: string
  readonly code: string | readonly string[]
  /** Default: both. */
  readonly profiles?: readonly Profile[]
  readonly serve?: Serve
  /** Answers before there is a question. */
  readonly onConnection?: (socket: Socket) => void
  /** Answers requests for other paths, such as the target of a redirect. */
  readonly elsewhere?: (socket: Socket, request: RawRequest) => void
  /** Leaves the connections of the startup open, so that the question goes over one of them. */
  readonly keepsConnection?: boolean
  /** At most so many requests may come for this question. Default 1: none is sent twice. */
  readonly maxRequests?: number
  readonly cleanUp?: () => void
}

/** An answer that is good but for what `spoil` does to its decision and its envelope. */
export function spoiled(spoil: (decision: Json, envelope: Json, good: Good) => void): Serve {
  return ({ good, socket }) => {
    spoil(good.decision, good.envelope, good)
    socket.write(httpAnswer(JSON.stringify(good.envelope)))
  }
}

/** A complete 200 answer with this body. */
export function body(make: (text: string, good: Good) => string | Uint8Array): Serve {
  return ({ good, socket }) => socket.write(httpAnswer(make(good.text, good)))
}

/** The good body under another status or other headers. */
export function head(options: {
  readonly status?: string
  readonly headers?: Record<string, string>
}): Serve {
  return ({ good, socket }) => socket.write(httpAnswer(good.text, options))
}

/** Bytes as they are. */
export function bytes(make: (good: Good) => string | Uint8Array): Serve {
  return ({ good, socket }) => socket.write(make(good))
}

export const HEAD_OK = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n'

/** Calls `write` every `intervalMs` until the other side has gone. */
export function drip(socket: Socket, intervalMs: number, write: () => void): void {
  const timer = setInterval(write, intervalMs)
  socket.on('close', () => clearInterval(timer))
}
