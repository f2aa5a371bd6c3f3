import { isUtf8 } from 'node:buffer'
import {
  createServer,
  STATUS_CODES,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from 'node:http'
import { createServer as createHttpsServer, Server as HttpsServer } from 'node:https'
import type { AddressInfo, Server as NetServer, Socket } from 'node:net'

import { HoldpointError, messageOf } from './errors.ts'

/** An error as it goes over the wire: a stable code, a sentence with the next step, an id to find it again. */
export interface WireError {
  readonly code: string
  readonly message: string
  readonly requestId: string
  /** `error` unless an older client knows another word. */
  readonly status?: string
  readonly [extra: string]: unknown
}

/** The JSON body of every error. `error` is the lower-case word for `code` that MachineID's clients read. */
export function errorBody({
  code,
  message,
  requestId,
  status,
  ...extra
}: WireError): Record<string, unknown> {
  return {
    status: status ?? 'error',
    error: code.toLowerCase(),
    code,
    message,
    request_id: requestId,
    ...extra,
  }
}

/** Sends `body` as JSON, never to be cached. Does nothing when the other side has gone. */
export function sendJson(response: ServerResponse, statusCode: number, body: unknown): void {
  sendJsonText(response, statusCode, JSON.stringify(body))
}

/** The same for JSON text that is ready. */
export function sendJsonText(response: ServerResponse, statusCode: number, text: string): void {
  if (response.headersSent || response.destroyed) return
  response.writeHead(statusCode, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
  })
  response.end(text)
}

/** A request body that cannot be read as JSON; `statusCode` says which of the reasons it is. */
export class BadBodyError extends HoldpointError {
  override readonly name = 'BadBodyError'
  readonly statusCode: 400 | 413 | 415

  constructor(statusCode: 400 | 413 | 415, code: string, message: string, options?: ErrorOptions) {
    super(code, message, options)
    this.statusCode = statusCode
  }
}

const JSON_TYPE = /^application\/json(?:\s*;\s*charset="?utf-8"?)?\s*$/i

/**
 * The body as parsed JSON; `{}` when there is none. Rejects with `BadBodyError`: `UNSUPPORTED_MEDIA_TYPE` (415),
 * `BODY_TOO_LARGE` (413, the rest of the body is thrown away), `MALFORMED_JSON` (400).
 */
export function readJson(request: IncomingMessage, limitBytes: number): Promise<unknown> {
  return new Promise((resolve, reject) => onJson(request, limitBytes, resolve, reject))
}

/** `readJson` without a promise, for the path on which each microsecond is waited for. */
export function onJson(
  request: IncomingMessage,
  limitBytes: number,
  onParsed: (body: unknown) => void,
  onError: (error: unknown) => void,
): void {
  const parse = (body: Buffer | undefined) => {
    const parsed = parseBody(request.headers, body)
    if (parsed instanceof BadBodyError) onError(parsed)
    else onParsed(parsed)
  }
  onBody(request, limitBytes, parse, onError)
}

/** The body as it was sent; undefined when there is none. Errors are `BODY_TOO_LARGE` and those of the connection. */
export function onBody(
  request: IncomingMessage,
  limitBytes: number,
  onBytes: (body: Buffer | undefined) => void,
  onError: (error: unknown) => void,
): void {
  // Nothing more would come of it, not even an error.
  if (request.destroyed) return onError(request.errored ?? new Error('The connection was closed.'))
  let body: Buffer | undefined
  let chunks: Buffer[] | undefined
  let sizeBytes = 0
  request.on('data', (chunk: Buffer) => {
    sizeBytes += chunk.length
    if (sizeBytes > limitBytes) {
      // A client that is still sending reads no answer: bear with it for a while, then hang up.
      if (sizeBytes > limitBytes * DRAIN_FACTOR) request.destroy(bodyTooLarge(limitBytes))
      return
    }
    if (body === undefined) body = chunk
    else (chunks ??= [body]).push(chunk)
  })
  request.on('end', () => {
    if (sizeBytes > limitBytes) onError(bodyTooLarge(limitBytes))
    else onBytes(chunks === undefined ? body : Buffer.concat(chunks))
  })
  request.on('error', onError)
}

const DRAIN_FACTOR = 64

function parseBody(headers: IncomingHttpHeaders, body: Buffer | undefined): unknown {
  if (body === undefined) return {}
  const { 'content-type': type, 'content-encoding': encoding } = headers
  if (encoding !== undefined || (type !== 'application/json' && !JSON_TYPE.test(type ?? ''))) {
    return new BadBodyError(
      415,
      'UNSUPPORTED_MEDIA_TYPE',
      'The body must be JSON in UTF-8, not compressed. Send the header content-type: application/json.',
    )
  }
  try {
    if (!isUtf8(body)) throw new Error('not UTF-8')
    return JSON.parse(body.toString('utf8'))
  } catch (cause) {
    return new BadBodyError(
      400,
      'MALFORMED_JSON',
      'The body is not well-formed JSON in UTF-8. Check the quotes of the JSON text that you send.',
      { cause },
    )
  }
}

export function bodyTooLarge(limitBytes: number): BadBodyError {
  return new BadBodyError(
    413,
    'BODY_TOO_LARGE',
    `The body is over ${limitBytes} bytes, the largest that is read.`,
  )
}

