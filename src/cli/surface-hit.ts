import { CALLS } from '../machineid/calls.ts'
import type { Cli } from './cli.ts'
import { CliError } from './cli-error.ts'
import { quotedPattern } from '../next-commands.ts'
import type { OperatorClient } from './operator-client.ts'

const LOOK_TIMEOUT_MS = 2000

/**
 * After the lock of a surface, which holds whatever comes out: notes that no device fits it, most often a name that was
 * mistyped. Throws `CliError` `SURFACE_NOT_WHOLE` when devices of that surface end with it, so that the pattern, which
 * asks for an instance, passes them by.
 */
export async function checkSurfaceHit(
  cli: Cli,
  operator: OperatorClient,
  { name, pattern }: { readonly name: string; readonly pattern: string },
): Promise<void> {
  const shorter = pattern.slice(0, -':*'.length)
  const hitBy = async (one: string) =>
    operator
      .preview(CALLS.lock, { pattern: one, reason: `surface ${name}` }, { timeoutMs: LOOK_TIMEOUT_MS })
      .catch(() => undefined)
  const [hit, missed] = await Promise.all([hitBy(pattern), hitBy(shorter)])
  if (missed !== undefined && missed.deviceCount > 0) {
    const ids = missed.devices.slice(0, 5).map(({ deviceId }) => deviceId)
    throw new CliError(
      'SURFACE_NOT_WHOLE',
      `The lock holds, but not for devices of ${name} without an instance: ${ids.join(', ')}. Stop them too: ` +
        `holdpoint lock add ${quotedPattern(shorter)}`,
    )
  }
  if (hit?.deviceCount !== 0) return
  cli.note(
    `No device fits ${quotedPattern(pattern)} now, so this stops nothing that runs. Is "${name}" its name? A surface ` +
      'that has no device of its own (as records in the shipped setup) stops with its server: holdpoint surface stop ' +
      'tool-server',
  )
}
