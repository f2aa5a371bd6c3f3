/** One guarded body that is running. */
export interface Work {
  /** Aborted when the caller gives up, when the guard shuts down, or when a stop reaches it. */
  readonly signal: AbortSignal
}

/** The bodies that run right now, so that a shutdown can signal them and wait. */
export class InFlight {
  readonly #running = new Map<object, AbortController>()
  readonly #idle = new Set<() => void>()

  get count(): number {
    return this.#running.size
  }

  /** Runs `body` to its end, visible to `abortAll` meanwhile. `body` starts in this tick. */
  async track<T>(caller: AbortSignal | undefined, body: (work: Work) => T | Promise<T>): Promise<T> {
    const controller = new AbortController()
    const signal = caller === undefined ? controller.signal : AbortSignal.any([caller, controller.signal])
    const entry = {}
    this.#running.set(entry, controller)
    try {
      return await body({ signal })
    } finally {
      this.#running.delete(entry)
      if (this.#running.size === 0) this.#idle.forEach((resolve) => resolve())
    }
  }

  abortAll(reason: Error): void {
    for (const controller of this.#running.values()) controller.abort(reason)
  }

  /** True when everything has ended within `withinMs`, false when something still runs then. */
  async idle(withinMs: number): Promise<boolean> {
    if (this.#running.size === 0) return true
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#idle.add(resolve)
    const timer = setTimeout(resolve, withinMs)
    await promise
    clearTimeout(timer)
    this.#idle.delete(resolve)
    return this.#running.size === 0
  }
}
