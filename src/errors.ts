import { redact } from './redact.ts'

/**
 * The base of every error this package throws: a stable `code`, a message that ends with the next step,
 * and the `cause` where there is one.
 */
export class HoldpointError extends Error {
  override readonly name: string = 'HoldpointError'
  /** Stable, in capitals: programs compare it, people look it up. */
  readonly code: string

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** Options or environment that cannot work. Thrown where they are read, before anything starts. */
export class GuardMisconfiguredError extends HoldpointError {
  override readonly name = 'GuardMisconfiguredError'

  constructor(message: string, options?: ErrorOptions) {
    super('GUARD_MISCONFIGURED', message, options)
  }
}

/** The text of anything that was thrown, which need not be an Error, without keys. Never throws. */
export function messageOf(thrown: unknown): string {
  try {
    return redact(String(thrown instanceof Error ? thrown.message : thrown))
  } catch {
    return 'Something was thrown that cannot be shown.'
  }
}
