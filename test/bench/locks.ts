// What locks cost a validate: one read of a decision from the store, in an org that holds none, ten, or ten thousand.
//
//   node --conditions=holdpoint-source test/bench/locks.ts

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { LockRecord, OrgRecord } from '../../src/control-plane/records.ts'
import type { ControlPlaneStore, DecisionReader } from '../../src/control-plane/store.ts'
import { openControlPlaneStore, openDecisionReader } from '../../src/store/sqlite/control-plane.ts'

const LOCKS = [0, 10, 10_000]
const QUESTIONS: Readonly<Record<string, readonly string[]>> = {
  '1 device': ['openai-agent:prod:payments:01'],
  '2 devices': ['openai-agent:prod:tool-server:01', 'openai-agent:prod:payments:01'],
  '2 devices of 8 segments': ['a:b:c:d:e:f:g:01', 'a:b:c:d:e:f:g:02'],
  '16 devices': Array.from({ length: 16 }, (_, index) => `openai-agent:prod:payments:${index}`),
}
const ROUNDS = 40
const ROUND_MS = 10

const orgOf = (locks: number): OrgRecord => ({
  orgId: `o_${locks}`,
  epoch: 0,
  disabled: false,
  orgSwitch: { epoch: 0, by: null, reason: null, atMs: null },
  planTier: 'max',
  planState: 'active',
  accessUntilMs: null,
  cap: 1000,
  used: 0,
  activeLocks: locks,
})

/** Among patterns of every shape; none stops a device that is asked about. */
const lockOf = (org: OrgRecord, index: number): LockRecord => ({
  lockId: `${org.orgId}-${index}`,
  pattern:
    [`openai-agent:prod:payments-${index}:*`, `*:*:surface-${index}`, `agent-${index}:*`][index % 3] ?? '',
  active: true,
  epoch: 0,
  reason: 'bench',
  by: 'local',
  remindAtMs: null,
  createdAtMs: 0,
  changedAtMs: 0,
})

async function fill(store: ControlPlaneStore, locks: number): Promise<void> {
  const org = orgOf(locks)
  const { orgId } = org
  const ids = [...new Set(Object.values(QUESTIONS).flat())]
  await store.change(orgId, {}, () => ({
    result: undefined,
    org: { ...org, used: ids.length },
    keys: [
      {
        keyId: `key-${locks}`,
        orgId,
        kind: 'runtime',
        name: null,
        digest: 'ab'.repeat(32),
        bindings: null,
        createdAtMs: 0,
        createdBy: 'local',
        endsAtMs: null,
        endedAtMs: null,
        endedAs: null,
        replacedBy: null,
      },
    ],
    devices: ids.map((deviceId, index) => ({
      deviceId,
      revoked: false,
      removed: false,
      slot: index + 1,
      epoch: 0,
      reason: null,
      remindAtMs: null,
      labels: {},
      createdAtMs: 0,
      changedAtMs: 0,
    })),
    locks: Array.from({ length: locks }, (_, index) => lockOf(org, index)),
  }))
}

/** Microseconds for one read. */
function readUs(reader: DecisionReader, keyId: string, deviceIds: readonly string[]): number {
  const startMs = performance.now()
  let reads = 0
  while (performance.now() - startMs < ROUND_MS) {
    for (let n = 0; n < 20; n++) void reader.read(keyId, deviceIds)
    reads += 20
  }
  return ((performance.now() - startMs) / reads) * 1000
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}

const dir = mkdtempSync(join(tmpdir(), 'holdpoint-bench-'))
const file = join(dir, 'control-plane.db')
const store = openControlPlaneStore({ file })
for (const locks of LOCKS) await fill(store, locks)
const { reader, close } = openDecisionReader(file)

const columns = LOCKS.map((locks) => `${locks} locks`)
console.log(
  ['us per read'.padEnd(24), ...columns.map((text) => text.padStart(12)), '10,000 : 10'.padStart(12)].join(
    ' ',
  ),
)
for (const [name, deviceIds] of Object.entries(QUESTIONS)) {
  const samples = LOCKS.map((): number[] => [])
  // Round by round, so that what else the machine does falls on all of them alike.
  for (let round = 0; round < ROUNDS; round++) {
    for (const [index, locks] of LOCKS.entries())
      samples[index]?.push(readUs(reader, `key-${locks}`, deviceIds))
  }
  const [none = 0, few = 0, many = 0] = samples.map(median)
  const cells = [none, few, many].map((us) => us.toFixed(2).padStart(12))
  console.log([name.padEnd(24), ...cells, (many / few).toFixed(2).padStart(12)].join(' '))
}

close()
await store.close()
rmSync(dir, { recursive: true })
