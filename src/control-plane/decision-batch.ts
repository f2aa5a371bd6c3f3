import type { DecisionRecord, LastSeen } from './records.ts'
import type { DecisionBatch } from './store.ts'

/** Between two batches. */
const MAX_DEVICES_SEEN = 10_000

export type Decision = Omit<DecisionRecord, 'atMs'>

/** What one thread has noted since its last batch. */
export interface LaneBatch extends DecisionBatch {
  /** How many decisions there were by code, stored or not. */
  readonly counts: ReadonlyMap<string, number>
  /** How many decisions were dropped, because the disk did not keep up. */
  readonly lost: number
}

/** Counts by code, and the last time of each key and device: however many decisions, one entry each. */
export function createSeen() {
  let counts = new Map<string, number>()
  let keysUsed = new Map<string, number>()
  let devicesSeen = new Map<string, Map<string, LastSeen>>()
  let devices = 0

  const deviceSeen = ({ orgId, deviceId, code, keyId }: Decision, atMs: number): void => {
    let ofOrg = devicesSeen.get(orgId)
    if (ofOrg === undefined) devicesSeen.set(orgId, (ofOrg = new Map<string, LastSeen>()))
    if (!ofOrg.has(deviceId) && ++devices > MAX_DEVICES_SEEN) return
    ofOrg.set(deviceId, { atMs, code, keyId })
  }
  return {
    decided: (decision: Decision, registered: boolean, atMs: number): void => {
      counts.set(decision.code, (counts.get(decision.code) ?? 0) + 1)
      keysUsed.set(decision.keyId, atMs)
      if (registered) deviceSeen(decision, atMs)
    },
    keyUsed: (keyId: string, atMs: number): void => void keysUsed.set(keyId, atMs),
    take: (): LaneBatch | undefined => {
      if (keysUsed.size === 0) return undefined
      const batch = { decisions: [], keysUsed, devicesSeen, counts, lost: 0 }
      counts = new Map()
      keysUsed = new Map()
      devicesSeen = new Map()
      devices = 0
      return batch
    },
  }
}

/** The batch in parts of at most `maxRows` rows. */
export function* partsOf(batch: LaneBatch, maxRows: number): Generator<LaneBatch> {
  const { decisions, keysUsed, devicesSeen, ...rest } = batch
  let part: Part = { ...emptyPart(), ...rest }
  let rows = 0
  for (const put of rowsOf({ decisions, keysUsed, devicesSeen })) {
    if (rows === maxRows) {
      yield part
      part = emptyPart()
      rows = 0
    }
    put(part)
    rows++
  }
  yield part
}

interface Part extends LaneBatch {
  readonly decisions: DecisionRecord[]
  readonly keysUsed: Map<string, number>
  readonly devicesSeen: Map<string, Map<string, LastSeen>>
}

export function emptyPart(): Part {
  return { decisions: [], keysUsed: new Map(), devicesSeen: new Map(), counts: new Map(), lost: 0 }
}

function* rowsOf({ decisions, keysUsed, devicesSeen }: DecisionBatch): Generator<(part: Part) => void> {
  for (const decision of decisions) yield (part) => void part.decisions.push(decision)
  for (const [keyId, atMs] of keysUsed) yield (part) => void part.keysUsed.set(keyId, atMs)
  for (const [orgId, devices] of devicesSeen) {
    for (const [deviceId, lastSeen] of devices)
      yield (part) => noteSeen(part.devicesSeen, orgId, deviceId, lastSeen)
  }
}

function noteSeen(
  devicesSeen: Map<string, Map<string, LastSeen>>,
  orgId: string,
  deviceId: string,
  lastSeen: LastSeen,
): void {
  const ofOrg = devicesSeen.get(orgId)
  if (ofOrg === undefined) devicesSeen.set(orgId, new Map([[deviceId, lastSeen]]))
  else ofOrg.set(deviceId, lastSeen)
}
