// G1, G5: what was acked is what every reader sees. One writer stops and restores devices, and notes each ack in
// memory that all threads share; readers, each with a connection of its own in a thread of its own, note what was
// acked before they ask, and must see at least that. The writer also begins what it takes back again.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { Worker } from 'node:worker_threads'

import { createService } from '../../src/control-plane/service.ts'
import type { ControlPlaneStore, OrgSnapshot } from '../../src/control-plane/store.ts'
import { keepWasmCodeUnshared } from '../../src/programs/thread-wasm.ts'
import { openControlPlaneStore } from '../../src/store/sqlite/control-plane.ts'
import { openSqlite } from '../../src/store/sqlite/open.ts'

/** What is shared, by place: epochs are those of this run, which begin at 0. */
export const AT = { begun: 0, org: 1, reads: 2, finished: 3, devices: 4 } as const

export interface Finding {
  readonly what: 'stale' | 'uncommitted' | 'torn' | 'went back' | 'wrong state'
  readonly read: number
  readonly orgEpoch: number
  readonly epochs: readonly number[]
  readonly ackedDevice: number
  readonly ackedOrg: number
  readonly begun: number
}

/** Something broken on purpose, that must be found. */
export type Mutant = 'cache' | 'ack before commit' | 'commit what is taken back' | undefined

export interface ReaderData {
  readonly file: string
  readonly keyId: string
  readonly deviceIds: readonly string[]
  readonly shared: Int32Array<SharedArrayBuffer>
  /** Whether the device that has an epoch of its own was revoked by it: 1 for yes. */
  readonly states: Int8Array<SharedArrayBuffer>
  readonly reads: number
  readonly seed: number
  readonly mutant: Mutant
}

export interface StaleReads {
  readonly seed: number
  readonly reads: number
  readonly commits: number
  readonly takenBack: number
  readonly seconds: number
  readonly findings: readonly Finding[]
}

const DEVICES = 4
const MAX_EPOCHS = 4_000_000
const NEVER = 2 ** 40

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

