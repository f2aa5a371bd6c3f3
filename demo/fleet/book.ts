import type { HoldPoint } from '../../src/guard/guard.ts'
import type { Guard } from 'holdpoint'
import { isUnavailable } from '../../src/guard/decision.ts'
import { matchesDevicePattern } from '../../src/device-patterns.ts'
import { machineMs } from './remote.ts'

// Exact bookkeeping: when each hold point was entered, when the body behind it started, and what was denied. All in
// `machineMs` of the process in which it happens.

const REMEMBERED_MS = 40_000

interface Start {
  /** When the hold point that let it start was entered; that of the start itself where none was. */
  readonly enteredMs: number
  readonly startedMs: number
}
interface Denial {
  readonly atMs: number
  readonly code: string
  readonly deviceId: string
  readonly requestId: string
}

/** One hold point of one lane, asked again and again for the same devices. */
interface Track {
  readonly replica: string
  readonly lane: string
  readonly deviceIds: readonly string[]
  /** Its first hold point: what comes behind it is only asked when it was allowed. */
  readonly isEntry: boolean
  readonly starts: Start[]
  readonly denials: Denial[]
  /** False once its replica has left. */
  works: boolean
}

/** What one lane writes down. */
export interface LaneBook {
  /** Says that the first hold point of a unit may ask for these devices. */
  readonly entersAt: (deviceIds: readonly string[]) => void
  /** To be called first thing in each body. */
  readonly started: (boundary: HoldPoint['boundary'], deeper?: Deeper) => void
}

/** A hold point within a unit that has started. */
interface Deeper {
  readonly within: true
  /** The name of one of several parts. */
  readonly part?: string
}

export interface ReplicaBook {
  readonly watch: (guard: Guard) => void
  readonly lane: (name: string) => LaneBook
  /** It leaves: nothing is expected of it any more. What it starts nevertheless still counts. */
  readonly leaves: () => void
}

export interface Question {
  /** Devices that are stopped. */
  readonly pattern: string
  /** The ack of the stop, or of its restore. */
  readonly sinceMs: number
  /** What started from then on does not count. Default: all counts. */
  readonly untilMs?: number
}

/** What became of one part of the fleet since then. */
export interface Seen {
  /** First hold points: those that work, those that a stop denied since, those entered since and started. */
  readonly entries: number
  readonly denied: number
  readonly started: number
  /** Starts of hold points entered since, however deep; and of those entered in a span as long before. */
  readonly starts: number
  readonly startsBefore: number
  /** G3: entered before, started since. The last so many milliseconds later. */
  readonly inFlight: number
  readonly inFlightMs: number
  /** Of hold points entered after this process was told. */
  readonly startsSinceTold: number
  /** Milliseconds until the next denial of each entry, and until its next start. */
  readonly deniedAfterMs: readonly number[]
  readonly startedAfterMs: readonly number[]
  readonly codes: Readonly<Record<string, number>>
  /** Denied because there was no answer in time (G4), which says nothing about a stop. */
  readonly unanswered: number
  /** Of one denial, for `explain`. */
  readonly requestId: string | undefined
}

export type Book = ReturnType<typeof createBook>

