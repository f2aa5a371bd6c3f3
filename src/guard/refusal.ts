import { HoldpointError } from '../errors.ts'
import { isUnavailable, type Boundary, type DenialCode, type Denied } from './decision.ts'
import type { Surface } from './surface.ts'

/** The words a model or caller is told; `code` says which case of it. */
export const REFUSAL_WORDS = [
  'permission_denied',
  'permission_check_unavailable',
  'approval_required',
  'in_progress',
  'effect_key_conflict',
  'outcome_unknown',
  'tool_failed',
] as const
export type RefusalWord = (typeof REFUSAL_WORDS)[number]

/** Why a call did not do what was asked. Holds nothing that must not be shown to a model. */
export interface Refusal {
  readonly error: RefusalWord
  readonly code: DenialCode
  readonly boundary: Boundary
  readonly deviceId: string
  readonly requestId: string
  /** One sentence for the model. */
  readonly message: string
}

/** What `commit` throws when it did not give a result. Catching it hides nothing: the call is refused all the same. */
export class CallRefusedError extends HoldpointError {
  override readonly name = 'CallRefusedError'
  /** Why, with the denial where there was one. */
  readonly refusal: Refusal

  constructor(refusal: Refusal) {
    super(refusal.code, forProgram(refusal))
    this.refusal = refusal
  }
}

/** A model is told the sentence alone. */
function forProgram({ message, code, boundary, deviceId, requestId }: Refusal): string {
  // Of what was denied here, the authority has no record: the code says it all.
  const look = requestId.startsWith('local_') ? `${requestId} --code ${code}` : requestId
  return `${message} ${code} at ${boundary} for ${deviceId}, request ${requestId}. See: npx holdpoint explain ${look}`
}

export function refusalOf(denied: Denied): Refusal {
  const { code, boundary, deviceId, requestId } = denied
  if (code === 'APPROVAL_REQUIRED' || code === 'APPROVAL_EXPIRED') {
    return {
      error: 'approval_required',
      code,
      boundary,
      deviceId,
      requestId,
      message: 'A person must approve this call first.',
    }
  }
  const error = isUnavailable(code) ? 'permission_check_unavailable' : 'permission_denied'
  return { error, code, boundary, deviceId, requestId, message: MESSAGES[error] }
}

const MESSAGES = {
  permission_denied: 'Permission was refused. Do not try again; tell the user that this action is stopped.',
  permission_check_unavailable:
    'Permission could not be asked for, so nothing was done. Do not try again now.',
}

/** Why an effect was not run although permission was not the reason. */
export type EffectProblem = 'conflict' | 'running' | 'unknown'

export function effectRefusal(problem: EffectProblem, surface: Surface, requestId: string): Refusal {
  const deviceId = surface.deviceIds.at(-1) as string
  return { ...EFFECT_PROBLEMS[problem], boundary: 'side_effect', deviceId, requestId }
}

const EFFECT_PROBLEMS = {
  conflict: {
    error: 'effect_key_conflict',
    code: 'EFFECT_KEY_CONFLICT',
    message: 'This was already asked for with other arguments. It was not done again.',
  },
  running: {
    error: 'in_progress',
    code: 'EFFECT_IN_PROGRESS',
    message: 'Another call is carrying this out. Its outcome is not known yet.',
  },
  unknown: {
    error: 'outcome_unknown',
    code: 'OUTCOME_UNKNOWN',
    message: 'It is not known whether this happened. Do not repeat it; a person must look.',
  },
} as const
