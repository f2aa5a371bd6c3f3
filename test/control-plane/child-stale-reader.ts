// A thread that reads as a validate does, and holds each answer against what was acked before it asked.
// See stale-reads.ts.

import { parentPort, workerData } from 'node:worker_threads'

import type { DecisionReader, DecisionSnapshot, DeviceState } from '../../src/control-plane/store.ts'
import { openDecisionReader } from '../../src/store/sqlite/control-plane.ts'
import { AT, seededRandom, type Finding, type ReaderData } from './stale-reads.ts'

/** Of a reader that caches: what must be found out. */
function keptFor(reader: DecisionReader, reads: number): DecisionReader {
  let kept: ReturnType<DecisionReader['read']>
  let left = 0
  return {
    read: (keyId, deviceIds) => {
      if (left-- > 0) return kept
      left = reads
      return (kept = reader.read(keyId, deviceIds))
    },
  }
}

function run({ file, keyId, deviceIds, shared, states, reads, seed, mutant }: ReaderData): Finding[] {
  const opened = openDecisionReader(file)
  const reader = mutant === 'cache' ? keptFor(opened.reader, 20) : opened.reader
  const random = seededRandom(seed)
  const findings: Finding[] = []
  const isAsWritten = (device: DeviceState | undefined) =>
    device !== undefined &&
    device.epoch < states.length &&
    device.revoked === (Atomics.load(states, device.epoch) === 1)
  let highest = 0
  for (let read = 0; read < reads && findings.length < 100; read++) {
    const index = Math.floor(random() * deviceIds.length)
    // Noted before the question is asked, as an operator's ack is.
    const ackedDevice = Atomics.load(shared, AT.devices + index)
    const ackedOrg = Atomics.load(shared, AT.org)
    const snapshot = reader.read(keyId, deviceIds) as DecisionSnapshot
    const begun = Atomics.load(shared, AT.begun)
    const { orgEpoch, devices } = snapshot
    const epochs = devices.map((device) => device?.epoch ?? -1)
    const found = (what: Finding['what']) =>
      findings.push({ what, read, orgEpoch, epochs, ackedDevice, ackedOrg, begun })
    if ((epochs[index] ?? -1) < ackedDevice || orgEpoch < ackedOrg) found('stale')
    if (orgEpoch < highest) found('went back')
    if (Math.max(orgEpoch, ...epochs) > begun) found('uncommitted')
    if (orgEpoch !== Math.max(...epochs)) found('torn')
    if (devices.some((device) => !isAsWritten(device))) found('wrong state')
    highest = Math.max(highest, orgEpoch)
    if (read % 256 === 255) Atomics.add(shared, AT.reads, 256)
  }
  Atomics.add(shared, AT.finished, 1)
  opened.close()
  return findings
}

if (parentPort !== null) parentPort.postMessage(run(workerData as ReaderData))
