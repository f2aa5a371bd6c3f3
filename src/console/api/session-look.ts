import { PATHS } from '../../machineid/paths.ts'
import { ApiError } from './api-error.ts'
import { noteAnswer, noteSilence } from './connection.ts'
import { exchange } from './exchange.ts'
import { currentSession, sessionEnded, sessionState, setSession, type Session } from './session-state.ts'
import { isWithoutSession } from './why-ended.ts'

/** Asks who is signed in, and lets the page know. Throws `ApiError` when that could not be found out. */
export async function lookAtSession(): Promise<void> {
  try {
    const session = (await exchange(PATHS.session, { method: 'GET' })) as Session
    noteAnswer()
    setSession({ is: 'signed_in', session })
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    if (error.status === 0) noteSilence()
    else noteAnswer()
    if (error.status !== 401) throw error
    sessionEnded(error)
    if (sessionState().is !== 'loading') return
    setSession({ is: 'signed_out', why: isWithoutSession(error.code) ? undefined : error.message })
  }
}

/** Whether who was signed in when this was asked still is. */
export async function isSameSessionStill(): Promise<boolean> {
  const before = currentSession()?.sessionId
  await lookAtSession()
  return before !== undefined && currentSession()?.sessionId === before
}
