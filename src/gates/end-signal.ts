import { constants } from 'node:os'
import type { Logger } from '../log.ts'

/** How long the process is meant to go on. */
export interface ProcessLife {
  /** Aborted by SIGTERM and SIGINT. */
  readonly signal: AbortSignal
  /**
   * Resolves then, and keeps the process alive until then. For a `main` that only sets up what goes on by itself: a
   * scheduler, a consumer, a server.
   */
  untilShutdown(): Promise<void>
}

export interface WatchedLife extends ProcessLife {
  /** Resolves by a signal too, and keeps nothing alive. */
  readonly ended: Promise<void>
  /** Listens no more. */
  done(): void
}

/** A promise alone keeps no process alive; a timer does, however rarely it fires. */
const KEEP_ALIVE_MS = 2 ** 30

/** Listens from now on. A second signal ends the process at once. */
export function watchLife(log: Logger): WatchedLife {
  const ending = new AbortController()
  const ended = Promise.withResolvers<void>()
  let alive: NodeJS.Timeout | undefined
  const onSignal = (name: 'SIGTERM' | 'SIGINT') => {
    if (ending.signal.aborted) process.exit(128 + constants.signals[name])
    log.info({ signal: name }, 'shutting down')
    clearInterval(alive)
    ending.abort(new Error(`The process got ${name}.`))
    ended.resolve()
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  return {
    signal: ending.signal,
    ended: ended.promise,
    untilShutdown: () => {
      if (!ending.signal.aborted) alive ??= setInterval(() => {}, KEEP_ALIVE_MS)
      return ended.promise
    },
    done: () => {
      clearInterval(alive)
      process.off('SIGTERM', onSignal)
      process.off('SIGINT', onSignal)
    },
  }
}
