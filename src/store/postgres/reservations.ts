import type { Intent } from '../../guard/journal.ts'
import type { Reserved } from './database.ts'

/** A connection on which an effect may write, kept for it from its intent to its outcome. */
export interface Reservation {
  readonly connection: Reserved
  /** The effect's own, in milliseconds. */
  readonly deadlineMs: number
}

export interface Reservations {
  readonly keep: (token: string, connection: Reserved, intent: Intent, leaseMs: number) => void
  /** From now on the caller's, who releases it. */
  readonly take: (token: string) => Reservation | undefined
  readonly renew: (token: string, leaseMs: number) => void
  /** Nobody needs it any more. */
  readonly drop: (token: string) => void
  readonly close: () => void
}

interface Kept extends Reservation {
  timer: NodeJS.Timeout
}

export function createReservations(): Reservations {
  const all = new Map<string, Kept>()

  const take: Reservations['take'] = (token) => {
    const kept = all.get(token)
    clearTimeout(kept?.timer)
    all.delete(token)
    return kept
  }
  const drop = (token: string) => take(token)?.connection.release()
  const timerOf = (token: string, leaseMs: number) => setTimeout(drop, leaseMs, token).unref()

  return {
    keep: (token, connection, { deadlineMs }, leaseMs) =>
      void all.set(token, { connection, deadlineMs, timer: timerOf(token, leaseMs) }),
    take,
    renew: (token, leaseMs) => {
      const kept = all.get(token)
      if (kept === undefined) return
      clearTimeout(kept.timer)
      kept.timer = timerOf(token, leaseMs)
    },
    drop,
    close: () => [...all.keys()].forEach(drop),
  }
}
