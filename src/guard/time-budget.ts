import { GuardMisconfiguredError } from '../errors.ts'

/** The whole budget of one question, in milliseconds. */
export const TIMEOUT_MS = { default: 2000, min: 100, max: 3000 } as const

/** `timeoutMs` when it can be a budget. Throws `GUARD_MISCONFIGURED`. */
export function timeBudget(timeoutMs: unknown = TIMEOUT_MS.default): number {
  // Written so that NaN fails.
  if (typeof timeoutMs === 'number' && timeoutMs >= TIMEOUT_MS.min && timeoutMs <= TIMEOUT_MS.max)
    return timeoutMs
  throw new GuardMisconfiguredError(
    `timeoutMs (VALIDATE_TIMEOUT_MS) must be ${TIMEOUT_MS.min} to ${TIMEOUT_MS.max} milliseconds.`,
  )
}

/** How long after its question a body may start (G3), in milliseconds. Throws `GUARD_MISCONFIGURED`. */
export function permitAge(maxAgeMs: number | undefined, timeoutMs: number): number {
  if (maxAgeMs === undefined) return timeoutMs
  if (maxAgeMs >= timeoutMs && Number.isFinite(maxAgeMs)) return maxAgeMs
  throw new GuardMisconfiguredError(
    `maxAgeMs must be at least timeoutMs (${timeoutMs}), or slow answers could never be used.`,
  )
}
