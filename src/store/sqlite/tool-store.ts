import type { RunStore } from '../../agents/hosted/run-store.ts'
import type { Journal } from '../../guard/journal.ts'
import { createDurability } from './durability.ts'
import { createJournal } from './journal.ts'
import { createRunStore } from './runs.ts'
import { openToolFile, type ToolFileOptions } from './tool-file.ts'

/** What a database says of itself. */
export interface Durability {
  readonly kind: string
  /** For example `wal`. */
  readonly journalMode: string
  /** For example `full`. */
  readonly synchronous: string
}

export interface ToolStore {
  /** For the guard. */
  readonly journal: Journal
  /** For the hosted runs. */
  readonly runs: RunStore
  readonly durability: () => Promise<Durability>
  /** Closes both. May be called again. */
  readonly close: () => Promise<void>
}

/**
 * Opens (and creates) the SQLite file of a tool server: the journal, and the runs whose approvals are used up in the
 * journal's transactions. Other processes may have it open. Throws what `createSqliteJournal` throws.
 */
export function createSqliteToolStore(options: ToolFileOptions): ToolStore {
  const opened = openToolFile(options)
  const journal = createJournal(opened)
  return {
    journal,
    runs: createRunStore(opened, journal),
    ...createDurability(opened.db, opened.writer),
    close: async () => opened.close(),
  }
}
