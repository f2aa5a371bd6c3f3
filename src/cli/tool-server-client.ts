import { z } from 'zod'

import { redact } from '../redact.ts'
import {
  CanaryResponse,
  InspectResponse,
  TOOL_SERVER_PATHS,
  type CanaryBody,
  type CanaryRequest,
  type InspectBody,
} from '../tool-server-wire.ts'
import { EXIT } from './cli.ts'
import { CliError } from './cli-error.ts'
import { lower, type Http, type HttpAnswer, type Peer } from './http.ts'

export interface RequestOptions {
  readonly signal?: AbortSignal | undefined
  /** Default 10 s. */
  readonly timeoutMs?: number | undefined
}

/** One tool server, as the approver's token sees it. What goes wrong is a `CliError` with the next step. */
export interface ToolServerClient {
  readonly url: string
  inspect(): Promise<InspectBody>
  /** Ends when its body has: `signal` gives up waiting. */
  canary(surface: string, body: z.input<typeof CanaryRequest>, signal: AbortSignal): Promise<CanaryBody>
  /** With status 503 too. */
  readyz(): Promise<unknown>
  /** Throws on every status that is not 2xx: status 3 for 401 and 403, else 1. */
  request(method: 'GET' | 'POST', path: string, body?: unknown, options?: RequestOptions): Promise<unknown>
}

const CANARY_SPARE_MS = 10_000

export function createToolServerClient(http: Http, url: string, token: string | undefined): ToolServerClient {
  const peer: Peer = {
    name: 'The tool server',
    url,
    headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
  }
  const request: ToolServerClient['request'] = async (method, path, body, options = {}) => {
    const answer = await http.json(peer, { method, path, body, ...options })
    if (answer.status < 200 || answer.status > 299) throw refusal(peer, answer)
    return answer.body
  }
  return {
    url,
    request,
    inspect: async () => read(peer, InspectResponse, await request('GET', TOOL_SERVER_PATHS.inspect)),
    canary: async (surface, body, signal) => {
      const path = TOOL_SERVER_PATHS.canary.replace(':surface', encodeURIComponent(surface))
      const options = { signal, timeoutMs: body.holdMs + CANARY_SPARE_MS }
      return read(peer, CanaryResponse, await request('POST', path, body, options))
    },
    readyz: async () => (await http.json(peer, { method: 'GET', path: TOOL_SERVER_PATHS.readyz })).body,
  }
}

const Refused = z.looseObject({
  code: z.string(),
  message: z.string(),
  issues: z.array(z.string()).optional(),
  /** With a denial of the authority, whose message is written for models. */
  device_id: z.string().optional(),
  boundary: z.string().optional(),
  request_id: z.string().optional(),
})

function refusal({ name, url }: Peer, { status, body }: HttpAnswer): CliError {
  const parsed = Refused.safeParse(body)
  if (!parsed.success) {
    return new CliError(
      'ANSWER_UNREADABLE',
      `${name} at ${url} answered with status ${status}. Look at its log.`,
    )
  }
  const { code, message, issues = [] } = parsed.data
  const { device_id: deviceId, boundary, request_id: requestId } = parsed.data
  const said =
    deviceId === undefined || boundary === undefined
      ? message
      : `${deviceId} was denied at ${boundary}: ${code}. Why, and what restores it: holdpoint explain ${requestId}`
  const text = redact([said, ...issues].join('\n'))
  if (code === 'CALLER_UNAUTHENTICATED') {
    return new CliError(
      code,
      `${name} at ${url} does not know this token. Set HOLDPOINT_TOKEN to that of a caller with the scopes ` +
        'runs:approve and runs:resume, or DATA_DIR to where operator.json is.',
      EXIT.denied,
    )
  }
  return new CliError(code, text, status === 401 || status === 403 ? EXIT.denied : EXIT.error)
}

function read<T>({ name, url }: Peer, schema: z.ZodType<T>, body: unknown): T {
  const parsed = schema.safeParse(body)
  if (parsed.success) return parsed.data
  throw new CliError(
    'ANSWER_UNREADABLE',
    `${name} at ${url} answered something that this version does not know. Compare its version with that of ${lower('holdpoint')}.`,
    EXIT.error,
    { cause: parsed.error },
  )
}
