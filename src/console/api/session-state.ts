import { useSyncExternalStore } from 'react'

import type { ApiError } from './api-error.ts'
import type { Output } from './routes.ts'
import { whyEnded } from './why-ended.ts'

export type Session = Output<'session'>

/**
 * Who is signed in. `loading` until it is known, with `trouble` while nobody answers; `signed_out` says why when it was
 * not wanted.
 */
export type SessionState =
  | { readonly is: 'loading'; readonly trouble?: ApiError | undefined }
  | { readonly is: 'signed_in'; readonly session: Session }
  | { readonly is: 'signed_out'; readonly why?: string | undefined }

let state: SessionState = { is: 'loading' }
const listeners = new Set<() => void>()

export function setSession(next: SessionState): void {
  state = next
  for (const listener of listeners) listener()
}

/** A call was refused because nobody is signed in any more. */
export function sessionEnded(error: ApiError): void {
  if (state.is === 'signed_in') setSession({ is: 'signed_out', why: whyEnded(error) })
}

export function sessionState(): SessionState {
  return state
}

export function currentSession(): Session | undefined {
  return state.is === 'signed_in' ? state.session : undefined
}

export function csrfToken(): string {
  return currentSession()?.csrfToken ?? ''
}

export function useSessionState(): SessionState {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    () => state,
  )
}

/** Inside of the signed-in part of the page only. */
export function useSession(): Session {
  const current = useSessionState()
  if (current.is !== 'signed_in') throw new Error('Nobody is signed in.')
  return current.session
}
