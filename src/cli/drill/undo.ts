import { setTimeout as sleep } from 'node:timers/promises'

import { messageOf } from '../../errors.ts'
import { jittered } from '../../jitter.ts'
import { CliError } from '../cli-error.ts'
import { goesBy } from '../operator-refusal.ts'
import type { DrillStop, Undone } from './stops.ts'

export interface Acked {
  readonly epoch: number | null
  /** On the drill's own monotonic clock, after the 2xx was read. */
  readonly ackAtMs: number
  readonly ackMs: number
}

/** Everything that the drill itself has stopped and not yet restored. */
export interface Stopped {
  stop(what: DrillStop): Promise<Acked>
  /** Restores that one; throws when it cannot, and it stays on the list. */
  restore(what: DrillStop): Promise<Acked & Undone>
  /** What is not restored yet. */
  held(): readonly DrillStop[]
  /** Restores all, the newest first, and tries hard. Never throws: what is left stopped is said in sentences. */
  restoreAll(): Promise<readonly string[]>
}

export interface StoppedOptions {
  readonly nowMs: () => number
  /** How long it goes on trying at each. Default 30 s. */
  readonly tryForMs?: number | undefined
  readonly onRetry?: ((what: DrillStop, why: string) => void) | undefined
}

/** `asked`: it got no answer, so that it may be stopped or not. */
type Held = { readonly stop: DrillStop } & ({ readonly asked: true } | { readonly epoch: number | null })

const FIRST_PAUSE_MS = 200
const LAST_PAUSE_MS = 2000

export function createStopped({ nowMs, tryForMs = 30_000, onRetry }: StoppedOptions): Stopped {
  const held: Held[] = []
  const forget = (what: DrillStop) => {
    const index = held.findIndex(({ stop }) => stop === what)
    if (index !== -1) held.splice(index, 1)
  }
  const timed = async <T extends object>(work: () => Promise<T>) => {
    const sentAtMs = nowMs()
    const result = await work()
    const ackAtMs = nowMs()
    return { ...result, ackAtMs, ackMs: ackAtMs - sentAtMs }
  }
  /** Looks first where the stop was never acked. */
  const undo = async (one: Held): Promise<Undone> => {
    if (!('asked' in one)) return one.stop.undo(one.epoch)
    const found = await one.stop.find()
    return found === undefined ? { epoch: null, leftStopped: undefined } : one.stop.undo(found.epoch)
  }
  const undoHard = async (one: Held): Promise<Undone> => {
    const endMs = nowMs() + tryForMs
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LAST_PAUSE_MS)) {
      try {
        return await undo(one)
      } catch (error) {
        if (!(error instanceof CliError && goesBy(error)) || nowMs() + pauseMs > endMs) throw error
        onRetry?.(one.stop, error.message)
        await sleep(jittered(pauseMs))
      }
    }
  }
  return {
    stop: async (what) => {
      await what.look?.()
      // Before it is asked for: whatever happens, it is restored.
      held.push({ stop: what, asked: true })
      const acked = await timed(() => what.make())
      forget(what)
      held.push({ stop: what, epoch: acked.epoch })
      return acked
    },
    restore: async (what) => {
      const one = held.find(({ stop }) => stop === what)
      if (one === undefined) throw new CliError('NOT_STOPPED', `${what.what} is not stopped by this drill.`)
      const done = await timed(() => undoHard(one))
      forget(what)
      return done
    },
    held: () => held.map(({ stop }) => stop),
    restoreAll: async () => {
      const left: string[] = []
      for (const one of held.toReversed()) {
        const { what, command } = one.stop
        try {
          const { leftStopped } = await undoHard(one)
          if (leftStopped !== undefined)
            left.push(`${leftStopped}. It was left so; to restore it: ${command}`)
        } catch (error) {
          const state = 'asked' in one ? 'may be stopped' : 'is LEFT STOPPED'
          left.push(`${what} ${state}: ${messageOf(error)} To restore it: ${command}`)
        }
        forget(one.stop)
      }
      return left
    },
  }
}
