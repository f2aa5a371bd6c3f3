import { useCallback, useEffect, useMemo, useRef, useState } from 'react'

import type { Lock } from './device-state.ts'

/** What somebody is about to do, in a dialog. */
export type Action =
  | { readonly is: 'stop'; readonly pattern: string }
  | { readonly is: 'revoke' | 'restore' | 'remove'; readonly deviceIds: readonly string[] }
  | { readonly is: 'release'; readonly lock: Lock }
  | { readonly is: 'register' }

export interface Actions {
  readonly action: Action | undefined
  /** Of this opening: a dialog begins anew with each. */
  readonly opening: number
  readonly opened: boolean
  readonly begin: (action: Action) => void
  readonly end: () => void
}

/** How long an open dialog takes to give the focus back. */
const LET_GO_MS = 50

/** One dialog at a time. What it shows is what there was when it was opened. */
export function useActions(): Actions {
  const [state, setState] = useState<Pick<Actions, 'action' | 'opening' | 'opened'>>({
    action: undefined,
    opening: 0,
    opened: false,
  })
  const timer = useRef<number>(undefined)
  const isOpen = useRef(false)
  const end = useCallback(() => {
    isOpen.current = false
    window.clearTimeout(timer.current)
    setState((now) => ({ ...now, opened: false }))
  }, [])
  const begin = useCallback(
    (action: Action) => {
      const open = () => {
        isOpen.current = true
        setState((now) => ({ ...now, opened: true }))
      }
      // A dialog notes what has the focus when it is opened, not when it comes to be.
      const prepare = () => {
        setState(({ opening }) => ({ action, opening: opening + 1, opened: false }))
        timer.current = window.setTimeout(open)
      }
      const wasOpen = isOpen.current
      end()
      if (wasOpen) timer.current = window.setTimeout(prepare, LET_GO_MS)
      else prepare()
    },
    [end],
  )
  useEffect(() => () => window.clearTimeout(timer.current), [])
  return useMemo(() => ({ ...state, begin, end }), [state, begin, end])
}
