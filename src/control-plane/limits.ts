import { createRateLimit } from './rate-limit.ts'
import type { KeyRecord } from './records.ts'
import { Refusal } from './refusal.ts'

/** How many validates are answered in a second; 0 is no limit. Shared equally by the nodes, and by the lanes of each. */
export interface ValidateLimits {
  readonly perKeyPerSecond: number
  readonly perOrgPerSecond: number
}

export const VALIDATE_LIMITS: ValidateLimits = { perKeyPerSecond: 5000, perOrgPerSecond: 20_000 }

/**
 * Every other call with a key, but stops: those are never limited. Keys that register have room for a thousand
 * replicas that start at once. What replicas say of themselves and of stops is counted apart: thousands that share a key
 * acknowledge a stop at once, twice each, and take the place of no register.
 */
export const CALL_LIMITS = {
  registering: { perSecond: 500, burst: 5000 },
  other: { perSecond: 200, burst: 400 },
  evidence: { perSecond: 1500, burst: 5000 },
} as const

export type RateLimited = 'key' | 'org' | 'calls'

/** How many nodes there are now: each answers its equal part of what is allowed. */
export type NodesCounted = () => number

function partOf(nodes: NodesCounted | undefined): (() => number) | undefined {
  return nodes && (() => 1 / nodes())
}

/** Throws `RATE_LIMITED`. Asked only about keys that are genuine, so that no stranger can use up somebody's quota. */
export function createValidateQuota(options: {
  readonly limits: ValidateLimits
  readonly onLimited: (scope: RateLimited) => void
  /** Monotonic milliseconds. */
  readonly nowMs?: (() => number) | undefined
  readonly nodes?: NodesCounted | undefined
}): (keyId: string, orgId: string) => void {
  const { limits, onLimited, nowMs } = options
  const part = partOf(options.nodes)
  const keys = createRateLimit({ perSecond: limits.perKeyPerSecond, nowMs, part })
  const orgs = createRateLimit({ perSecond: limits.perOrgPerSecond, nowMs, part })
  return (keyId, orgId) => {
    const ofKey = keys.take(keyId)
    if (ofKey > 0) {
      onLimited('key')
      throw rateLimited('This key asks more often than VALIDATES_PER_SECOND_PER_KEY allows.', ofKey)
    }
    const ofOrg = orgs.take(orgId)
    if (ofOrg > 0) {
      onLimited('org')
      throw rateLimited(
        'The keys of this org ask more often than VALIDATES_PER_SECOND_PER_ORG allows.',
        ofOrg,
      )
    }
  }
}

/** Throws `RATE_LIMITED` when a key asks too often. Not asked before a stop. */
export type CallQuota = (key: Pick<KeyRecord, 'keyId' | 'kind'>, what?: 'calls' | 'evidence') => void

export function createCallQuota(options: {
  /** Default true. */
  readonly limited?: boolean | undefined
  readonly onLimited: (scope: RateLimited) => void
  /** Monotonic milliseconds. */
  readonly nowMs?: (() => number) | undefined
  readonly nodes?: NodesCounted | undefined
}): CallQuota {
  const { limited = true, onLimited, nowMs } = options
  if (!limited) return () => {}
  const part = partOf(options.nodes)
  const registering = createRateLimit({ ...CALL_LIMITS.registering, nowMs, part })
  const other = createRateLimit({ ...CALL_LIMITS.other, nowMs, part })
  const evidence = createRateLimit({ ...CALL_LIMITS.evidence, nowMs, part })
  const limitOf = (kind: KeyRecord['kind']) => (kind === 'runtime' || kind === 'full' ? registering : other)
  return ({ keyId, kind }, what = 'calls') => {
    const waitMs = (what === 'evidence' ? evidence : limitOf(kind)).take(keyId)
    if (waitMs === 0) return
    onLimited('calls')
    throw rateLimited(
      'This key makes more calls than the control plane answers in a second. Stops are not limited.',
      waitMs,
    )
  }
}

function rateLimited(why: string, waitMs: number): Refusal {
  const retryAfterSeconds = Math.ceil(waitMs / 1000)
  return new Refusal('RATE_LIMITED', `${why} Ask again after ${retryAfterSeconds} s.`, { retryAfterSeconds })
}
