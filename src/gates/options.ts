import { GuardMisconfiguredError } from '../errors.ts'

// What the types of options cannot refuse, and what those without types get wrong. Each throws `GUARD_MISCONFIGURED`.

/** The longest that a timer can wait. */
const MAX_MS = 2 ** 31 - 1

export function assertRetryMs(retryMs: number, whose: string, option = 'retryMs'): void {
  // Written so that NaN fails.
  if (retryMs > 0 && retryMs <= MAX_MS) return
  throw new GuardMisconfiguredError(`${whose}: ${option} must be a positive number of milliseconds.`)
}

/** A timer of more, or of no number, would fire at once. */
export function assertGraceMs(graceMs: number, whose: string): void {
  if (graceMs >= 0 && graceMs <= MAX_MS) return
  throw new GuardMisconfiguredError(`${whose}: graceMs must be milliseconds, 0 to ${MAX_MS}.`)
}

/** A policy that is misspelt must not pass for another. */
export function assertPolicy(onDenied: string, policies: readonly string[], whose: string): void {
  if (policies.includes(onDenied)) return
  throw new GuardMisconfiguredError(`${whose}: onDenied "${onDenied}" must be one of ${policies.join(', ')}.`)
}

export function assertName(name: unknown, gate: string): asserts name is string {
  if (typeof name === 'string' && name !== '') return
  throw new GuardMisconfiguredError(`${gate} needs a name, which operators will see.`)
}

/** Written so that NaN fails: nothing would be larger than it. */
export function assertCount(value: number, option: string, whose: string): void {
  if (Number.isSafeInteger(value) && value > 0) return
  throw new GuardMisconfiguredError(`${whose}: ${option} must be a whole number from 1.`)
}
