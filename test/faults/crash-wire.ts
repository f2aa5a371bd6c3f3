import type { CrashPoint } from '../../src/guard/crash-points.ts'
import type { CallerRecord } from '../../src/tool-server/callers.ts'

/** What `child-runs.ts` is started with, as JSON. */
export interface ChildSettings {
  /** Where its one SQLite file lies, and what it tells of its crashes. */
  readonly dir: string
  /** Postgres instead of the file. */
  readonly databaseUrl: string | undefined
  readonly orgKey: string
  readonly authorityUrl: string
  readonly sinksUrl: string
  readonly stateKeyHex: string
  readonly callers: readonly CallerRecord[]
  /** How far the store's clock is ahead of this machine's: leases and deadlines pass without waiting. */
  readonly clockAheadMs: number
}

/** What a process does to itself when `point` is reached for the `nth` time from now, counted from 1. */
export interface Crash {
  readonly point: CrashPoint
  readonly nth: number
  /** `SIGSTOP`: it stands still, as in a pause of its machine, and comes to when others have taken over. */
  readonly signal: 'SIGKILL' | 'SIGSTOP'
}

export type ToChild =
  | { readonly type: 'arm'; readonly crash: Crash | undefined }
  /** Asks how often each point was reached since it was armed last. */
  | { readonly type: 'count' }

export type FromChild =
  | { readonly type: 'ready'; readonly url: string }
  | { readonly type: 'armed' }
  | {
      readonly type: 'counted'
      readonly reached: Partial<Record<CrashPoint, number>>
      /** Bodies at work. */
      readonly inFlight: number
    }

export const DATABASE = 'journal.sqlite'
/** One line per crash, written before it: which point it was. */
export const CRASHES = 'crashes.txt'
