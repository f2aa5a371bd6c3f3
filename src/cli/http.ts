import { Agent, request, type Dispatcher } from 'undici'

import { messageOf } from '../errors.ts'
import { isLoopback } from '../loopback.ts'
import { whatToTry } from '../unreachable.ts'
import { EXIT } from './cli.ts'
import { CliError } from './cli-error.ts'

export interface HttpOptions {
  /** Certificates (PEM) to trust instead of the well-known ones. */
  readonly caPem: string | readonly string[] | undefined
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal
}

/** One server that commands talk to. */
export interface Peer {
  /** `The control plane`. */
  readonly name: string
  readonly url: string
  /** With the key or token. */
  readonly headers: Readonly<Record<string, string>>
}

export interface HttpAnswer {
  readonly status: number
  readonly body: unknown
}

export interface Asked {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Default 10 s. */
  readonly timeoutMs?: number | undefined
  readonly signal?: AbortSignal | undefined
  /** Goes on after Ctrl-C: what was stopped for a while must be restored. Default false. */
  readonly outlivesInterrupt?: boolean | undefined
}

/** Follows no redirect and no proxy variable, verifies TLS, and opens nothing before the first request. */
export interface Http {
  /** Throws `CliError` when there is no answer, or none that is JSON. */
  json(peer: Peer, asked: Asked): Promise<HttpAnswer>
  /** An answer that goes on: only its beginning has a time budget. */
  stream(peer: Peer, asked: Asked): Promise<{ readonly status: number; readonly body: AsyncIterable<Buffer> }>
  close(): Promise<void>
}

const BUDGET_MS = 10_000
const MAX_ANSWER_BYTES = 64 * 1024 * 1024

export function createHttp({ caPem, signal }: HttpOptions): Http {
  const agent = new Agent({
    // Said here, so that no environment variable can say otherwise.
    connect: {
      rejectUnauthorized: true,
      ...(caPem === undefined ? {} : { ca: typeof caPem === 'string' ? caPem : [...caPem] }),
    },
    headersTimeout: 0,
    bodyTimeout: 0,
  })
  const send = async (peer: Peer, asked: Asked, within: AbortSignal): Promise<Dispatcher.ResponseData> => {
    checkUrl(peer)
    const { method, path, body, headers } = asked
    return request(peer.url + path, {
      method,
      dispatcher: agent,
      signal: within,
      headers: {
        accept: 'application/json',
        ...peer.headers,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      body: body === undefined ? null : JSON.stringify(body),
    })
  }
  return {
    json: async (peer, asked) => {
      const timeoutMs = asked.timeoutMs ?? BUDGET_MS
      const timeout = AbortSignal.timeout(timeoutMs)
      const isInterruptible = asked.outlivesInterrupt !== true
      const within = AbortSignal.any([
        timeout,
        ...(isInterruptible ? [signal] : []),
        ...(asked.signal === undefined ? [] : [asked.signal]),
      ])
      try {
        const { statusCode, body } = await send(peer, asked, within)
        return { status: statusCode, body: parsed(await textOf(body), { peer, status: statusCode }) }
      } catch (error) {
        throw failure(error, { peer, timeoutMs, isInterrupted: isInterruptible && signal.aborted })
      }
    },
    stream: async (peer, asked) => {
      const opening = new AbortController()
      const timer = setTimeout(() => opening.abort(timedOut()), BUDGET_MS)
      const within = AbortSignal.any([
        signal,
        opening.signal,
        ...(asked.signal === undefined ? [] : [asked.signal]),
      ])
      try {
        const { statusCode, body } = await send(peer, asked, within)
        return { status: statusCode, body }
      } catch (error) {
        throw failure(error, { peer, timeoutMs: BUDGET_MS, isInterrupted: signal.aborted })
      } finally {
        clearTimeout(timer)
      }
    },
    close: () => agent.destroy(),
  }
}

/** Anyone between could read the key on its way over plain http. */
function checkUrl({ name, url }: Peer): void {
  const { protocol, hostname } = new URL(url)
  if (protocol === 'https:' || isLoopback(hostname)) return
  throw new CliError(
    'PLAIN_HTTP',
    `${name} at ${url} is plain http to another machine: anyone between could read the key. Use https.`,
    EXIT.usage,
  )
}

async function textOf(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of body) {
    bytes += chunk.length
    if (bytes > MAX_ANSWER_BYTES) throw new CliError('ANSWER_TOO_LARGE', 'The answer is too large to be one.')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function parsed(text: string, { peer, status }: { readonly peer: Peer; readonly status: number }): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    throw new CliError(
      'ANSWER_UNREADABLE',
      `What answers at ${peer.url} (status ${status}) is not ${lower(peer.name)}. Check the address.`,
    )
  }
}

function timedOut(): Error {
  return new DOMException('No answer came.', 'TimeoutError')
}

function failure(
  error: unknown,
  about: { readonly peer: Peer; readonly timeoutMs: number; readonly isInterrupted: boolean },
): CliError {
  const { peer, timeoutMs, isInterrupted } = about
  if (error instanceof CliError) return error
  if (isInterrupted) return new CliError('INTERRUPTED', 'Interrupted.', EXIT.interrupted, { cause: error })
  const { name, url } = peer
  if (error instanceof Error && error.name === 'TimeoutError') {
    return new CliError(
      'UNREACHABLE',
      `${name} at ${url} gave no answer within ${timeoutMs / 1000} s. Is it overloaded, or the network slow? Repeat it.`,
      EXIT.error,
      { cause: error },
    )
  }
  const code = codeOf(error)
  if (TLS_CODE.test(code)) {
    return new CliError(
      'TLS',
      `${name} at ${url} could not prove who it is (${code}). With a private CA set MACHINEID_CA_FILE.`,
      EXIT.error,
      { cause: error },
    )
  }
  return new CliError(
    'UNREACHABLE',
    `${name} is not reachable at ${url} (${code}). ${whatToTry(url)}`,
    EXIT.error,
    { cause: error },
  )
}

const TLS_CODE =
  /^(?:ERR_SSL_|ERR_TLS_|EPROTO$|CERT_|CRL_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|HOSTNAME_MISMATCH|INVALID_CA)/

function codeOf(error: unknown): string {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code
  return messageOf(error)
}

export function lower(name: string): string {
  return name.charAt(0).toLowerCase() + name.slice(1)
}
