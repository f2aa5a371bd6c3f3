import { HoldpointError } from './errors.ts'
import type { Denied } from './guard/decision.ts'

/** The authority said no, or nothing, to the server device at startup. `decision` says which; nothing was started. */
export class StartupDenied extends HoldpointError {
  override readonly name = 'StartupDenied'
  /** The denial of the server device. */
  readonly decision: Denied

  constructor(decision: Denied) {
    super(
      decision.code,
      `Startup of ${decision.deviceId} was denied: ${decision.code} (request ${decision.requestId}). ${nextStep(decision)}`,
    )
    this.decision = decision
  }
}

function nextStep({ code }: Denied): string {
  if (code === 'AUTHORITY_UNAUTHORIZED')
    return 'The key is not known there, has ended, or may not ask for this device: the log has the status. See npx holdpoint keys ls, then set MACHINEID_ORG_KEY or MACHINEID_ORG_KEY_FILE.'
  if (code === 'AUTHORITY_BAD_STATUS')
    return 'The log has the status. 421: MACHINEID_BASE_URL is the operators’ port (4101), and agents ask the other (4100). Anything else: something that is no control plane, or one in trouble, answers there.'
  if (code.startsWith('AUTHORITY_'))
    return 'Is the control plane running, and is MACHINEID_BASE_URL its address? Without that variable npx holdpoint start runs one here.'
  if (code === 'DEVICE_LIMIT_REACHED')
    return 'The plan has no free slot. An operator sees npx holdpoint org usage, and removes a device that is gone (npx holdpoint devices rm) or changes the plan (npx holdpoint org plan).'
  return 'Ask whoever stopped it; a stopped process cannot release itself.'
}
