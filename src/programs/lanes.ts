import { createServer } from 'node:http'
import { extname, join } from 'node:path'
import { Worker } from 'node:worker_threads'

import type { ControlPlane } from '../control-plane/control-plane.ts'
import { HoldpointError } from '../errors.ts'
import { closeServer, listen, type ListenAddress, type Listening } from '../http.ts'
import type { DecisionSource, ThreadSource } from '../store/decision-source.ts'
import type { FromLane, LaneSettings, LaneTells, ToLane } from './lane-messages.ts'
import { createLaneReplicas, type LaneReplicas } from './lane-replicas.ts'
import { keepWasmCodeUnshared } from './thread-wasm.ts'

export interface LanesOptions {
  /** How many threads. More than one share the port, which takes Linux. */
  readonly workers: number
  /** Of all lanes together. */
  readonly settings: SharedSettings
  readonly controlPlane: Pick<ControlPlane, 'accept' | 'metrics' | 'observe' | 'suspect'>
  /** Gets one for each lane, before it listens. */
  readonly tells: LaneTells
  /** Told when a thread ends without being asked to: end the process, its answers are missing. */
  readonly onDied: (error: unknown) => void
}

type SharedSettings = Omit<LaneSettings, 'name' | 'source'> & { readonly source: DecisionSource }

export interface Lanes extends Listening {
  /** Accepts nothing new, finishes the answers in progress, stores what was decided. Fine to call twice. */
  close(options?: { readonly graceMs?: number }): Promise<void>
}

const STUCK_AFTER_MS = 10_000

/** Starts the agent lanes, each in a thread of its own, and waits until they listen. */
export async function startLanes(options: LanesOptions): Promise<Lanes> {
  const { workers, settings } = options
  if (workers > 1 && process.platform !== 'linux') throw notOnThisPlatform(workers)
  if (workers > 1) await assertFree(settings.address)
  const own = share(settings, workers)
  const replicas = createLaneReplicas<LaneTell>()
  keepWasmCodeUnshared()
  const first = startLane(options, { ...own, name: 'agent-1' }, replicas)
  const lanes = [first]
  const close = async (graceMs: number | undefined) => {
    await Promise.all(lanes.map((lane) => lane.close(graceMs)))
  }
  try {
    const listening = await first.listening
    const address = { ...own.address, port: listening.port }
    for (let number = 2; number <= workers; number++) {
      lanes.push(startLane(options, { ...own, address, name: `agent-${number}` }, replicas))
    }
    await Promise.all(lanes.map((lane) => lane.listening))
    return { ...listening, host: address.host, close: ({ graceMs } = {}) => close(graceMs) }
  } catch (error) {
    await close(0)
    throw error
  }
}

/** A port that is shared could be shared with another program too, which would then answer a part of the questions. */
async function assertFree(address: ListenAddress): Promise<void> {
  const probe = createServer()
  await listen(probe, address)
  await closeServer(probe)
}

/** What is limited for all of them is limited for each to its part. */
function share(settings: SharedSettings, workers: number): SharedSettings {
  const { limits, maxConnections, address } = settings
  const part = (whole: number) => Math.ceil(whole / workers)
  return {
    ...settings,
    address: workers === 1 ? address : { ...address, reusePort: true },
    maxConnections: maxConnections === undefined ? undefined : part(maxConnections),
    limits: limits && {
      perKeyPerSecond: part(limits.perKeyPerSecond),
      perOrgPerSecond: part(limits.perOrgPerSecond),
    },
  }
}

type LaneTell = (message: ToLane) => void

function startLane(
  { controlPlane, onDied, tells }: LanesOptions,
  settings: SharedSettings & { readonly name: string },
  replicas: LaneReplicas<LaneTell>,
) {
  const { source } = settings
  const knowledge = source.kind === 'postgres' ? source.knowledge : undefined
  const worker = new Worker(join(import.meta.dirname, `validate-worker${extname(import.meta.filename)}`), {
    workerData: { ...settings, source: sourceForThread(source) } satisfies LaneSettings,
    name: settings.name,
  })
  const tell: LaneTell = (message) => worker.postMessage(message)
  tells.add(tell)
  // From the same tick on: nothing that is learned is missed.
  knowledge?.onLearned((learned) => tell({ kind: 'learned', learned }))
  const listening = Promise.withResolvers<{ readonly url: string; readonly port: number }>()
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()))
  let closing = false
  let failed = false

  const hear: { [K in FromLane['kind']]: (message: Extract<FromLane, { kind: K }>) => void } = {
    listening: ({ url, port }) => listening.resolve({ url, port }),
    failed: ({ code, message }) => {
      failed = true
      listening.reject(new HoldpointError(code, message))
    },
    batch: ({ id, batch }) => void controlPlane.accept(batch).then(() => tell({ kind: 'stored', id })),
    evidence: ({ evidence }) => {
      const taken = replicas.take(tell, evidence)
      controlPlane.observe(taken.evidence)
      for (const { lane, by } of taken.superseded) lane({ kind: 'superseded', by })
    },
    report: ({ report }) => controlPlane.metrics.report(report),
    suspect: ({ code, message }) => controlPlane.suspect(new HoldpointError(code, message)),
    unknown: () => knowledge?.lookAnew(),
  }
  worker.on('message', (message: FromLane) => hear[message.kind](message as never))
  worker.on('error', (error) => {
    failed = true
    listening.reject(error)
    onDied(error)
  })
  worker.on('exit', (status) => {
    if (closing || failed) return
    const error = new HoldpointError('LANE_DIED', `The thread of ${settings.name} ended with ${status}.`)
    listening.reject(error)
    onDied(error)
  })
  return {
    listening: listening.promise,
    close: async (graceMs: number | undefined) => {
      if (!closing) tell({ kind: 'close', graceMs })
      closing = true
      // A thread that is stuck hears nothing.
      const cut = setTimeout(() => void worker.terminate(), (graceMs ?? 0) + STUCK_AFTER_MS)
      await ended
      clearTimeout(cut)
    },
  }
}

/** As it is now: the thread is told what is learned later. */
function sourceForThread(source: DecisionSource): ThreadSource {
  if (source.kind === 'sqlite') return source
  const { knowledge, ...database } = source
  return { ...database, learned: knowledge.learned() }
}

function notOnThisPlatform(workers: number): HoldpointError {
  return new HoldpointError(
    'CONFIG_INVALID',
    `VALIDATE_WORKERS=${workers}: threads share a port only on Linux, and this is ${process.platform}. Set VALIDATE_WORKERS=1.`,
  )
}
