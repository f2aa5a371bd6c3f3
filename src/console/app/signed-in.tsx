import { useEffect } from 'react'

import { ApiError, unreachable } from '../api/api-error.ts'
import { onSessionNews, tellOtherTabs } from '../api/other-tabs.ts'
import { lookAtSession } from '../api/session-look.ts'
import { currentSession, setSession, useSessionState } from '../api/session-state.ts'
import { Queries } from './queries.tsx'
import { Shell } from './shell.tsx'
import { SignIn } from './sign-in.tsx'
import { Starting } from './starting.tsx'

const TRY_AGAIN_MS = 3000

/** The console for whoever is signed in, and the way in for everybody else. */
export function SignedIn() {
  const state = useSessionState()
  const trouble = state.is === 'loading' ? state.trouble : undefined
  useEffect(() => {
    if (state.is !== 'loading') return undefined
    if (trouble === undefined) {
      void start()
      return undefined
    }
    const timer = window.setTimeout(() => void start(), TRY_AGAIN_MS)
    return () => window.clearTimeout(timer)
  }, [state.is, trouble])
  useEffect(() => onSessionNews(lookAgain), [])

  if (state.is === 'loading') return <Starting trouble={state.trouble} tryAgain={() => void start()} />
  if (state.is === 'signed_out') return <SignIn why={state.why} />
  const { sessionId } = state.session
  return (
    <Queries key={sessionId}>
      <Shell />
    </Queries>
  )
}

async function start(): Promise<void> {
  try {
    await lookAtSession()
    if (currentSession() !== undefined) tellOtherTabs()
  } catch (error) {
    setSession({ is: 'loading', trouble: error instanceof ApiError ? error : unreachable(error) })
  }
}

/** Who is signed in is left as it was while nobody answers: the page says that nobody does. */
function lookAgain(): void {
  void lookAtSession().catch(() => undefined)
}
