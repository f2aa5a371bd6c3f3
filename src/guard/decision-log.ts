import { messageOf } from '../errors.ts'
import type { Logger } from '../log.ts'
import { isUnavailable, type Decision } from './decision.ts'
import type { HoldPoint } from './guard.ts'

/** G8: one structured line for each decision, written before anything starts. Denials at `warn`. */
export function logDecision(log: Logger, at: HoldPoint, decision: Decision, cause?: unknown): void {
  const line = {
    device_id: decision.deviceId,
    device_ids: decision.deviceIds,
    boundary: decision.boundary,
    allowed: decision.allowed,
    code: decision.code,
    request_id: decision.requestId,
    tool: at.tool,
    call_id: at.callId,
    run_id: at.runId,
    latency_ms: Math.round(decision.latencyMs * 1000) / 1000,
  }
  if (decision.allowed) log.info(line, 'allowed')
  else if (!isUnavailable(decision.code)) log.warn(line, 'denied')
  else
    log.warn(
      { ...line, err: cause === undefined ? undefined : messageOf(cause) },
      'permission could not be asked',
    )
}
