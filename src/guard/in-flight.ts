import type { Allowed } from './decision.ts'
import { forwardAborts } from './forward-aborts.ts'
import type { HoldPoint } from './guard.ts'
import type { StoppedEnd } from './stop-stream.ts'

/** One guarded body that is running. */
export interface Work {
  /** Aborted when, before the body has ended, the caller gives up, the guard shuts down, or a stop reaches it. */
  readonly signal: AbortSignal
}

/** The allow that a body runs under, and what it is. */
export interface Under {
  readonly deviceIds: readonly string[]
  /** Of the org when it was allowed. Absent with hosted MachineID. */
  readonly epoch: number | undefined
  readonly tool: string | undefined
  readonly callId: string | undefined
  readonly runId: string | undefined
}

/** What this allow lets begin. */
export function underOf({ tool, callId, runId }: HoldPoint, { deviceIds, epoch }: Allowed): Under {
  return { deviceIds, epoch, tool, callId, runId }
}

/** A body, or an effect of one, from its start to its end. */
export class Running implements Work {
  /** Undefined for what no allow of its own let begin, such as a whole run: no stop is about it. */
  readonly under: Under | undefined
  /** The body whose effect this is. */
  readonly within: Running | undefined
  readonly signal: AbortSignal
  readonly #controller = new AbortController()
  readonly #caller: AbortSignal | undefined
  #end: StoppedEnd | undefined
  #unlink: (() => void) | undefined

  constructor(under: Under | undefined, { caller, within }: RunningOptions = {}) {
    this.under = under
    this.within = within
    this.#caller = caller
    this.signal = this.#controller.signal
  }

  /** From now on the caller can abort it, until `ended`. */
  began(): void {
    this.#unlink = this.#caller && forwardAborts(this.#controller, [this.#caller])
  }

  ended(): void {
    this.#unlink?.()
  }

  /** The body and its effects are one call. */
  get call(): Running {
    return this.within ?? this
  }

  /** How it ends, for operators, where that it resolved or rejected does not say it. */
  ends(end: StoppedEnd): void {
    this.#end = end
  }

  /** What it said itself, else `derived`. */
  endOr(derived: StoppedEnd): StoppedEnd {
    return this.#end ?? derived
  }

  abort(reason: Error): void {
    this.#controller.abort(reason)
  }
}

interface RunningOptions {
  readonly caller?: AbortSignal | undefined
  readonly within?: Running
}

/** What runs right now, so that a shutdown or a stop can signal it and wait. */
export class InFlight {
  readonly #running = new Set<Running>()
  readonly #idle = new Set<() => void>()
  readonly #onEnd: (running: Running, end: StoppedEnd) => void
  #bodies = 0

  /** `onEnd` is told of each that has ended. */
  constructor(onEnd: (running: Running, end: StoppedEnd) => void = () => {}) {
    this.#onEnd = onEnd
  }

  /** Bodies. An effect belongs to one, which waits for it: at most until the effect's deadline. */
  get count(): number {
    return this.#bodies
  }

  /** Neither a body runs nor an effect, one that outlived its deadline included. */
  get isEmpty(): boolean {
    return this.#running.size === 0
  }

  /** Bodies and effects. */
  all(): Iterable<Running> {
    return this.#running
  }

  /** Runs `body` to its end, visible to `abortAll` meanwhile. `body` starts in this tick. */
  async track<T>(
    caller: AbortSignal | undefined,
    body: (work: Running) => T | Promise<T>,
    under?: Under,
  ): Promise<T> {
    const running = new Running(under, { caller })
    this.begin(running)
    let end: StoppedEnd = 'finished'
    try {
      return await body(running)
    } catch (thrown) {
      if (running.signal.aborted) end = 'aborted'
      throw thrown
    } finally {
      this.end(running, running.endOr(end))
    }
  }

  begin(running: Running): void {
    this.#running.add(running)
    running.began()
    if (running.within === undefined) this.#bodies += 1
  }

  /** Does nothing for what never began, or has ended. */
  end(running: Running, end: StoppedEnd): void {
    if (!this.#running.delete(running)) return
    running.ended()
    this.#onEnd(running, end)
    if (running.within !== undefined) return
    this.#bodies -= 1
    if (this.#bodies === 0) this.#idle.forEach((resolve) => resolve())
  }

  abortAll(reason: Error): void {
    for (const running of this.#running) running.abort(reason)
  }

  /** True when every body has ended within `withinMs`, false when one still runs then. */
  async idle(withinMs: number): Promise<boolean> {
    if (this.#bodies === 0) return true
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#idle.add(resolve)
    const timer = setTimeout(resolve, withinMs)
    await promise
    clearTimeout(timer)
    this.#idle.delete(resolve)
    return this.#bodies === 0
  }
}
