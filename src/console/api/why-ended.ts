import type { ApiError } from './api-error.ts'

/** Why nobody is signed in any more, for whoever was. */
export function whyEnded({ code, message }: Pick<ApiError, 'code' | 'message'>): string {
  return isWithoutSession(code) ? 'You were signed out, perhaps in another tab of this browser.' : message
}

/** The call came without a cookie at all. */
export function isWithoutSession(code: string): boolean {
  return code === 'KEY_MISSING' || code === 'SESSION_REQUIRED'
}
