import type { HoldpointError } from '../errors.ts'
import type { ControlPlaneOptions } from './control-plane.ts'

/** Whether the store can still be trusted; tells once that it cannot, whoever found out. */
export function createTrust({ store, log, onFatal }: Pick<ControlPlaneOptions, 'store' | 'log' | 'onFatal'>) {
  let suspected: HoldpointError | undefined
  let told = false
  const problem = () => suspected ?? store.problem()
  const check = () => {
    const found = problem()
    if (found === undefined || told) return
    told = true
    log.fatal({ code: found.code }, found.message)
    onFatal?.(found)
  }
  return {
    problem,
    check,
    suspect: (found: HoldpointError) => {
      suspected ??= found
      check()
    },
  }
}
