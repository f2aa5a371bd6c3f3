import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'

import { packageRoot } from '../package-root.ts'
import { pathOf } from './request-path.ts'

const CONSOLE = '/console'
/** Where `npm run build:console` puts it. */
const BUILT = new URL('dist/console/', packageRoot)

/** The console: what vite has built of it, and nothing else of this machine. */
export interface ConsoleFiles {
  /** False when the request is for something else. */
  readonly handle: (request: IncomingMessage, response: ServerResponse) => boolean
}

export function createConsoleFiles(options: {
  /** Default: where it is built. */
  readonly dir?: URL | undefined
  readonly onError: (response: ServerResponse, error: unknown) => void
}): ConsoleFiles {
  const { dir = BUILT, onError } = options
  const zipped = new Map<string, Buffer>()

  const sendPage = async (file: 'index.html' | 'stop.html', exchange: Exchange) => {
    const html = await read(new URL(file, dir))
    if (html === undefined) return send(exchange, NOT_BUILT)
    const nonce = randomBytes(16).toString('base64')
    const body = Buffer.from(html.toString('utf8').replaceAll(NONCE_PLACEHOLDER, nonce))
    send(exchange, {
      status: 200,
      type: TYPES['.html'],
      cache: 'no-store',
      body,
      headers: pageHeaders(nonce),
    })
  }
  /** The name of an asset changes with what is in it: it is zipped once. */
  const zip = async (name: string, body: Buffer) => {
    const known = zipped.get(name)
    if (known !== undefined) return known
    const made = await toGzip(body)
    zipped.set(name, made)
    return made
  }
  const sendFile = async (name: string, exchange: Exchange): Promise<boolean> => {
    const body = await read(new URL(name, dir))
    if (body === undefined) return false
    const hashed = name.startsWith(ASSETS)
    const type = TYPES[extname(name)] ?? 'application/octet-stream'
    const file = { status: 200, type, cache: hashed ? IMMUTABLE : 'no-cache' }
    const zips = hashed && ZIPPED.test(name)
    const headers = { 'x-content-type-options': 'nosniff', ...(zips && { vary: 'accept-encoding' }) }
    if (zips && /\bgzip\b/.test(String(exchange.request.headers['accept-encoding']))) {
      const encoded = { ...headers, 'content-encoding': 'gzip' }
      send(exchange, { ...file, body: await zip(name, body), headers: encoded })
    } else {
      send(exchange, { ...file, body, headers })
    }
    return true
  }
  const answer = async (name: string, exchange: Exchange) => {
    if (STOP_PAGE.has(name)) return sendPage('stop.html', exchange)
    if (FILE.test(name) && (await sendFile(name, exchange))) return
    if (name.startsWith(ASSETS)) return send(exchange, NO_SUCH_FILE)
    await sendPage('index.html', exchange)
  }

  return {
    handle: (request, response) => {
      const path = pathOf(request)
      if (path !== CONSOLE && !path.startsWith(`${CONSOLE}/`)) return false
      const exchange = { request, response }
      if (request.method !== 'GET' && request.method !== 'HEAD') send(exchange, WRONG_METHOD)
      else
        answer(path.slice(CONSOLE.length + 1), exchange).catch((error: unknown) => onError(response, error))
      return true
    },
  }
}

interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
}

interface Answer {
  readonly status: number
  readonly type: string | undefined
  readonly cache: string
  readonly body: Buffer
  readonly headers?: Readonly<Record<string, string>>
}

function send({ request, response }: Exchange, { status, type, cache, body, headers }: Answer): void {
  if (response.headersSent || response.destroyed) return
  response.writeHead(status, {
    'content-type': type,
    'content-length': body.length,
    'cache-control': cache,
    ...headers,
  })
  response.end(request.method === 'HEAD' ? undefined : body)
}

/** As vite writes it (`html.cspNonce`). */
const NONCE_PLACEHOLDER = '__CSP_NONCE__'

/** Nothing from elsewhere, nothing inline, in nobody's frame: the console shows what strangers have written. */
function pageHeaders(nonce: string): Readonly<Record<string, string>> {
  return {
    'content-security-policy': [
      "default-src 'none'",
      "script-src 'self'",
      `style-src 'self' 'nonce-${nonce}'`,
      "img-src 'self' data:",
      "font-src 'self'",
      "connect-src 'self'",
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
    ].join('; '),
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
    'referrer-policy': 'no-referrer',
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
  }
}

/** Typed in a hurry, it is the stop page all the same. */
const STOP_PAGE = new Set(['stop', 'stop/', 'stop.html'])
const ASSETS = 'assets/'
const IMMUTABLE = 'public, max-age=31536000, immutable'
/** One name, or one below assets/, with an ending: no dot at its beginning, nothing that is decoded or climbs. */
const FILE = /^(?:assets\/)?[A-Za-z0-9_][A-Za-z0-9_.-]*\.(?!html$)[a-z0-9]+$/
const ZIPPED = /\.(?:js|css|svg|json)$/
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json',
  '.webmanifest': 'application/manifest+json',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
}

const toGzip = promisify(gzip)

async function read(file: URL): Promise<Buffer | undefined> {
  try {
    return await readFile(fileURLToPath(file))
  } catch (error) {
    if (error instanceof Error && 'code' in error && ABSENT.has(String(error.code))) return undefined
    throw error
  }
}

const ABSENT = new Set(['ENOENT', 'EISDIR', 'ENOTDIR'])

const NOT_BUILT = plain(
  503,
  'The console is not built on this machine. Build it with npm run build:console, then load this page again. The API and the CLI work without it.',
)
const NO_SUCH_FILE = plain(
  404,
  'The console has no such file. Load the page again: it may have been built anew.',
)
const WRONG_METHOD = {
  ...plain(405, 'The files of the console take GET and HEAD.'),
  headers: { allow: 'GET, HEAD' },
}

function plain(status: number, text: string): Answer {
  return { status, type: 'text/plain; charset=utf-8', cache: 'no-store', body: Buffer.from(`${text}\n`) }
}