export function createBook() {
  const tracks: Track[] = []
  let toldMs = Infinity

  const replica = (name: string): ReplicaBook => {
    const own: Track[] = []
    const entered = new Map<string, { readonly atMs: number; readonly deviceIds: readonly string[] }>()
    const track = (lane: string, deviceIds: readonly string[], isEntry: boolean): Track => {
      const known = own.find(
        (one) => one.lane === lane && one.isEntry === isEntry && isSame(one.deviceIds, deviceIds),
      )
      if (known !== undefined) return known
      const made = { replica: name, lane, deviceIds, isEntry, starts: [], denials: [], works: true }
      own.push(made)
      tracks.push(made)
      return made
    }
    return {
      watch: (guard) => {
        guard.observe(({ boundary, tool = '', surface: { deviceIds } }) => {
          entered.set(`${boundary} ${tool}`, { atMs: machineMs(), deviceIds })
        })
        guard.subscribe((event) => {
          if (event.kind !== 'decision' || event.decision.allowed) return
          const { code, deviceId, requestId } = event.decision
          const denial = { atMs: machineMs(), code, deviceId, requestId }
          for (const one of own) {
            if (one.isEntry && isOf(one.lane, event.at) && one.deviceIds.includes(deviceId))
              one.denials.push(denial)
          }
        })
      },
      lane: (lane) => ({
        entersAt: (deviceIds) => void track(lane, deviceIds, true),
        started: (boundary, deeper) => {
          const startedMs = machineMs()
          const key = `${boundary} ${deeper?.part ?? lane}`
          const at = entered.get(key)
          // One entry lets one body start: what starts without is entered now.
          entered.delete(key)
          const deviceIds = at?.deviceIds ?? own.find((one) => one.lane === lane)?.deviceIds ?? []
          const { starts } = track(lane, deviceIds, deeper === undefined)
          starts.push({ enteredMs: at?.atMs ?? startedMs, startedMs })
        },
      }),
      leaves: () => {
        for (const one of own) one.works = false
      },
    }
  }

  const look = ({ pattern, ...span }: Question): { readonly hit: Seen; readonly others: Seen } => {
    const isHit = ({ deviceIds }: Track) => deviceIds.some((id) => matchesDevicePattern(pattern, id))
    const others = tracks.filter((one) => !isHit(one))
    return { hit: seenOf(tracks.filter(isHit), span, toldMs), others: seenOf(others, span, toldMs) }
  }
  const told = () => {
    toldMs = machineMs()
    for (const { starts, denials } of tracks) {
      forget(starts, ({ startedMs }) => startedMs > toldMs - REMEMBERED_MS)
      forget(denials, ({ atMs }) => atMs > toldMs - REMEMBERED_MS)
    }
  }
  return {
    replica,
    look,
    /** A stop was acked: what is entered from now on must not start. */
    told,
  }
}

/** Parts are named after their lane; an agent's tools are lanes of their own behind its model calls. */
function isOf(lane: string, { tool, runId }: HoldPoint): boolean {
  return tool === lane || (tool === undefined && runId !== undefined)
}

function isSame(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((id, at) => id === other[at])
}

function isStop({ code }: Denial): boolean {
  return !isUnavailable(code)
}

/** What is older is of no stop that is watched. In order of time. */
function forget<T>(all: T[], isNew: (one: T) => boolean): void {
  const first = all.findIndex(isNew)
  all.splice(0, first === -1 ? all.length : first)
}

function seenOf(
  tracks: readonly Track[],
  { sinceMs, untilMs = Infinity }: Omit<Question, 'pattern'>,
  toldMs: number,
): Seen {
  const spanMs = machineMs() - sinceMs
  const starts = tracks.flatMap((one) => one.starts).filter(({ startedMs }) => startedMs < untilMs)
  const since = starts.filter(({ enteredMs }) => enteredMs > sinceMs)
  const inFlight = starts.filter(({ enteredMs, startedMs }) => enteredMs <= sinceMs && startedMs > sinceMs)
  const entries = tracks.filter(({ isEntry, works }) => isEntry && works)
  const allDenials = entries.flatMap((one) => one.denials.filter(({ atMs }) => atMs > sinceMs))
  const denials = entries.flatMap(
    (one) => one.denials.find((denial) => denial.atMs > sinceMs && isStop(denial)) ?? [],
  )
  const firstStarts = entries.flatMap((one) => one.starts.find(({ enteredMs }) => enteredMs > sinceMs) ?? [])
  const codes: Record<string, number> = {}
  for (const { code } of denials) codes[code] = (codes[code] ?? 0) + 1
  return {
    entries: entries.length,
    denied: denials.length,
    started: firstStarts.length,
    starts: since.length,
    startsBefore: starts.filter(({ enteredMs }) => enteredMs > sinceMs - spanMs && enteredMs <= sinceMs)
      .length,
    inFlight: inFlight.length,
    inFlightMs: Math.max(0, ...inFlight.map(({ startedMs }) => startedMs - sinceMs)),
    startsSinceTold: starts.filter(({ enteredMs }) => enteredMs > toldMs).length,
    deniedAfterMs: denials.map(({ atMs }) => atMs - sinceMs),
    startedAfterMs: firstStarts.map(({ startedMs }) => startedMs - sinceMs),
    codes,
    unanswered: allDenials.filter((denial) => !isStop(denial)).length,
    requestId: denials[0]?.requestId,
  }
}
