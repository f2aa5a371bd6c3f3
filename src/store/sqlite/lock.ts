import { DatabaseSync } from 'node:sqlite'

import { HoldpointError } from '../../errors.ts'
import { assertLocalDisk, type Statfs } from './local-disk.ts'
import { createPrivateFile, storeError } from './open.ts'

export interface ExclusiveLock {
  /** The highest generation that was ever opened in this place. It is kept here, since a restore replaces the file. */
  readonly seenGeneration: () => number
  readonly noteGeneration: (generation: number) => void
  readonly release: () => void
}

/**
 * Holds `<file>.lock` until `release`, or until this process ends in whatever way. It is a SQLite file of its
 * own: an exclusive lock on the database itself would keep out our own readers. Throws `STORE_IN_USE`, or
 * `STORE_ON_NETWORK`, since such a lock holds nobody off there.
 */
export function holdExclusively(file: string, statfs?: Statfs): ExclusiveLock {
  const lockFile = `${file}.lock`
  let lock: DatabaseSync | undefined
  try {
    assertLocalDisk(file, statfs)
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
  const seenGeneration = () => Number(held.prepare('PRAGMA user_version').get()?.['user_version'])
  return {
    seenGeneration,
    noteGeneration: (generation) => {
      if (generation > seenGeneration()) held.exec(`PRAGMA user_version = ${generation}`)
    },
    release: () => held.close(),
  }
}
