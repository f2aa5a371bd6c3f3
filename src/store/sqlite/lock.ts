import { DatabaseSync } from 'node:sqlite'

import { HoldpointError } from '../../errors.ts'
import { createPrivateFile, storeError } from './open.ts'

/**
 * Holds `<file>.lock` until `release`, or until this process ends in whatever way. It is a SQLite file of its
 * own: an exclusive lock on the database itself would keep out our own readers. Throws `STORE_IN_USE`.
 */
export function holdExclusively(file: string): { release(): void } {
  const lockFile = `${file}.lock`
  let lock: DatabaseSync | undefined
  try {
    createPrivateFile(lockFile)
    lock = new DatabaseSync(lockFile, { timeout: 0 })
    lock.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT')
  } catch (thrown) {
    lock?.close()
    const error = storeError(thrown, lockFile)
    if (error.code !== 'STORE_LOCKED') throw error
    throw new HoldpointError(
      'STORE_IN_USE',
      `The database ${file} is in use by another control plane. Stop that one, or set DATA_DIR to another directory.`,
      { cause: thrown },
    )
  }
  const held = lock
  return { release: () => held.close() }
}
