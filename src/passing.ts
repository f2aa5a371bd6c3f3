import { HoldpointError } from './errors.ts'

const PASSING = new Set([
  'STORE_UNREACHABLE',
  'STORE_IN_RECOVERY',
  'STORE_RESTORED',
  'STORE_TIMEOUT',
  'STORE_BUSY',
  'STORE_OUTCOME_UNKNOWN',
])

/** Whether a store may take it a little later: it is away for a while, busy, or nobody knows whether it was done. */
export function mayPass(thrown: unknown): boolean {
  return thrown instanceof HoldpointError && PASSING.has(thrown.code)
}
