import type { HostedRun } from '../session.ts'
import type { Execution } from './execution.ts'
import type { RunStore } from './run-store.ts'

export interface CallClaimOptions {
  readonly store: RunStore
  readonly execution: Execution
  /**
   * The calls that waited in the saved state and are approved: one that is made again is known by its id. Undefined when
   * there is no saved state that the run could go back to.
   */
  readonly waited: ReadonlySet<string> | undefined
}

/**
 * Looks at the claim before each call, and makes sure that a run which has gone on with something that would be done
 * again never goes back to the state before it: there the model is asked anew, and calls under new ids.
 */
export function callClaim({ store, execution, waited }: CallClaimOptions): HostedRun['mayStart'] {
  let isBeyond = waited === undefined
  const { token, lease } = execution
  return async ({ callId, again }) => {
    // The transaction of its intent looks at the claim.
    if (again === 'recognised') {
      await lease.renewIfOld()
      return true
    }
    if (!(await lease.renew())) return false
    // An id that is used again needs an approval again: each is for one call.
    const isKnown = callId !== undefined && waited?.has(callId) === true
    if (again === 'harmless' || isKnown || isBeyond) return true
    isBeyond = await store.markBeyond(token)
    if (!isBeyond) execution.end('lost')
    return isBeyond
  }
}
