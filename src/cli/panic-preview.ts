import { CALLS } from '../machineid/calls.ts'
import { blastRadius, type BlastRadius } from './blast-radius.ts'
import type { OperatorClient } from './operator-client.ts'

const LOOK_TIMEOUT_MS = 2000

/** What a panic stops: everything, or every device of a surface, present or to come. */
export interface Target {
  readonly surface: { readonly name: string; readonly pattern: string } | undefined
  readonly reason: string
}

/** What a panic would hit. Throws `CliError` when that cannot be learnt. */
export function blastOf(operator: OperatorClient, { surface, reason }: Target): Promise<BlastRadius> {
  return surface === undefined
    ? blastRadius(operator, CALLS.orgDisable, { reason })
    : blastRadius(operator, CALLS.lock, { pattern: surface.pattern, reason })
}

/** A look that fails, or takes long, is no reason not to stop: then it says why there is none. */
export function quickBlastOf(operator: OperatorClient, target: Target): Promise<BlastRadius | string> {
  const late = new Promise<string>((resolve) => {
    setTimeout(resolve, LOOK_TIMEOUT_MS, 'the control plane is slow to answer.').unref()
  })
  const failed = (error: unknown) => (error instanceof Error ? error.message : String(error))
  return Promise.race([blastOf(operator, target).catch(failed), late])
}