/**
 * Answers what Node could not parse as HTTP (400, 408, 431) with a JSON error, as everything else is answered.
 */
export function answerUnparsable(server: Server, newRequestId: () => string): void {
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (error.code === 'ECONNRESET' || !socket.writable) {
      socket.destroy()
      return
    }
    const statusCode = CLIENT_ERROR_STATUS[error.code ?? ''] ?? 400
    const statusText = STATUS_CODES[statusCode] ?? 'Bad Request'
    const text = JSON.stringify(
      errorBody({
        code: statusText.toUpperCase().replaceAll(' ', '_'),
        message: `This could not be read as an HTTP request: ${statusText.toLowerCase()}.`,
        requestId: newRequestId(),
      }),
    )
    socket.end(
      `HTTP/1.1 ${statusCode} ${statusText}\r\ncontent-type: application/json\r\n` +
        `content-length: ${Buffer.byteLength(text)}\r\nconnection: close\r\n\r\n${text}`,
    )
  })
}

const CLIENT_ERROR_STATUS: Record<string, number> = {
  HPE_HEADER_OVERFLOW: 431,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  ERR_HTTP_REQUEST_TIMEOUT: 408,
}

/** Certificate chain and key, as PEM. */
export interface TlsOptions {
  /** The chain of certificates, as PEM. */
  readonly cert: string
  /** Its key, as PEM. */
  readonly key: string
}

/** An HTTP server, or with `tls` an HTTPS server; not listening yet. */
export function createWebServer(
  options: ServerOptions,
  tls: TlsOptions | undefined,
  onRequest: RequestListener,
): Server {
  const server =
    tls === undefined
      ? createServer(options, onRequest)
      : createHttpsServer({ ...options, cert: tls.cert, key: tls.key }, onRequest)
  trackConnections(server)
  return server
}

export interface Listening {
  readonly host: string
  readonly port: number
  /** `http://host:port` or `https://host:port`, without a slash at the end. */
  readonly url: string
}

export interface ListenAddress {
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  /** Shares the port with other listeners of this machine that do so too. Linux only. Default false. */
  readonly reusePort?: boolean
}

/** Starts to listen. Rejects with `LISTEN_FAILED`, which names the address. */
export function listen(server: NetServer, address: ListenAddress): Promise<Listening> {
  const { host, port } = address
  return new Promise((resolve, reject) => {
    const refuse = (cause: NodeJS.ErrnoException) => {
      const next =
        cause.code === 'EADDRINUSE'
          ? 'Another program has it: stop that one or choose another port.'
          : messageOf(cause)
      reject(new HoldpointError('LISTEN_FAILED', `Cannot listen on ${host}:${port}. ${next}`, { cause }))
    }
    server.once('error', refuse)
    server.listen({ ...address }, () => {
      server.off('error', refuse)
      const bound = (server.address() as AddressInfo).port
      const scheme = server instanceof HttpsServer ? 'https' : 'http'
      resolve({ host, port: bound, url: `${scheme}://${host.includes(':') ? `[${host}]` : host}:${bound}` })
    })
  })
}

/**
 * Ends a server the polite way: accepts nothing new, lets answers in progress finish for up to `graceMs`
 * (default 5000), closes idle keep-alive connections, then cuts what is left. Fine to call twice.
 */
export async function closeServer(server: Server, { graceMs = 5000 } = {}): Promise<void> {
  if (!server.listening) return
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  // A connection that always has a next question would never be idle.
  server.prependListener('request', (_request, response) => response.setHeader('connection', 'close'))
  // A connection that finishes its answer now is idle only afterwards, so one look is not enough.
  const sweep = setInterval(() => server.closeIdleConnections(), 20)
  const silent = setTimeout(() => closeSilent(server), Math.min(graceMs, SILENT_GRACE_MS))
  const cut = setTimeout(() => closeAll(server), graceMs)
  server.closeIdleConnections()
  await closed
  clearInterval(sweep)
  clearTimeout(silent)
  clearTimeout(cut)
}

/** How long a connection that has not asked anything yet may take to do so, once its server is closing. */
const SILENT_GRACE_MS = 100

/** The open connections of a server, by their other end. */
const connections = new WeakMap<Server, Map<string, Socket>>()
/** Connections that have sent a request: node:http knows whether these are idle. */
const spoken = new WeakSet<Socket>()

/** Node takes a connection without a request for a busy one; one without a finished TLS handshake it does not know. */
function trackConnections(server: Server): void {
  const open = new Map<string, Socket>()
  connections.set(server, open)
  const track = (socket: Socket) => {
    const peer = `${socket.remoteAddress}|${socket.remotePort}`
    open.set(peer, socket)
    socket.once('close', () => open.get(peer) === socket && open.delete(peer))
  }
  server.on('connection', track)
  server.on('secureConnection', track)
  server.on('request', ({ socket }) => void spoken.add(socket))
}

function closeSilent(server: Server): void {
  for (const socket of connections.get(server)?.values() ?? []) if (!spoken.has(socket)) socket.destroy()
}

function closeAll(server: Server): void {
  server.closeAllConnections()
  for (const socket of connections.get(server)?.values() ?? []) socket.destroy()
}

/** How many connections are open. */
export function openConnections(server: Server): number {
  return connections.get(server)?.size ?? 0
}
