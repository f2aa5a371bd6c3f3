import type { Socket } from 'node:net'
import { onTestFinished, vi } from 'vitest'

import { systemClock, type Clock } from '../../src/clock.ts'
import type { Presence, PushedStop, StopAck } from '../../src/guard/stop-stream.ts'
import { OrgKey } from '../../src/machineid/org-key.ts'
import { OrgMemory } from '../../src/machineid/org-memory.ts'
import { openStopStream, type StopStreamTiming } from '../../src/machineid/stop-stream.ts'
import { Transport } from '../../src/machineid/transport.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import {
  httpAnswer,
  startRawServer,
  type RawHandler,
  type RawRequest,
  type RawServerOptions,
} from '../fixtures/raw-server.ts'
import { ORG_KEY } from './harness.ts'

export const SERVER = 'openai-agent:prod:tool-server:01'
export const PAYMENTS = 'openai-agent:prod:payments:01'
export const ORG = 'o_stream'

/** Everything some twenty times as fast as in production. */
const FAST: StopStreamTiming = {
  retryMinMs: 20,
  retryMaxMs: 80,
  openWithinMs: 250,
  stableMs: 10_000,
  presenceEveryMs: 10_000,
  presenceChangedMs: 10_000,
}

/** One event as it goes over the wire; `data` that is no object goes as it is. */
export function event(type: string, data: object | string): string {
  const text = typeof data === 'string' ? data : JSON.stringify({ type, ...data })
  return `event: ${type}\ndata: ${text}\n\n`
}

export const hello = (fields: object = {}) =>
  event('hello', { orgId: ORG, heartbeatMs: 60_000, keyKind: 'runtime', ...fields })
export const stop = (epoch: unknown, deviceIds: unknown = [PAYMENTS]) =>
  event('stop', { epoch, deviceIds, action: 'device.revoke' })
export const current = (epoch: number) => event('current', { epoch })

/** The head of a stream that ends with its connection. */
export function streamHead(headers: Readonly<Record<string, string>> = {}): string {
  const all = { 'content-type': 'text/event-stream', ...headers }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  return `HTTP/1.1 200 OK\r\n${lines.join('')}\r\n`
}

/** A stream that is open and has told everything up to `epoch`. */
export const opened = (epoch = 5, fields: object = {}) => streamHead() + hello(fields) + current(epoch)

export interface StreamPlan {
  /** What `GET /stops` gets, the nth time. Default: an open stream. */
  readonly stops?: (socket: Socket, n: number, request: RawRequest) => void
  /** What `POST /stops/ack` gets. Default: it is stored. */
  readonly ack?: (n: number) => Buffer
  /** What `POST /presence` gets. */
  readonly presence?: (n: number) => Buffer
  /** How long acknowledgements and presence wait for their answer. Default 0. */
  readonly delayMs?: number
  readonly timing?: Partial<StopStreamTiming>
  readonly key?: { readonly orgKey: string } | { readonly orgKeyFile: string }
  readonly orgId?: string
  readonly afterEpoch?: number
  readonly pathPrefix?: string
  readonly caPem?: string
  readonly deviceIds?: readonly string[]
  readonly busy?: () => Presence
  readonly clock?: Clock
  readonly server?: RawServerOptions
}

const OK = { status: 'ok', handler: 'test', request_id: 'req_1', orgId: ORG }
export const stored = () => httpAnswer(JSON.stringify({ ...OK, stored: 1 }))
const present = () => httpAnswer(JSON.stringify({ ...OK, keyKind: 'runtime' }))
const IDLE: Presence = {
  devices: [
    { deviceId: SERVER, inFlight: 1 },
    { deviceId: PAYMENTS, inFlight: 0 },
  ],
  timeoutMs: 2000,
  latencyMs: { p50: 1.5, p99: 9 },
}

/** A raw authority and an open stream to it; both are closed when the test ends. */
export async function streamTo(plan: StreamPlan = {}) {
  const handler: RawHandler = (request, socket) => {
    const path = request.path.split('?')[0]?.slice((plan.pathPrefix ?? '').length)
    const earlier = server.requests.filter((one) => one.path.split('?')[0] === request.path.split('?')[0])
    const n = earlier.length - 1
    if (path === PATHS.stops) (plan.stops ?? ((to) => to.write(opened())))(socket, n, request)
    else if (path === PATHS.stopsAck) later(() => socket.write((plan.ack ?? stored)(n)))
    else if (path === PATHS.presence) later(() => socket.write((plan.presence ?? present)(n)))
    else socket.destroy()
  }
  const later = (answer: () => void) =>
    plan.delayMs === undefined ? answer() : setTimeout(answer, plan.delayMs)
  const server = await startRawServer(handler, plan.server)
  const { clock = systemClock, caPem, pathPrefix = '', orgId = ORG, afterEpoch } = plan
  const network = { origin: server.url, caPem, connectTimeoutMs: 500, clock }
  const stops: PushedStop[] = []
  const stream = openStopStream(
    {
      ...network,
      transport: new Transport({ ...network, keepAlive: true }),
      key: new OrgKey(plan.key ?? { orgKey: ORG_KEY }, clock),
      pathPrefix,
      org: new OrgMemory(orgId),
      replica: `${SERVER}/0a1b2c3d`,
      timeoutMs: 500,
    },
    {
      deviceIds: plan.deviceIds ?? [SERVER, PAYMENTS],
      afterEpoch,
      onStop: (one) => void stops.push(one),
      presence: () => plan.busy?.() ?? IDLE,
    },
    { ...FAST, ...plan.timing },
  )
  onTestFinished(async () => {
    await stream.close({ leaving: true })
    await server.close()
  })
  const to = (path: string) => server.requests.filter((one) => one.path.startsWith(pathPrefix + path))
  return {
    stream,
    server,
    /** What the guard was told. */
    stops,
    connections: () => to(`${PATHS.stops}?`),
    acks: () => to(PATHS.stopsAck).flatMap(({ json }) => (json as { acks: StopAck[] }).acks),
    ackPosts: () => to(PATHS.stopsAck),
    presences: () => to(PATHS.presence).map(({ json }) => json as Record<string, unknown>),
    up: () =>
      vi.waitFor(() => must(stream.state.up, `not up: ${stream.state.code}`), { timeout: 3000, interval: 5 }),
    reaches: (fits: () => boolean) =>
      vi.waitFor(() => must(fits(), 'not yet'), { timeout: 3000, interval: 5 }),
  }
}

function must(fits: boolean, message: string): void {
  if (!fits) throw new Error(message)
}

export function ack(fields: Partial<StopAck> = {}): StopAck {
  return { epoch: 7, phase: 'received', running: 0, calls: [], ...fields }
}
