import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Pool } from 'undici'

import { PATHS } from '../../src/machineid/paths.ts'
import type { KeyKind } from '../../src/machineid/wire.ts'
import type { ReplicaBody, StopBody } from '../../src/machineid/wire-stops.ts'
import { end, start, type Forked } from '../bench/processes.ts'
import type { StopsServerOptions } from '../bench/stops-control-plane.ts'
import type { GuardsApi, GuardsSettings } from '../bench/stops-guards.ts'
import { machineMs, remoteOf, type Remote } from '../../demo/fleet/remote.ts'

export const SERVER = 'openai-agent:bench:tool-server:01'
const SURFACE = 'payments'
export const PAYMENTS = 'openai-agent:bench:payments:01'

interface Ready {
  readonly url: string
  readonly operatorUrl: string
  readonly orgId: string
  readonly keys: Record<KeyKind, string>
  readonly port: number
}

/** A stop, or what undoes it, as its operator sees it. In `machineMs`. */
export interface Acked {
  readonly sentMs: number
  /** When the 2xx was there. */
  readonly ackMs: number
  readonly epoch: number
  readonly body: Record<string, unknown>
}

/** Processes beside this one: a control plane, which can be killed and started anew, and its operator here. */
export interface StopsWorld extends AsyncDisposable {
  readonly url: string
  readonly orgId: string
  readonly keys: Record<KeyKind, string>
  readonly pid: () => number
  /** Throws unless it is a 200. */
  readonly operate: (path: string, body: object, key?: KeyKind) => Promise<Acked>
  readonly revoke: (deviceId: string) => Promise<Acked>
  readonly restore: (deviceId: string) => Promise<Acked>
  /** What becomes of one question, and how long it takes. */
  readonly validate: (deviceId: string) => Promise<{ readonly code: string; readonly ms: number }>
  readonly stopOf: (epoch: number) => Promise<StopBody>
  readonly replicas: () => Promise<ReplicaBody[]>
  /** kill -9. */
  readonly kill: () => Promise<void>
  /** On the same file and port. */
  readonly startAnew: () => Promise<void>
}

export async function startStopsWorld(options: Omit<StopsServerOptions, 'dir'> = {}): Promise<StopsWorld> {
  const dir = await mkdtemp(join(tmpdir(), 'holdpoint-stops-'))
  const open = (more: object) =>
    start<Ready>('stops-control-plane.ts', [JSON.stringify({ ...options, ...more, dir })])
  let server = await open({})
  const { url, orgId, keys, port } = server.ready
  const poolsOf = (ready: Ready) => ({
    operator: new Pool(ready.operatorUrl, { connections: 4 }),
    agent: new Pool(url, { connections: 4 }),
  })
  let pools = poolsOf(server.ready)
  const ask = async (pool: Pool, method: 'GET' | 'POST', path: string, kind: KeyKind, body?: object) => {
    const sentMs = machineMs()
    const answer = await pool.request({
      method,
      path,
      headers: { 'x-org-key': keys[kind], ...(body && { 'content-type': 'application/json' }) },
      ...(body && { body: JSON.stringify(body) }),
    })
    const ackMs = machineMs()
    const read = (await answer.body.json()) as Record<string, unknown>
    if (answer.statusCode !== 200) throw new Error(`${path}: ${answer.statusCode} ${JSON.stringify(read)}`)
    return { sentMs, ackMs, epoch: Number(read['epoch']), body: read }
  }
  const operate = (path: string, body: object, kind: KeyKind = 'full') =>
    ask(pools.operator, 'POST', path, kind, body)
  const closePools = () => Promise.all([pools.operator.destroy(), pools.agent.destroy()])

  return {
    url,
    orgId,
    keys,
    pid: () => server.process.pid ?? 0,
    operate,
    revoke: (deviceId) => operate(PATHS.revoke, { deviceId, reason: 'proof' }, 'stop'),
    restore: (deviceId) => operate(PATHS.unrevoke, { deviceId, reason: 'proof' }),
    validate: async (deviceId) => {
      const { sentMs, ackMs, body } = await ask(pools.agent, 'POST', PATHS.validate, 'runtime', { deviceId })
      return { code: String(body['code']), ms: ackMs - sentMs }
    },
    stopOf: async (epoch) => {
      const { body } = await ask(pools.operator, 'GET', `${PATHS.stopHistory}?epoch=${epoch}`, 'viewer')
      const [stop] = body['stops'] as StopBody[]
      if (stop === undefined) throw new Error(`There is no stop ${epoch}.`)
      return stop
    },
    replicas: async () => {
      const { body } = await ask(pools.operator, 'GET', PATHS.replicas, 'viewer')
      return body['replicas'] as ReplicaBody[]
    },
    kill: () => killProcess(server),
    startAnew: async () => {
      await closePools()
      server = await open({ port })
      pools = poolsOf(server.ready)
    },
    [Symbol.asyncDispose]: async () => {
      await closePools()
      if (server.process.exitCode === null && server.process.signalCode === null) await end(server)
      await rm(dir, { recursive: true, force: true })
    },
  }
}

export interface Fleet extends AsyncDisposable {
  readonly child: Forked<unknown>
  readonly ask: Remote<GuardsApi>
}

/** One process of replicas that share SERVER and the surface PAYMENTS. All streams are up. */
export async function startFleet(
  { url, keys }: Pick<StopsWorld, 'url' | 'keys'>,
  settings: Pick<GuardsSettings, 'name' | 'count'> & Partial<GuardsSettings>,
): Promise<Fleet> {
  const all: GuardsSettings = {
    url,
    key: keys.runtime,
    serverDeviceId: SERVER,
    surface: SURFACE,
    ...settings,
  }
  const child = await start('stops-guards.ts', [JSON.stringify(all)])
  return {
    child,
    ask: remoteOf<GuardsApi>(child.process),
    [Symbol.asyncDispose]: async () => {
      const { process: it } = child
      if (it.exitCode !== null || it.signalCode !== null) return
      // What stands still hears nothing.
      it.kill('SIGCONT')
      await end(child)
    },
  }
}

export async function killProcess({ process: child }: Forked<unknown>): Promise<void> {
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await ended
}

/** Resident memory of a process, in MiB. Linux. */
export async function residentMb(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024
}

/** The first answer that fits, or the last one when the time is up. */
export async function eventually<T>(
  look: () => Promise<T> | T,
  fits: (seen: T) => boolean,
  withinMs = 10_000,
): Promise<T> {
  const endMs = performance.now() + withinMs
  for (;;) {
    const seen = await look()
    if (fits(seen) || performance.now() > endMs) return seen
    await delay(20)
  }
}
