import type { DatabaseSync } from 'node:sqlite'

import { HoldpointError } from '../../errors.ts'
import { storeError } from './open.ts'

export interface Writer {
  /**
   * One write transaction, begun, done and committed without an await in between. Returns what `body` returned, after
   * COMMIT has (G5). Whatever `body` throws rolls back and is thrown again; what SQLite threw becomes a store error.
   */
  readonly transact: <T>(body: () => T) => T
  /** A read outside of a transaction. What SQLite threw becomes a store error; a disk that fails it is suspect too. */
  readonly read: <T>(body: () => T) => T
  /** The first error after which nothing may be acknowledged any more. */
  readonly problem: () => HoldpointError | undefined
}

/**
 * After a read, write or sync has failed once, what is on the disk is unknown, and trying again can report a success
 * that is none. So the writer stays suspect until the file is opened anew.
 */
export function createWriter(db: DatabaseSync, file: string): Writer {
  let problem: HoldpointError | undefined

  const failed = (thrown: unknown, during: 'body' | 'commit'): unknown => {
    if (db.isTransaction) rollBack(db)
    const error = isSqliteError(thrown) ? storeError(thrown, file) : thrown
    if (!(error instanceof HoldpointError)) return thrown
    if (during === 'commit' || SUSPECT.has(error.code)) problem ??= error
    return error
  }

  return {
    transact: (body) => {
      if (problem !== undefined) throw problem
      let result
      try {
        db.exec('BEGIN IMMEDIATE')
        result = body()
      } catch (thrown) {
        throw failed(thrown, 'body')
      }
      try {
        db.exec('COMMIT')
      } catch (thrown) {
        throw failed(thrown, 'commit')
      }
      return result
    },
    read: (body) => {
      try {
        return body()
      } catch (thrown) {
        throw failed(thrown, 'body')
      }
    },
    problem: () => problem,
  }
}

/** Throws the problem of a writer that can no longer be trusted: health checks must not call it well. */
export function assertSound({ problem }: Pick<Writer, 'problem'>): void {
  const found = problem()
  if (found !== undefined) throw found
}

const SUSPECT = new Set(['STORE_IO', 'STORE_CORRUPT', 'STORE_FULL', 'STORE_NOT_WRITABLE'])

function isSqliteError(thrown: unknown): boolean {
  return thrown instanceof Error && 'errcode' in thrown
}

function rollBack(db: DatabaseSync): void {
  try {
    db.exec('ROLLBACK')
  } catch {
    // The error that led here is the one to tell; SQLite has often rolled back by itself.
  }
}
