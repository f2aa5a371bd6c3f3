import { env } from 'node:process'

import { MachineID } from 'holdpoint/client'
import type { Guard } from 'holdpoint/gates'

/** What an operator does, who is elsewhere in real life: stops payments, with the key in OPERATOR_KEY. */
export async function revoke(guard: Guard): Promise<void> {
  const operator = new MachineID({
    orgKey: env['OPERATOR_KEY'] ?? '',
    baseUrl: env['MACHINEID_BASE_URL'] ?? '',
  })
  await operator.revoke(guard.surface('payments').deviceIds.at(-1) ?? '')
  await operator.close()
}
