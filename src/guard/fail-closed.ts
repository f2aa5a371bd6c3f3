import type { Unanswered } from './authority.ts'
import { localRequestId, type DenialCode } from './decision.ts'

/** Thrown on the way to or from an authority, with the code that the denial will carry. */
export class AuthorityFailure extends Error {
  override readonly name = 'AuthorityFailure'
  readonly code: DenialCode

  constructor(code: DenialCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/**
 * G4: what we could not ask, we do not do. The one place that turns a failure into a denial; nothing else
 * has a `catch` around an authority call. Whatever is thrown without a code counts as unreachable.
 */
export async function failClosed<T>(attempt: () => T | Promise<T>): Promise<T | Unanswered> {
  try {
    return await attempt()
  } catch (cause) {
    return unanswered(cause instanceof AuthorityFailure ? cause.code : 'AUTHORITY_UNREACHABLE', cause)
  }
}

export function unanswered(code: DenialCode, cause: unknown): Unanswered {
  return { answered: false, code, requestId: localRequestId(), cause }
}