export async function findStaleReads(options: {
  readonly seed: number
  readonly reads: number
  readonly readers?: number
  readonly mutant?: Mutant
}): Promise<StaleReads> {
  const { seed, reads, readers = 2, mutant } = options
  const dir = await mkdtemp(join(tmpdir(), 'holdpoint-stale-reads-'))
  const file = join(dir, 'control-plane.db')
  const store = openControlPlaneStore({ file })
  const second = openSqlite(file)
  try {
    const { orgId, keyId, deviceIds } = await firstRows(store)
    const shared = new Int32Array(new SharedArrayBuffer(4 * (AT.devices + DEVICES)))
    const states = new Int8Array(new SharedArrayBuffer(MAX_EPOCHS))
    const startMs = performance.now()
    const found = Array.from({ length: readers }, (_, reader) =>
      startReader({
        file,
        keyId,
        deviceIds,
        shared,
        states,
        mutant,
        reads: Math.ceil(reads / readers),
        seed: seed + reader + 1,
      }),
    )
    const allFound = Promise.all(found)
    // Looked at below, once the writer has stopped.
    allFound.catch(() => {})
    const writer = createWriter({
      store,
      second,
      orgId,
      deviceIds,
      shared,
      states,
      random: seededRandom(seed),
      mutant,
    })
    // Until the last one is through, with a look at the messages of the threads now and then.
    while (Atomics.load(shared, AT.finished) < readers) {
      await writer.turn()
      if (writer.counts.commits % 50 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    const findings = (await allFound).flat()
    const seconds = (performance.now() - startMs) / 1000
    return { seed, reads: Math.ceil(reads / readers) * readers, ...writer.counts, seconds, findings }
  } finally {
    second.close()
    await store.close()
    await rm(dir, { recursive: true })
  }
}

async function firstRows(store: ControlPlaneStore) {
  const service = createService({ store, onDecisionsLost: () => {} })
  const { orgId, keys } = await service.createOrg({ kinds: ['full'] })
  const caller = { actor: 'test', kind: 'platform', requestId: null, origin: null } as const
  await service.setPlan(caller, orgId, { tier: 'custom', limit: DEVICES })
  const deviceIds = Array.from({ length: DEVICES }, (_, index) => `a:test:device:${index}`)
  for (const deviceId of deviceIds) await service.register(caller, orgId, { deviceId })
  return { orgId, deviceIds, keyId: keys.full?.split('_')[2] ?? '' }
}

function startReader(workerData: ReaderData): Promise<readonly Finding[]> {
  keepWasmCodeUnshared()
  return new Promise((resolve, reject) => {
    const worker = new Worker(join(import.meta.dirname, 'child-stale-reader.ts'), { workerData })
    worker.on('message', resolve).on('error', (error) => {
      // The writer waits for all of them.
      Atomics.add(workerData.shared, AT.finished, 1)
      reject(error)
    })
  })
}

function createWriter(options: {
  readonly store: ControlPlaneStore
  readonly second: DatabaseSync
  readonly orgId: string
  readonly deviceIds: readonly string[]
  readonly shared: Int32Array<SharedArrayBuffer>
  readonly states: Int8Array<SharedArrayBuffer>
  readonly random: () => number
  readonly mutant: Mutant
}) {
  const { store, second, orgId, deviceIds, shared, states, random, mutant } = options
  const counts = { commits: 0, takenBack: 0 }
  let epoch = 0

  const stopOrRestore = async (index: number, revoked: boolean) => {
    epoch++
    Atomics.store(states, epoch, revoked ? 1 : 0)
    Atomics.store(shared, AT.begun, epoch)
    const ack = () => {
      Atomics.store(shared, AT.devices + index, epoch)
      Atomics.store(shared, AT.org, epoch)
    }
    if (mutant === 'ack before commit') ack()
    await store.change(orgId, { devices: { ids: [deviceIds[index] ?? ''] } }, (found) => {
      const { org, devices } = found as OrgSnapshot
      const changed = devices.map((device) => ({ ...device, revoked, epoch }))
      return { org: { ...org, epoch }, devices: changed, result: undefined }
    })
    ack()
    counts.commits++
  }
  /** The second device cannot have the slot of the first, so the change of the first is taken back with it. */
  const failHalfway = async () => {
    const failing = store.change(orgId, { devices: { all: true } }, (found) => {
      const { org, devices } = found as OrgSnapshot
      const changed = devices.map((device) => ({
        ...device,
        revoked: !device.revoked,
        epoch: NEVER,
        slot: 1,
      }))
      return { org: { ...org, epoch: NEVER }, devices: changed, result: undefined }
    })
    await failing.then(
      () => Promise.reject(new Error('two devices have one slot')),
      () => {},
    )
    counts.takenBack++
  }
  const holdOpenAndTakeBack = () => {
    second.exec(
      `BEGIN IMMEDIATE; UPDATE orgs SET epoch = ${NEVER}; UPDATE devices SET epoch = ${NEVER}, revoked = 1 - revoked`,
    )
    const untilMs = performance.now() + random() * 0.3
    while (performance.now() < untilMs);
    second.exec(mutant === 'commit what is taken back' ? 'COMMIT' : 'ROLLBACK')
    counts.takenBack++
  }

  return {
    counts,
    turn: async () => {
      const dice = random()
      if (dice < 0.05) holdOpenAndTakeBack()
      else if (dice < 0.1) await failHalfway()
      else await stopOrRestore(Math.floor(random() * DEVICES), random() < 0.5)
      // Now and then it rests, so that readers see much the same for a while.
      if (random() < 0.01) await new Promise((resolve) => setTimeout(resolve, random() * 5))
    },
  }
}

export function summary({ seed, reads, commits, takenBack, seconds, findings }: StaleReads): string {
  const count = (what: Finding['what']) => findings.filter((finding) => finding.what === what).length
  return (
    `seed ${seed}: ${reads} reads against ${commits} acked commits and ${takenBack} taken back, in ${seconds.toFixed(1)} s: ` +
    `${count('stale')} stale, ${count('uncommitted')} uncommitted, ${count('torn')} torn, ` +
    `${count('went back')} went back, ${count('wrong state')} in a wrong state`
  )
}
