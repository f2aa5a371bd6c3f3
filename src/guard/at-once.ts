import { types } from 'node:util'
import { GuardMisconfiguredError } from '../errors.ts'

/**
 * What a function gave that must answer at once. Throws `GUARD_MISCONFIGURED` for a promise, which only code without types
 * can give: what it comes to changes nothing any more, and its rejection must not end the process.
 */
export function atOnce<T>(given: T): T {
  if (!types.isPromise(given)) return given
  given.catch(() => undefined)
  throw new GuardMisconfiguredError('It must not be async: what it gives is needed at once.')
}
