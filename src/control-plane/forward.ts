import { randomBytes } from 'node:crypto'
import {
  Agent,
  request as httpRequest,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type RequestListener,
  type ServerResponse,
} from 'node:http'

import { isSameSecret } from '../bearer.ts'
import { errorBody, onBody, sendJson } from '../http.ts'
import { PATHS } from '../machineid/paths.ts'
import { MAX_BATCH_BODY_BYTES } from '../machineid/wire.ts'
import { createHeldBytes, type Holding } from './held-bytes.ts'
import { pathOf } from './request-path.ts'

// A lane in a thread of its own answers validates, and hands every other request on to the main thread: over HTTP,
// to a listener on loopback that takes requests only from its own process.

/** Proves that a request comes from a lane of this process. */
const SECRET_HEADER = 'x-holdpoint-lane'
/** The other end of the connection on which the request reached the lane. Believed with the secret only. */
const PEER_HEADER = 'x-holdpoint-peer'
/** How many the main thread gets at once, the others wait here: so that no flood of them delays a stop either. */
const AT_ONCE = 16
/** Stops have places of their own, which nothing else can take. */
const STOPS_AT_ONCE = 64
const STOPS = new Set<string>([PATHS.revoke, PATHS.revokeBatch, PATHS.remove, PATHS.locks, PATHS.orgDisable])
const BURN = new RegExp(`^${PATHS.keyBurn.replace(':id', '[^/]+')}$`)
/** So have answers that take long. More than the main thread gives at all (open-streams.ts). */
const STREAMS_AT_ONCE = 1024
const STREAMS = new Set<string>([PATHS.feed, PATHS.audit, PATHS.auditVerify, PATHS.decisions])
/** Answers without an end in sight; every other one is taken whole. */
const STREAM_TYPE = /^(?:text\/event-stream|text\/csv|application\/x-ndjson)\b/
/** How long an answer may make no way to its caller. */
const UNREAD_MS = 30_000
/** What is kept for slow callers, bodies and answers. */
const MAX_HELD_BYTES = 64 * 1024 * 1024

export const newLaneSecret = (): string => randomBytes(32).toString('base64url')

/** The main thread's end: `handle` gets the requests of our own lanes, with the peer that each of them saw. */
export function createInnerListener(
  secret: string,
  handle: (request: IncomingMessage, response: ServerResponse, peer: string | undefined) => void,
): RequestListener {
  return (request, response) => {
    const { [SECRET_HEADER]: given, [PEER_HEADER]: peer } = request.headers
    if (typeof given === 'string' && isSameSecret(given, secret)) {
      handle(request, response, typeof peer === 'string' && peer !== '' ? peer : undefined)
    } else {
      sendJson(response, 403, errorBody(NOT_A_LANE))
    }
  }
}

const NOT_A_LANE = {
  code: 'INNER_LISTENER',
  message:
    'This port is for the lanes of one control plane among themselves. Use CONTROL_PLANE_PORT or OPERATOR_PORT.',
  requestId: 'none',
}

export interface Forward {
  readonly listener: RequestListener
  readonly close: () => void
}

/**
 * The lane's end. No caller holds a place at the main thread by being slow: a body is read before one is taken, and an
 * answer is taken whole before it is passed on. Streams are passed on as they come, and a hang-up of either side to
 * the other.
 */
