import type { ToolStore } from '../tool-store.ts'
import { createDurability } from './durability.ts'
import { createJournal } from './journal.ts'
import { createRunStore } from './runs.ts'
import { openToolFile, type ToolFileOptions } from './tool-file.ts'

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
