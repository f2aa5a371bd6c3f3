import type { DatabaseSync } from 'node:sqlite'

import type { AtCrashPoint, CrashPoint } from '../../guard/crash-points.ts'
import { forgetOld } from './forget-old.ts'
import { migrate } from './migrate.ts'
import { openSqlite, storeError } from './open.ts'
import { TOOL_MIGRATIONS } from './tool-schema.ts'
import { createWriter, type Writer } from './transaction.ts'

/** What a tool store in a SQLite file takes. */
export interface ToolFileOptions {
  /** Where it is. Made where there is none. */
  readonly file: string
  /** The store's clock: wall time in milliseconds. Default `Date.now`. */
  readonly nowMs?: () => number
  /**
   * How long an effect's stored input is kept after its last change, and a run with its steps and approvals after its
   * end, in milliseconds. Default 30 days.
   */
  readonly retentionMs?: number
  /** For tests that kill the process there. */
  readonly atCrashPoint?: AtCrashPoint
}

/** The tool server's SQLite file, open: one connection, which the journal and the runs share. */
export interface OpenToolFile {
  readonly db: DatabaseSync
  readonly writer: Writer
  readonly nowMs: () => number
  readonly reach: (point: CrashPoint) => void
  /** May be called again. */
  readonly close: () => void
}

const RETENTION_MS = 30 * 24 * 60 * 60 * 1000

/** Brings the schema up to date and forgets what is too old. Throws what `openSqlite` and `migrate` throw. */
export function openToolFile(options: ToolFileOptions): OpenToolFile {
  const { file, nowMs = Date.now, retentionMs = RETENTION_MS, atCrashPoint } = options
  const db = openSqlite(file)
  try {
    migrate(db, file, TOOL_MIGRATIONS)
    const writer = createWriter(db, file)
    writer.transact(() => forgetOld(db, nowMs() - retentionMs))
    return {
      db,
      writer,
      nowMs,
      reach: (point) => atCrashPoint?.(point),
      close: () => {
        if (db.isOpen) db.close()
      },
    }
  } catch (thrown) {
    db.close()
    throw storeError(thrown, file)
  }
}
