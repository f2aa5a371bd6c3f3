// Many replicas in one process: `stops-guards.ts JSON`. Each is a real guard on the real client, with a name and a
// stream of its own; they share their devices. Sends { up } once all streams are up; see GuardsApi for what it does.
import { request } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'

import { createGuard, type Guard } from '../../src/guard/guard.ts'
import { createMemoryJournal } from '../../src/guard/memory-journal.ts'
import { createLogger } from '../../src/log.ts'
import { MachineID } from '../../src/machineid/client.ts'
import { machineMs, serveRemote } from '../../demo/fleet/remote.ts'

export interface GuardsSettings {
  readonly url: string
  readonly key: string
  readonly serverDeviceId: string
  readonly surface: string
  /** How replicas are called: `name/0`, `name/1`, … */
  readonly name: string
  readonly count: number
  readonly timeoutMs?: number
}

/** One call of a steady rate. All in `machineMs`. */
export interface SteadyCall {
  readonly enteredMs: number
  /** Undefined: it never started. */
  readonly startedMs: number | undefined
  readonly code: string
}

export type GuardsApi = typeof api

const settings = JSON.parse(process.argv[2] ?? '{}') as GuardsSettings
const { url, key, serverDeviceId, surface, name, count, timeoutMs = 3000 } = settings
const STARTED_AT_ONCE = 10
const LOOK_EVERY_MS = 5

interface Body {
  readonly finish: () => void
  readonly ended: Promise<unknown>
  abortedMs: number | undefined
}

const log = createLogger({ level: 'silent' })
const guards: Guard[] = []
let bodies: Body[] = []
let steady: { calls: Promise<SteadyCall>[]; timer: NodeJS.Timeout } | undefined

async function startReplica(index: number): Promise<void> {
  const authority = new MachineID({ orgKey: key, baseUrl: url, replica: `${name}/${index}`, timeoutMs })
  const journal = createMemoryJournal()
  const guard = createGuard({ authority, serverDeviceId, surfaces: [surface], journal, log, timeoutMs })
  guards[index] = guard
  const started = await guard.start()
  if (!started.allowed) throw new Error(`${name}/${index} is not started: ${started.code}`)
}

/** A reading call, which goes on until it is aborted or told to finish. Resolves once its body runs. */
async function begin(guard: Guard, index: number): Promise<void> {
  const running = Promise.withResolvers<void>()
  const outcome = guard.call(
    { surface: guard.surface(surface), tool: 'read_ledger', callId: `read-${index}` },
    ({ signal }) => {
      const end = Promise.withResolvers<void>()
      const body: Body = { finish: end.resolve, ended: end.promise, abortedMs: undefined }
      signal.addEventListener('abort', () => {
        body.abortedMs = machineMs()
        end.reject(new Error('aborted'))
      })
      bodies.push(body)
      running.resolve()
      return end.promise
    },
  )
  void outcome.then((ended) => {
    if (!ended.ok) running.reject(new Error(`call ${index}: ${ended.refusal.code}`))
  })
  await running.promise
}

async function callOnce(guard: Guard): Promise<SteadyCall> {
  let startedMs: number | undefined
  const enteredMs = machineMs()
  const outcome = await guard.call({ surface: guard.surface(surface), tool: 'look' }, () => {
    startedMs = machineMs()
  })
  return { enteredMs, startedMs, code: outcome.ok ? 'ALLOW' : outcome.refusal.code }
}

async function inParts(part: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0
  const worker = async () => {
    while (next < count) await work(next++)
  }
  await Promise.all(Array.from({ length: part }, worker))
}

const upCount = () => guards.filter(({ stopStream }) => stopStream?.up === true).length

async function until(done: () => boolean, withinMs: number): Promise<boolean> {
  const endMs = performance.now() + withinMs
  while (!done()) {
    if (performance.now() > endMs) return false
    await delay(LOOK_EVERY_MS)
  }
  return true
}

/** When connections of the bare server got their event. */
const heard: number[] = []
let bareCount = 0

const api = {
  /** One body on each guard. How many run. */
  call: async () => {
    bodies = []
    await inParts(STARTED_AT_ONCE, async (index) => begin(guards[index] as Guard, index))
    return bodies.length
  },
  /** When each was aborted, once all are or that time has passed. */
  aborted: async (withinMs: number) => {
    await until(() => bodies.every(({ abortedMs }) => abortedMs !== undefined), withinMs)
    return bodies.flatMap(({ abortedMs }) => abortedMs ?? [])
  },
  running: () => guards.reduce((sum, { inFlight }) => sum + inFlight, 0),
  /** Lets them end by themselves. How many did. */
  finish: async () => {
    for (const body of bodies) body.finish()
    await Promise.allSettled(bodies.map(({ ended }) => ended))
    return bodies.filter(({ abortedMs }) => abortedMs === undefined).length
  },
  /** Short calls on one guard after the other. */
  steady: (everyMs: number) => {
    const calls: Promise<SteadyCall>[] = []
    let next = 0
    const timer = setInterval(() => {
      const guard = guards[next++ % guards.length]
      if (guard !== undefined) calls.push(callOnce(guard))
    }, everyMs)
    steady = { calls, timer }
  },
  /** Ends that. Each call since. */
  calls: async () => {
    clearInterval(steady?.timer)
    return Promise.all(steady?.calls ?? [])
  },
  up: upCount,
  /** Since when each stream is up, in milliseconds of the wall clock, once all are. */
  allUp: async (withinMs: number) => {
    if (!(await until(() => upCount() === count, withinMs)))
      throw new Error(`${upCount()} of ${count} are up`)
    return guards.map(({ stopStream }) => Date.parse(stopStream?.since ?? ''))
  },
  /** Opens as many plain streams of events. */
  bare: async (bareUrl: string) => {
    await inParts(STARTED_AT_ONCE, async () => {
      const opened = Promise.withResolvers<void>()
      request(bareUrl, { agent: false }, (response) => {
        let first = true
        response.setEncoding('utf8')
        response.on('data', () => {
          if (first) opened.resolve()
          else heard.push(machineMs())
          first = false
        })
      })
        .on('error', opened.reject)
        .end()
      await opened.promise
      bareCount += 1
    })
    return bareCount
  },
  heard: async (withinMs: number) => {
    await until(() => heard.length >= bareCount, withinMs)
    return heard.splice(0)
  },
  close: async () => {
    await Promise.all(guards.map((guard) => guard.close({ graceMs: 0 })))
  },
}

serveRemote(api)
await inParts(STARTED_AT_ONCE, startReplica)
if (!(await until(() => upCount() === count, 60_000)))
  throw new Error(`${upCount()} of ${count} streams are up`)
process.send?.({ up: count })
