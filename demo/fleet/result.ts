/** One thing that must be so, and what was seen. */
export interface Check {
  readonly check: string
  readonly ok: boolean
  readonly seen: string
  readonly tookMs: number
}

/** Milliseconds. */
export interface Times {
  readonly p50: number
  readonly max: number
}

/** One stop, from its ack to the ack of its restore, and how work came back. */
export interface StopResult {
  readonly action: 'device.revoke' | 'lock.add' | 'org.disable'
  /** The device, the pattern, or `*`. */
  readonly target: string
  readonly devices: number
  /** First hold points that it stops, and those that it does not. */
  readonly stopped: number
  readonly denied: number
  readonly goingOn: number
  readonly wentOn: number
  /** G1: starts of stopped work whose hold point was entered after the ack, by the clock that all processes share; and by the order of messages. Both must be 0. */
  readonly startsAfterAck: number
  readonly startsAfterTold: number
  /** G3: entered before the ack and started after it. */
  readonly inFlightAtAck: number
  readonly inFlightMs: number
  readonly ackMs: number
  readonly deniedAfterMs: Times
  readonly codes: Readonly<Record<string, number>>
  readonly requestId: string | undefined
  /** Questions without an answer in time, in all of it: denied all the same (G4). On a busy machine there are some. */
  readonly unanswered: number
  readonly observedMs: number
  /** Starts of what was not stopped: as long before the ack as after it. */
  readonly othersBefore: number
  readonly othersAfter: number
  readonly back: number
  readonly backAfterMs: Times
  readonly ok: boolean
}

export interface TopologyResult {
  readonly topology: string
  readonly about: string
  readonly plan: string
  readonly limit: number
  readonly replicas: number
  readonly processes: number
  readonly checks: readonly Check[]
  readonly stops: readonly StopResult[]
  readonly tookMs: number
  readonly ok: boolean
}

export function timesOf(all: readonly number[]): Times {
  const sorted = all.toSorted((a, b) => a - b)
  const round = (value = 0) => Math.round(value * 10) / 10
  return { p50: round(sorted[Math.floor(sorted.length / 2)]), max: round(sorted.at(-1)) }
}
