import type { DatabaseSync } from 'node:sqlite'

import type { StopReader } from '../../control-plane/stops/stop-store.ts'
import type { ControlPlaneStore, DecisionReader } from '../../control-plane/store.ts'
import { HoldpointError } from '../../errors.ts'
import { createApprovalStore } from './control-plane-approvals.ts'
import { createChange } from './control-plane-change.ts'
import { createEvidence } from './control-plane-evidence.ts'
import { createDecisionReader } from './control-plane-reader.ts'
import { createReads } from './control-plane-reads.ts'
import { CONTROL_PLANE_MIGRATIONS } from './control-plane-schema.ts'
import { createDeviceFinder } from './control-plane-selection.ts'
import { createDrillStore } from './drills.ts'
import { createDurability } from './durability.ts'
import { damageIn } from './integrity.ts'
import { holdExclusively } from './lock.ts'
import type { Statfs } from './local-disk.ts'
import { migrate } from './migrate.ts'
import { openSqlite, storeError } from './open.ts'
import { enterGeneration } from './restored.ts'
import { createSessionStore } from './sessions.ts'
import { createRunReports } from './run-reports.ts'
import { createStopEvidence } from './stop-evidence.ts'
import { createStopReader, createStopReads } from './stops.ts'
import { createWriter } from './transaction.ts'

export interface StoreOptions {
  readonly file: string
  /** Which file system a directory is on. Default `fs.statfsSync`. */
  readonly statfs?: Statfs | undefined
  /** Wall time in milliseconds, for what opening a backup writes. Default `Date.now`. */
  readonly nowMs?: (() => number) | undefined
}

/**
 * Opens the control plane's SQLite file, creating it when it is not there, and holds it for this process alone. A
 * backup begins a new generation, with every org disabled and every key ended.
 * Throws HoldpointError: `STORE_IN_USE`, `STORE_CORRUPT`, `STORE_NOT_WRITABLE`, `STORE_ON_NETWORK`, `STORE_TOO_NEW`,
 * `SQLITE_TOO_OLD`, …
 */
export function openControlPlaneStore({ file, statfs, nowMs = Date.now }: StoreOptions): ControlPlaneStore {
  const lock = holdExclusively(file, statfs)
  const opened: { close(): void }[] = []
  try {
    const db = openSqlite(file)
    opened.push(db)
    assertSound(db, file)
    migrate(db, file, CONTROL_PLANE_MIGRATIONS)
    const generation = enterGeneration(db, file, lock, nowMs)
    const readDb = openSqlite(file, { readOnly: true })
    opened.push(readDb)
    const reader = createDecisionReader(readDb, file)
    const stops = createStopReader(readDb, file)
    return createStore({ db, reader, stops, file, generation }, () => {
      readDb.close()
      closeWriter(db)
      lock.release()
    })
  } catch (thrown) {
    for (const connection of opened) connection.close()
    lock.release()
    throw storeError(thrown, file)
  }
}

/** A read connection of its own, for validates and streams of stops in another thread. The file must be open as a store already. */
export function openDecisionReader(file: string): {
  readonly reader: DecisionReader
  readonly stops: StopReader
  readonly close: () => void
} {
  const db = openSqlite(file, { readOnly: true })
  return {
    reader: createDecisionReader(db, file),
    stops: createStopReader(db, file),
    close: () => db.close(),
  }
}

function assertSound(db: DatabaseSync, file: string): void {
  const damage = damageIn(db, 'quick_check')
  if (damage === undefined) return
  throw new HoldpointError(
    'STORE_CORRUPT',
    `The database ${file} is damaged (${damage}). Restore it from a backup.`,
  )
}

function closeWriter(db: DatabaseSync): void {
  try {
    db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
  } catch {
    // What was committed is in the WAL all the same, and the next opening finds it there.
  }
  db.close()
}

interface Opened {
  readonly db: DatabaseSync
  readonly reader: DecisionReader
  readonly stops: StopReader
  readonly file: string
  readonly generation: number
}

function createStore({ db, reader, stops, file, generation }: Opened, close: () => void): ControlPlaneStore {
  const writer = createWriter(db, file)
  const finder = createDeviceFinder(db)
  return {
    reader: { read: (keyId, deviceIds) => writer.read(() => reader.read(keyId, deviceIds)) },
    stops: { since: (orgId, afterEpoch, limit) => writer.read(() => stops.since(orgId, afterEpoch, limit)) },
    generation,
    change: createChange(db, writer, finder),
    ...createReads(db, writer, finder),
    ...createEvidence(db, writer),
    ...createStopReads(db, writer),
    ...createStopEvidence(db, writer),
    ...createDrillStore(db, writer),
    ...createSessionStore(db, writer),
    ...createApprovalStore(db, writer, finder),
    ...createRunReports(db, writer),
    ...createDurability(db, writer),
    problem: () => writer.problem(),
    close: async () => close(),
  }
}
