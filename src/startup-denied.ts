import { HoldpointError } from './errors.ts'
import type { Denied } from './guard/decision.ts'

/** The authority said no, or nothing, to the server device at startup. `decision` says which; nothing was started. */
export class StartupDenied extends HoldpointError {
  override readonly name = 'StartupDenied'
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
  if (code.startsWith('AUTHORITY_UNAUTHORIZED'))
    return 'Does MACHINEID_ORG_KEY belong to this control plane, and may it validate this device?'
  if (code.startsWith('AUTHORITY_'))
    return 'Is the control plane running, and is MACHINEID_BASE_URL its address? Without that variable npm start runs one here.'
  return 'Ask whoever stopped it; a stopped process cannot release itself.'
}
