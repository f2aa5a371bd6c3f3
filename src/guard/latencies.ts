const KEPT = 500

/** How long the last questions took, for presence. Adding one is a single write; only asking sorts. */
export class Latencies {
  readonly #ring = new Float64Array(KEPT)
  #count = 0

  add(ms: number): void {
    this.#ring[this.#count % KEPT] = ms
    this.#count += 1
  }

  /** Undefined before the first. */
  get percentiles(): { readonly p50: number; readonly p99: number } | undefined {
    const kept = this.#ring.slice(0, Math.min(this.#count, KEPT)).sort()
    const at = (share: number): number => kept[Math.ceil(kept.length * share) - 1] ?? 0
    return kept.length === 0 ? undefined : { p50: at(0.5), p99: at(0.99) }
  }
}
