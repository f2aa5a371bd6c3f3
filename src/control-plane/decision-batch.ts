import type { DecisionRecord, LastSeen } from './records.ts'
import type { DecisionBatch } from './store.ts'

/** Between two batches. */
const MAX_DEVICES_SEEN = 10_000
const MAX_ORGS_COUNTED = 10_000
export const MS_PER_MINUTE = 60_000

export type Decision = Omit<DecisionRecord, 'atMs'>

/** What one thread has noted since its last batch. */
export interface LaneBatch extends DecisionBatch {
  /** How many decisions there were by code, stored or not. */
  readonly counts: ReadonlyMap<string, number>
  /** How many decisions were dropped, because the disk did not keep up. */
  readonly lost: number
  /** How many decisions there were, stored or not: by minute, org and cell of `RATE_CELLS`. */
  readonly rates: DecisionCounts
}

/** The first is the minute, in whole minutes since 1970. */
export type DecisionCounts = ReadonlyMap<number, ReadonlyMap<string, Uint32Array>>

/** What is counted apart: each boundary by name, whatever else callers call theirs as null, allowed or not. */
export const RATE_CELLS: readonly { readonly boundary: string | null; readonly allowed: boolean }[] = [
  null,
  'startup',
  'task',
  'tool',
  'side_effect',
  'resume',
].flatMap((boundary) => [true, false].map((allowed) => ({ boundary, allowed })))

/** A switch, which is no look-up: a validate waits for it. */
function cellOf(boundary: string | null, code: string): number {
  const denied = code === 'ALLOW' ? 0 : 1
  switch (boundary) {
    case 'startup':
      return 2 + denied
    case 'task':
      return 4 + denied
    case 'tool':
      return 6 + denied
    case 'side_effect':
      return 8 + denied
    case 'resume':
      return 10 + denied
    case null:
    default:
      return denied
  }
}

/** Counts by code, and the last time of each key and device: however many decisions, one entry each. */
export function createSeen() {
  let counts = new Map<string, number>()
  let keysUsed = new Map<string, number>()
  let devicesSeen = new Map<string, Map<string, LastSeen>>()
  let devices = 0
  let rates = new Map<number, Map<string, Uint32Array>>()
  let minute = -1
  let ofMinute = new Map<string, Uint32Array>()

  const count = ({ orgId, boundary, code }: Decision, atMs: number): void => {
    const now = Math.floor(atMs / MS_PER_MINUTE)
    if (now !== minute) {
      minute = now
      rates.set(minute, (ofMinute = rates.get(minute) ?? new Map<string, Uint32Array>()))
    }
    let cells = ofMinute.get(orgId)
    if (cells === undefined) {
      if (ofMinute.size >= MAX_ORGS_COUNTED) return
      ofMinute.set(orgId, (cells = new Uint32Array(RATE_CELLS.length)))
    }
    const cell = cellOf(boundary, code)
    cells[cell] = (cells[cell] ?? 0) + 1
  }
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
      count(decision, atMs)
    },
    keyUsed: (keyId: string, atMs: number): void => void keysUsed.set(keyId, atMs),
    take: (): LaneBatch | undefined => {
      if (keysUsed.size === 0) return undefined
      const batch = { decisions: [], keysUsed, devicesSeen, counts, lost: 0, rates }
      counts = new Map()
      rates = new Map()
      minute = -1
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
  return {
    decisions: [],
    keysUsed: new Map(),
    devicesSeen: new Map(),
    counts: new Map(),
    lost: 0,
    rates: new Map(),
  }
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
