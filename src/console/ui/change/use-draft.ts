import { useEffect, useRef, useState } from 'react'

import { currentSession, useSession } from '../../api/session-state.ts'

interface Draft {
  readonly of: string
  readonly text: string
}

/** What was being typed when a session ended. It lives in this page alone. */
let kept: Draft | undefined

/**
 * The text of a field. When the session ends while it is typed, it is there again for the same person and the same
 * `name`; in every other case a dialog begins empty.
 */
export function useDraft(name: string): readonly [string, (text: string) => void] {
  const { orgId, keyId, email } = useSession()
  const of = JSON.stringify([orgId, email ?? keyId, window.location.pathname, name])
  const [text, setText] = useState(() => (kept?.of === of ? kept.text : ''))
  const latest = useRef(text)
  useEffect(() => {
    latest.current = text
  })
  useEffect(() => {
    if (kept?.of === of) kept = undefined
    return () => {
      if (currentSession() === undefined && latest.current !== '') kept = { of, text: latest.current }
    }
  }, [of])
  return [text, setText]
}
