import type { Running } from './in-flight.ts'
import type { StopAck, StoppedCall, StoppedEnd } from './stop-stream.ts'

interface FoundCall {
  readonly parts: Set<Running>
  readonly found: Pick<StoppedCall, 'callId' | 'runId' | 'tool'>
  end: StoppedEnd | undefined
}

/** One pushed stop and the calls that it found in flight. A body and its effects are one call. */
export class StopRecord {
  readonly epoch: number
  /** Calls of which something still runs. */
  running = 0
  readonly #calls: FoundCall[] = []
  // Weak, so that a stop that is remembered keeps nothing alive of what has ended.
  readonly #found = new WeakSet<Running>()
  readonly #callOf = new WeakMap<Running, FoundCall>()

  constructor(epoch: number) {
    this.epoch = epoch
  }

  hasAll(hit: readonly Running[]): boolean {
    return hit.every((running) => this.#found.has(running))
  }

  add(hit: readonly Running[]): void {
    for (const running of hit) {
      if (this.#found.has(running)) continue
      this.#found.add(running)
      const call = this.#callOf.get(running.call) ?? this.#newCall(running)
      if (call.parts.size === 0) this.running += 1
      call.parts.add(running)
    }
  }

  #newCall({ call: running, under }: Running): FoundCall {
    const { callId, runId, tool } = under ?? {}
    const call: FoundCall = { parts: new Set(), found: { callId, runId, tool }, end: undefined }
    this.#callOf.set(running, call)
    this.#calls.push(call)
    return call
  }

  /** True when it was found by this stop. */
  ended(running: Running, end: StoppedEnd): boolean {
    const call = this.#callOf.get(running.call)
    if (call?.parts.delete(running) !== true) return false
    call.end = call.end === undefined ? end : graver(call.end, end)
    if (call.parts.size === 0) this.running -= 1
    return true
  }

  ack(phase: StopAck['phase']): StopAck {
    const calls: StoppedCall[] = []
    for (const { parts, found, end } of this.#calls) {
      if (parts.size === 0 && end !== undefined) calls.push({ ...found, end })
    }
    return { epoch: this.epoch, phase, running: this.running, calls }
  }
}

/** `aborted` is told only of a call of which nothing finished, and `finished` only where nothing is unknown. */
function graver(one: StoppedEnd, other: StoppedEnd): StoppedEnd {
  return GRAVITY.indexOf(one) > GRAVITY.indexOf(other) ? one : other
}

const GRAVITY: readonly StoppedEnd[] = ['aborted', 'finished', 'unknown']
