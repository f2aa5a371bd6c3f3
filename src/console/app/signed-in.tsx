import { Center, Loader } from '@mantine/core'
import { useEffect } from 'react'

import { ApiError } from '../api/api-error.ts'
import { call } from '../api/call.ts'
import { setSession, useSessionState } from '../api/session-state.ts'
import { Shell } from './shell.tsx'
import { SignIn } from './sign-in.tsx'

/** The console for whoever is signed in, and the way in for everybody else. */
export function SignedIn() {
  const state = useSessionState()
  useEffect(() => {
    if (state.is === 'loading') void look()
  }, [state.is])
  if (state.is === 'loading') {
    return (
      <Center mih="100vh">
        <Loader aria-label="Loading" />
      </Center>
    )
  }
  return state.is === 'signed_in' ? <Shell /> : <SignIn why={state.why} />
}

async function look(): Promise<void> {
  try {
    setSession({ is: 'signed_in', session: await call('session', {}) })
  } catch (error) {
    setSession({
      is: 'signed_out',
      why: error instanceof ApiError && error.status === 401 ? undefined : messageOf(error),
    })
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
