import type { Answer } from './authority.ts'
import type { DenialCode } from './decision.ts'
import { AuthorityFailure } from './fail-closed.ts'

export type Verdict =
  | { readonly allowed: true; readonly answer: Answer & { answered: true } }
  | {
      readonly allowed: false
      readonly code: DenialCode
      readonly requestId: string
      /** The device that is denied; absent when the denial is about the whole question. */
      readonly deviceId?: string
      /** Why there was no usable answer. For the log only. */
      readonly cause?: unknown
    }

/** An authority that breaks its own contract has not answered (G4). */
export function assertAnswer(answer: Answer): Answer {
  const isAnswer =
    answer?.answered === false || (answer?.answered === true && Array.isArray(answer.decisions))
  if (isAnswer) return answer
  throw new AuthorityFailure('AUTHORITY_BAD_BODY', 'The authority gave something that is no answer.')
}

/** What an answer means for exactly these devices (G2): allowed only when every one of them is. */
export function judge(answer: Answer, deviceIds: readonly string[]): Verdict {
  const { requestId } = answer
  if (!answer.answered) return { allowed: false, code: answer.code, requestId, cause: answer.cause }
  const { decisions } = answer
  if (
    decisions.length !== deviceIds.length ||
    !decisions.every((one, index) => one?.deviceId === deviceIds[index])
  ) {
    return { allowed: false, code: 'AUTHORITY_WRONG_DEVICE', requestId }
  }
  for (const one of decisions) {
    // Written so that anything but exactly true denies (G4).
    if (one.allowed !== true) return { allowed: false, code: one.code, requestId, deviceId: one.deviceId }
  }
  return { allowed: true, answer }
}
