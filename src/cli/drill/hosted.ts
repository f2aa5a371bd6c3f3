import { z } from 'zod'

import { messageOf } from '../../errors.ts'
import type { Call } from '../../machineid/calls.ts'
import { PATHS } from '../../machineid/paths.ts'
import type { OperatorClient } from '../operator-client.ts'
import type { Canaries } from './canary-device.ts'
import type { DrillStop } from './stops.ts'

// Hosted MachineID: the calls that it has, without epochs, labels, cuts and signatures.

const ANYWAY = { outlivesInterrupt: true, timeoutMs: 10_000 } as const
const REGISTER: Call = {
  method: 'POST',
  path: PATHS.register,
  input: z.object({ deviceId: z.string() }),
  output: z.looseObject({ status: z.string() }),
  does: 'change',
}
const REVOKE: Call = { ...REGISTER, path: PATHS.revoke, does: 'stop' }
const UNREVOKE: Call = { ...REGISTER, path: PATHS.unrevoke }
const REMOVE: Call = { ...REGISTER, path: PATHS.remove, does: 'stop' }

/** Without epochs a restore undoes whatever stop it finds. */
export function hostedStop(operator: OperatorClient, deviceIds: readonly string[]): DrillStop {
  const each = async (call: Call) => {
    for (const deviceId of deviceIds) await operator.call(call, { deviceId }, ANYWAY)
  }
  return {
    what: deviceIds.join(', '),
    command: `POST ${PATHS.unrevoke} for ${deviceIds.join(', ')}`,
    make: async () => {
      await each(REVOKE)
      return { epoch: null }
    },
    undo: async () => {
      await each(UNREVOKE)
      return { epoch: null, leftStopped: undefined }
    },
    // Nobody can tell whose stop it is: it was asked for a moment ago, by this drill.
    find: async () => ({ epoch: null }),
  }
}

export async function registerHosted(
  operator: OperatorClient,
  deviceIds: readonly string[],
): Promise<Canaries> {
  const ours: string[] = []
  const found: string[] = []
  for (const deviceId of deviceIds) {
    const { status } = (await operator.call(REGISTER, { deviceId }, ANYWAY)) as { readonly status: string }
    if (status === 'ok') ours.push(deviceId)
    else found.push(deviceId)
  }
  const said = (deviceId: string, why: string) => `The canary ${deviceId} is still registered: ${why}`
  return {
    deviceIds,
    found,
    keep: () => ours.map((deviceId) => said(deviceId, 'it is left stopped.')),
    remove: async () => {
      const left: string[] = []
      for (const deviceId of ours) {
        await operator
          .call(REMOVE, { deviceId }, ANYWAY)
          .catch((error: unknown) => left.push(said(deviceId, messageOf(error))))
      }
      return left
    },
  }
}
