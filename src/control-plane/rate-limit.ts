/** Token buckets, one for each id. A bucket starts full, with `burst` tokens, and gets `perSecond` new ones. */
export interface RateLimit {
  /** Takes one token: 0, or how many milliseconds until there is one. */
  readonly take: (id: string) => number
}

export interface RateLimitOptions {
  /** 0 is no limit. */
  readonly perSecond: number
  /** Default: what comes in one second. */
  readonly burst?: number
  /** Monotonic milliseconds. */
  readonly nowMs?: (() => number) | undefined
  /** Which part of both is there now, above 0. Default 1. A burst is never less than one. */
  readonly part?: (() => number) | undefined
  /** How many buckets are kept at most, twice: above that the oldest are forgotten, and begin full again. */
  readonly maxBuckets?: number
}

interface Bucket {
  tokens: number
  atMs: number
}

const NO_LIMIT: RateLimit = { take: () => 0 }

/**
 * Keeps two generations of buckets. A bucket that nobody touched while an empty one fills up is full, and full is
 * how a bucket begins: so the older generation can be dropped whole, and memory is bounded by the ids of that time.
 */
export function createRateLimit(options: RateLimitOptions): RateLimit {
  const { perSecond, burst = perSecond, nowMs = () => performance.now(), maxBuckets = 50_000 } = options
  const { part = () => 1 } = options
  if (perSecond === 0) return NO_LIMIT
  const fillsUpInMs = (burst / perSecond) * 1000
  let young = new Map<string, Bucket>()
  let old = new Map<string, Bucket>()
  let turnedAtMs = nowMs()

  const bucketOf = (id: string, atMs: number): Bucket => {
    const known = young.get(id)
    if (known !== undefined) return known
    if (atMs - turnedAtMs >= fillsUpInMs || young.size >= maxBuckets) {
      old = young
      young = new Map()
      turnedAtMs = atMs
    }
    const bucket = old.get(id) ?? { tokens: Infinity, atMs }
    young.set(id, bucket)
    return bucket
  }
  return {
    take: (id) => {
      const atMs = nowMs()
      const bucket = bucketOf(id, atMs)
      const ratePerSecond = perSecond * part()
      const full = Math.max(burst * part(), Math.min(1, burst))
      bucket.tokens = Math.min(full, bucket.tokens + ((atMs - bucket.atMs) / 1000) * ratePerSecond)
      bucket.atMs = atMs
      if (bucket.tokens < 1) return ((1 - bucket.tokens) / ratePerSecond) * 1000
      bucket.tokens -= 1
      return 0
    },
  }
}
