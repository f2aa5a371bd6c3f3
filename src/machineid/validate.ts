import type { Answer } from '../guard/authority.ts'
import type { Boundary, DenialCode } from '../guard/decision.ts'
import type { CallOptions } from './management.ts'

/** What `validate` takes. All but the budget and the signal is for the authority's record, at most 256 characters each. */
export interface ValidateOptions extends CallOptions {
  /** What would begin. Default `task`. */
  readonly boundary?: Boundary | undefined
  /** What it is called. */
  readonly tool?: string | undefined
  /** The id of the call. */
  readonly callId?: string | undefined
  /** The id of the run that it belongs to. */
  readonly runId?: string | undefined
}

interface Validated {
  readonly deviceId: string
  /** The authority's, or `local_<uuid>` where no usable answer came. */
  readonly requestId: string
  readonly latencyMs: number
  /** Absent with hosted MachineID, and where no usable answer came. */
  readonly orgId: string | undefined
  /** The epoch of the device's own last stop or restore: what `ifEpoch` is compared with. Absent as `orgId` is. */
  readonly epoch: number | undefined
  /** The epoch of the org in the snapshot that decided. Absent as `orgId` is. */
  readonly orgEpoch: number | undefined
}

/** May work begin? Only when `allowed` is `true`; any other answer, and no answer, is a no (G4). */
export type ValidateResult =
  | (Validated & { readonly allowed: true; readonly code: 'ALLOW' })
  | (Validated & { readonly allowed: false; readonly code: DenialCode })

/** What an answer says about the only device that was asked about. */
export function validateResult(deviceId: string, answer: Answer, latencyMs: number): ValidateResult {
  const { requestId } = answer
  if (!answer.answered) {
    const { code } = answer
    const nothing = { orgId: undefined, epoch: undefined, orgEpoch: undefined }
    return { allowed: false, code, deviceId, requestId, latencyMs, ...nothing }
  }
  const { orgId, orgEpoch, decisions } = answer
  const [decision] = decisions
  const base = { deviceId, requestId, latencyMs, orgId, epoch: decision?.epoch, orgEpoch }
  if (decision?.allowed === true) return { allowed: true, code: 'ALLOW', ...base }
  return { allowed: false, code: decision?.code ?? 'AUTHORITY_WRONG_DEVICE', ...base }
}
