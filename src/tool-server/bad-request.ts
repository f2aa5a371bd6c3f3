import { isTooDeep, MAX_JSON_DEPTH } from '../canonical-json.ts'
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

/** Throws `BadRequestError` for a body that nothing could walk through. */
export function refuseDeep(body: unknown): void {
  if (!isTooDeep(body)) return
  const issue = `body: nested deeper than ${MAX_JSON_DEPTH} levels`
  throw new BadRequestError('The body is nested too deep. Send flatter JSON.', [issue])
}
