import { GuardMisconfiguredError } from '../errors.ts'

// What the types of options cannot refuse, and what those without types get wrong. Each throws `GUARD_MISCONFIGURED`.

/** The longest that a timer can wait. */
const MAX_MS = 2 ** 31 - 1

/** Written so that NaN fails, and text: what is added to it would be text, too. */
const isMs = (value: unknown): value is number => typeof value === 'number' && value >= 0 && value <= MAX_MS

export function assertRetryMs(retryMs: number, whose: string, option = 'retryMs'): void {
  if (isMs(retryMs) && retryMs > 0) return
  throw new GuardMisconfiguredError(`${whose}: ${option} must be a positive number of milliseconds.`)
}

/** A timer of more, or of no number, would fire at once. */
export function assertGraceMs(graceMs: number, whose: string): void {
  if (isMs(graceMs)) return
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
