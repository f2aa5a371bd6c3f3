import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import {
  Agent,
  request as httpRequest,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type RequestListener,
  type ServerResponse,
} from 'node:http'

import { errorBody, sendJson } from '../http.ts'
import { PATHS } from '../machineid/wire.ts'

// A lane in a thread of its own answers validates, and hands every other request on to the main thread: over HTTP,
// to a listener on loopback that takes requests only from its own process.

/** Proves that a request comes from a lane of this process. */
const SECRET_HEADER = 'x-holdpoint-lane'
/** The other end of the connection on which the request reached the lane. Believed with the secret only. */
const PEER_HEADER = 'x-holdpoint-peer'
/** How many the main thread gets at once, the others wait here: so that no flood of them delays a stop either. */
const AT_ONCE = 16
/** Answers that take long must not take their places. */
const STREAMS = new Set<string>([PATHS.feed, PATHS.audit])
const STREAMS_AT_ONCE = 1024

export const newLaneSecret = (): string => randomBytes(32).toString('base64url')

/** The main thread's end: `handle` gets the requests of our own lanes, with the peer that each of them saw. */
export function createInnerListener(
  secret: string,
  handle: (request: IncomingMessage, response: ServerResponse, peer: string | undefined) => void,
): RequestListener {
  const wanted = sha256(secret)
  return (request, response) => {
    const { [SECRET_HEADER]: given, [PEER_HEADER]: peer } = request.headers
    if (typeof given === 'string' && timingSafeEqual(sha256(given), wanted)) {
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

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

export interface Forward {
  readonly listener: RequestListener
  readonly close: () => void
}

/** The lane's end: passes requests on as they are, streams included, and a hang-up of either side to the other. */
export function createForward(options: {
  readonly port: number
  readonly secret: string
  /** Answers when the main thread does not. */
  readonly onError: (response: ServerResponse, error: unknown) => void
}): Forward {
  const { port, secret, onError } = options
  const calls = new Agent({ keepAlive: true, maxSockets: AT_ONCE })
  const streams = new Agent({ keepAlive: true, maxSockets: STREAMS_AT_ONCE })
  const send = (request: IncomingMessage, response: ServerResponse): void => {
    const onward = httpRequest({
      agent: STREAMS.has(pathOf(request)) ? streams : calls,
      host: '127.0.0.1',
      port,
      method: request.method,
      path: request.url,
      headers: { ...passedOn(request), [SECRET_HEADER]: secret, [PEER_HEADER]: peerOf(request) },
    })
    onward.on('response', (answer) => {
      response.writeHead(answer.statusCode ?? 502, answerHeaders(answer))
      // A stream may say nothing for a while after its headers.
      response.flushHeaders()
      answer.on('error', () => response.destroy())
      answer.pipe(response)
    })
    onward.on('error', (error) => {
      if (response.headersSent) response.destroy()
      else if (!response.destroyed) onError(response, error)
    })
    response.on('close', () => {
      if (!response.writableFinished) onward.destroy()
    })
    request.on('error', () => onward.destroy())
    if (hasBody(request)) request.pipe(onward)
    else onward.end()
  }
  const listener: RequestListener = (request, response) => {
    try {
      send(request, response)
    } catch (error) {
      // node:http refuses to send what it has read, such as a header with a character that is not allowed in one.
      onError(response, error)
    }
  }
  const close = () => {
    calls.destroy()
    streams.destroy()
  }
  return { listener, close }
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

/** Headers that are there twice stay so; only one Host was looked at, and one is passed on. */
function passedOn({ headers, headersDistinct }: IncomingMessage): OutgoingHttpHeaders {
  const passed = Object.entries(headersDistinct).filter(([name]) => !HOP_BY_HOP.has(name) && name !== 'host')
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

function pathOf({ url = '' }: IncomingMessage): string {
  return url.split('?', 1)[0] ?? ''
}

function peerOf({ socket }: IncomingMessage): string {
  return socket.remoteAddress ?? ''
}
