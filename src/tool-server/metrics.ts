import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'

import { LOCAL_DENIAL_CODES, type Decision } from '../guard/decision.ts'
import type { Guard, QuestionObserver } from '../guard/guard.ts'
import { AUTHORITY_DENIAL_CODES } from '../machineid/wire.ts'

/** The figures of one guard. They hold no device, tool or caller: those are unbounded, and not for everyone. */
export interface ToolServerMetrics {
  readonly contentType: string
  /** In the text format of Prometheus. */
  readonly text: () => Promise<string>
}

/** An authority may answer with codes of its own, as many as it likes. */
const KNOWN_CODES = new Set<string>(['ALLOW', ...LOCAL_DENIAL_CODES, ...AUTHORITY_DENIAL_CODES])
/** Around what a question takes over loopback (0.5 ms) and may take at most (3 s). */
const LATENCY_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3]

/** A registry of its own: two tool servers in one process do not share figures, but for those of the process. */
export function createToolServerMetrics(guard: Guard): ToolServerMetrics {
  const registers = [new Registry()]
  const decisions = new Counter({
    name: 'holdpoint_decisions_total',
    help: 'Questions at hold points that were decided.',
    labelNames: ['boundary', 'allowed', 'code'],
    registers,
  })
  const latency = new Histogram({
    name: 'holdpoint_authority_latency_seconds',
    help: 'From the boundary to the decision, of questions that were asked.',
    buckets: LATENCY_SECONDS,
    registers,
  })
  gauge('in_flight', 'Guarded bodies that run now.', () => guard.inFlight)
  gauge('unknown_outcomes', 'Effects of which nobody knows whether they happened.', () =>
    guard.journal.countUnknown(),
  )
  gauge('stop_stream_up', 'Whether stops are pushed here. Absent where the authority pushes none.', () => {
    const state = guard.stopStream
    return state === undefined ? undefined : Number(state.up)
  })
  guard.observe(
    observerOf((decision) => {
      const { boundary, allowed, code, latencyMs } = decision
      decisions.inc({ boundary, allowed: String(allowed), code: KNOWN_CODES.has(code) ? code : 'other' })
      if (code !== 'GUARD_OVERLOADED') latency.observe(latencyMs / 1000)
    }),
  )
  return {
    contentType: Registry.PROMETHEUS_CONTENT_TYPE,
    text: async () => `${await registers[0]?.metrics()}\n${await ofProcess().metrics()}`,
  }

  /** Without a sample when nobody can tell. */
  function gauge(name: string, help: string, value: () => number | undefined | Promise<number>): void {
    const made: Gauge = new Gauge({
      name: `holdpoint_${name}`,
      help,
      registers,
      collect: async () => {
        const now = await Promise.resolve()
          .then(value)
          .catch(() => undefined)
        if (now === undefined) made.remove()
        else made.set(now)
      },
    })
  }
}

/** A verdict never rejects. */
function observerOf(count: (decision: Decision) => void): QuestionObserver {
  return (_at, verdict) => void verdict.then(count)
}

let processRegistry: Registry | undefined

/** Memory, CPU, event loop and the like: measured once, however many servers there are. */
function ofProcess(): Registry {
  if (processRegistry !== undefined) return processRegistry
  processRegistry = new Registry()
  collectDefaultMetrics({ register: processRegistry })
  return processRegistry
}
