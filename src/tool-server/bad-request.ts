import { HoldpointError } from '../errors.ts'

/** A request that does not fit its route. */
export class BadRequestError extends HoldpointError {
  override readonly name = 'BadRequestError'
  /** What was wrong, one line each. */
  readonly issues: readonly string[]

  constructor(message: string, issues: readonly string[]) {
    super('BAD_REQUEST', message)
    this.issues = issues
  }
}
