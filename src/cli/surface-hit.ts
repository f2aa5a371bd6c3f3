import { CALLS } from '../machineid/calls.ts'
import { CliError } from './cli-error.ts'
import { quotedPattern } from '../next-commands.ts'
import type { OperatorClient } from './operator-client.ts'

const LOOK_TIMEOUT_MS = 2000

interface Surface {
  readonly name: string
  readonly pattern: string
}

/** What the lock of a surface hits, which holds whatever comes out. */
export interface SurfaceHit {
  /** Devices that fit it now; null when that could not be learnt. */
  readonly deviceCount: number | null
  /** Up to five devices of that surface that end with it, so that the pattern, which asks for an instance, passes them by. */
  readonly missed: readonly string[]
}

export async function surfaceHit(operator: OperatorClient, { name, pattern }: Surface): Promise<SurfaceHit> {
  const hitBy = async (one: string) =>
    operator
      .preview(CALLS.lock, { pattern: one, reason: `surface ${name}` }, { timeoutMs: LOOK_TIMEOUT_MS })
      .catch(() => undefined)
  const [hit, missed] = await Promise.all([hitBy(pattern), hitBy(withoutInstance(pattern))])
  return {
    deviceCount: hit?.deviceCount ?? null,
    missed: (missed?.devices ?? []).slice(0, 5).map(({ deviceId }) => deviceId),
  }
}

/**
 * After the lock was told of. Throws `CliError` `SURFACE_NOT_WHOLE` when it passes devices of the surface by, and
 * `NO_DEVICE_FITS` when it hits none, most often since the name was mistyped: nothing that runs is stopped then.
 */
export function assertHit({ deviceCount, missed }: SurfaceHit, { name, pattern }: Surface): void {
  if (missed.length > 0) {
    throw new CliError(
      'SURFACE_NOT_WHOLE',
      `The lock holds, but not for devices of ${name} without an instance: ${missed.join(', ')}. Stop them too: ` +
        `holdpoint lock add ${quotedPattern(withoutInstance(pattern))}`,
    )
  }
  if (deviceCount !== 0) return
  throw new CliError(
    'NO_DEVICE_FITS',
    `No device fits ${quotedPattern(pattern)} now, so this stops nothing that runs. The lock holds for devices to come. ` +
      `Is "${name}" its name? See: holdpoint devices ls. A surface that has no device of its own (as records in the ` +
      'shipped setup) stops with its server: holdpoint surface stop tool-server',
  )
}

function withoutInstance(pattern: string): string {
  return pattern.slice(0, -':*'.length)
}
