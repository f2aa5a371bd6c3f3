import type { RunStore } from '../agents/hosted/run-store.ts'
import type { Journal } from '../guard/journal.ts'

/** What a database says of itself. */
export interface Durability {
  readonly kind: string
  /** With SQLite, for example `wal`. */
  readonly journalMode?: string
  /** For example `full`; with Postgres its `synchronous_commit`, or `off` when it runs without fsync. */
  readonly synchronous: string
}

/** Journal and runs in one database, so that an approval is used up together with the effect it is for. */
export interface ToolStore {
  /** For the guard. */
  readonly journal: Journal
  /** For the hosted runs. */
  readonly runs: RunStore
  readonly durability: () => Promise<Durability>
  /** Closes both. May be called again. */
  readonly close: () => Promise<void>
}
