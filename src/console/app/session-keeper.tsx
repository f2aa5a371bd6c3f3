import { Alert, Button, Group, Text } from '@mantine/core'
import { useCallback, useEffect, useRef } from 'react'

import { call } from '../api/call.ts'
import { tellOtherTabs } from '../api/other-tabs.ts'
import { currentSession, setSession, useSession } from '../api/session-state.ts'
import { endingSoon, isRefreshDue } from '../api/session-times.ts'
import { timeOfDay, useNow } from '../ui/when.tsx'

const SIGNS_OF_LIFE = ['pointerdown', 'pointermove', 'keydown', 'wheel', 'touchstart'] as const

/** Keeps the session while a person is there, and says so before it ends. */
export function SessionKeeper() {
  const session = useSession()
  const nowMs = useNow(5000)
  const refreshedAtMs = useRef(0)
  useEffect(() => {
    // By this tab or by another one.
    refreshedAtMs.current = Date.now()
  }, [session.idleAt])
  const refresh = useCallback(() => {
    const now = currentSession()
    if (now === undefined || !isRefreshDue(now, refreshedAtMs.current, Date.now())) return
    refreshedAtMs.current = Date.now()
    void refreshSession()
  }, [])
  useEffect(() => {
    const options = { passive: true, capture: true }
    for (const sign of SIGNS_OF_LIFE) window.addEventListener(sign, refresh, options)
    return () => {
      for (const sign of SIGNS_OF_LIFE) window.removeEventListener(sign, refresh, options)
    }
  }, [refresh])

  const ending = endingSoon(session, nowMs)
  if (ending === undefined) return null
  const at = timeOfDay(ending.at)
  return (
    <Alert color="orange" variant="outline" role="alert" title={`Your session ends at ${at}`}>
      <Group gap="md">
        <Text size="sm">
          {ending.why === 'idle'
            ? 'Nobody has done anything here for almost an hour.'
            : 'A session lasts for 12 hours at most. Sign in again then: you will be where you are now.'}
        </Text>
        {ending.why === 'idle' && (
          <Button size="compact-sm" variant="default" onClick={() => void refreshSession()}>
            Stay signed in
          </Button>
        )}
      </Group>
    </Alert>
  )
}

/** When it does not work, the next sign of life tries again. */
async function refreshSession(): Promise<void> {
  const before = currentSession()?.sessionId
  try {
    const session = await call('sessionRefresh', {})
    if (currentSession()?.sessionId !== before) return
    setSession({ is: 'signed_in', session })
    tellOtherTabs()
  } catch {
    // The page says it where that matters: nobody signed in any more, or nobody answers.
  }
}