export function createForward(options: {
  readonly port: number
  readonly secret: string
  /** Answers when the main thread does not. */
  readonly onError: (response: ServerResponse, error: unknown) => void
  /** How long an answer may make no way to its caller, in milliseconds. Default 30,000. */
  readonly unreadMs?: number | undefined
  /** The most that is kept for slow callers; beyond it the slowest are cut. Default 64 MiB. */
  readonly maxHeldBytes?: number | undefined
}): Forward {
  const { port, secret, unreadMs = UNREAD_MS } = options
  const calls = new Agent({ keepAlive: true, maxSockets: AT_ONCE })
  const stops = new Agent({ keepAlive: true, maxSockets: STOPS_AT_ONCE })
  const streams = new Agent({ keepAlive: true, maxSockets: STREAMS_AT_ONCE })
  const held = createHeldBytes(options.maxHeldBytes ?? MAX_HELD_BYTES)
  const agentFor = (request: IncomingMessage) => {
    if (isStop(request)) return stops
    return STREAMS.has(pathOf(request)) ? streams : calls
  }

  const send = (call: HeldCall, body: Buffer | undefined): void => {
    const { request, response, holding, fail } = call
    if (response.destroyed) return
    const onward = httpRequest({
      agent: agentFor(request),
      host: '127.0.0.1',
      port,
      method: request.method,
      path: request.url,
      headers: {
        ...passedOn(request),
        ...(body !== undefined && { 'content-length': body.length }),
        [SECRET_HEADER]: secret,
        [PEER_HEADER]: peerOf(request),
      },
    })
    onward.on('response', (answer) => {
      answer.on('error', fail)
      // One that came before the whole question was sent would keep its place until that is done.
      answer.on('end', () => onward.writableFinished || onward.destroy())
      if (STREAM_TYPE.test(answer.headers['content-type'] ?? '')) {
        holding.end()
        passOnStream(answer, response)
      } else {
        passOnWhole(answer, call, unreadMs)
      }
    })
    onward.on('error', fail)
    response.on('close', () => {
      if (!response.writableFinished) onward.destroy()
    })
    onward.end(body)
  }
  const take = (request: IncomingMessage, response: ServerResponse): void => {
    const holding = held.begin(() => request.socket.destroy())
    response.on('close', holding.end)
    const fail = (error: unknown) => {
      if (response.writableEnded) return
      if (response.headersSent || request.socket.destroyed) response.destroy()
      else options.onError(response, error)
    }
    const call: HeldCall = { request, response, holding, fail }
    const trySend = (body: Buffer | undefined) => {
      try {
        send(call, body)
      } catch (error) {
        // node:http refuses to send what it has read, such as a header with a character that is not allowed in one.
        fail(error)
      }
    }
    if (!hasBody(request)) return trySend(undefined)
    request.on('data', ({ length }: Buffer) => holding.add(length))
    // How long it may take is the server's requestTimeout.
    onBody(request, MAX_BATCH_BODY_BYTES, (body = NOTHING) => trySend(body), fail)
  }
  const listener: RequestListener = (request, response) => {
    // Sent before the answer to the question ahead of it is out: it waits for that.
    if (response.socket === null) response.once('socket', () => take(request, response))
    else take(request, response)
  }
  const close = () => {
    for (const agent of [calls, stops, streams]) agent.destroy()
  }
  return { listener, close }
}

interface HeldCall {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly holding: Holding
  /** Ends it with an error, while it has no whole answer. */
  readonly fail: (error: unknown) => void
}

const NOTHING = Buffer.alloc(0)

/** The calls that nothing may keep waiting: those that the API calls stops (api-route.ts). */
export function isStop(request: IncomingMessage): boolean {
  if (request.method !== 'POST') return false
  const path = pathOf(request)
  return STOPS.has(path) || BURN.test(path)
}

function passOnStream(answer: IncomingMessage, response: ServerResponse): void {
  response.writeHead(answer.statusCode ?? 502, answerHeaders(answer))
  // It may say nothing for a while after its headers.
  response.flushHeaders()
  answer.pipe(response)
}

function passOnWhole(
  answer: IncomingMessage,
  { request, response, holding }: HeldCall,
  unreadMs: number,
): void {
  const chunks: Buffer[] = []
  answer.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    holding.add(chunk.length)
  })
  answer.on('end', () => {
    if (response.destroyed) return
    response.setTimeout(unreadMs, () => request.socket.destroy())
    response.writeHead(answer.statusCode ?? 502, answerHeaders(answer)).end(Buffer.concat(chunks))
  })
}

/** Of one connection only (RFC 9110, 7.6.1). How a body is framed is said anew on the next one. */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'upgrade',
  'expect',
])

/** A body is passed on whole, however it came. */
const SAID_ANEW = new Set(['host', 'content-length', 'transfer-encoding'])

/** Headers that are there twice stay so; only one Host was looked at, and one is passed on. */
function passedOn({ headers, headersDistinct }: IncomingMessage): OutgoingHttpHeaders {
  const passed = Object.entries(headersDistinct).filter(
    ([name]) => !HOP_BY_HOP.has(name) && !SAID_ANEW.has(name),
  )
  return { ...Object.fromEntries(passed), ...(headers.host !== undefined && { host: headers.host }) }
}

function answerHeaders({ headersDistinct }: IncomingMessage): OutgoingHttpHeaders {
  return Object.fromEntries(
    Object.entries(headersDistinct).filter(([name]) => !HOP_BY_HOP.has(name) && name !== 'transfer-encoding'),
  )
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined
}

function peerOf({ socket }: IncomingMessage): string {
  return socket.remoteAddress ?? ''
}
