import { useSyncExternalStore } from 'react'

/** Whether the control plane answers, as the calls of this page find it. */
export interface Connection {
  readonly reachable: boolean
  /** Wall-clock milliseconds of the last answer; undefined before the first. */
  readonly answeredAtMs: number | undefined
}

let connection: Connection = { reachable: true, answeredAtMs: undefined }
const listeners = new Set<() => void>()

function set(next: Connection): void {
  const told = next.reachable !== connection.reachable
  connection = next
  if (told) for (const listener of listeners) listener()
}

export function noteAnswer(): void {
  set({ reachable: true, answeredAtMs: Date.now() })
}

export function noteSilence(): void {
  set({ ...connection, reachable: false })
}

export function useConnection(): Connection {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    () => connection,
  )
}
