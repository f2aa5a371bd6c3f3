import { stopActions, type DecisionFacts } from './explain.ts'
import { matchesDevicePattern } from '../device-patterns.ts'
import type { AuditRow, DecisionRecord, KeyRecord, OrgRecord } from './records.ts'
import type { ControlPlaneStore } from './store.ts'

/** How many changes of locks are looked through for the one that held a device. */
const LOCK_CHANGES = 500

/**
 * What is known about the decisions of one question. Changes nothing, and is no decision itself. `caller` is the key
 * that wants to know.
 */
export async function factsOf(
  store: ControlPlaneStore,
  { caller, org, nowMs }: { readonly caller: KeyRecord; readonly org: OrgRecord; readonly nowMs: number },
  decisions: readonly DecisionRecord[],
): Promise<readonly DecisionFacts[]> {
  const ids = decisions.map(({ deviceId }) => deviceId)
  const snapshot = await store.reader.read(caller.keyId, ids)
  const facts = []
  for (const [index, decision] of decisions.entries()) {
    facts.push({
      decision,
      stop: await stopOf(store, decision),
      key: await store.findKey(decision.keyId),
      org,
      device: snapshot?.devices[index],
      locks: await store.locksOn(org.orgId, decision.deviceId),
      nowMs,
    })
  }
  return facts
}

/** The change that was in force when it was decided: the newest one until then. */
async function stopOf(store: ControlPlaneStore, decision: DecisionRecord): Promise<AuditRow | undefined> {
  const { orgId, code, deviceId, atMs } = decision
  const actions = stopActions(code)
  if (actions.length === 0) return undefined
  if (code === 'DEVICE_LOCKED') return lockOn(store, decision)
  const ofDevice = code === 'DEVICE_REVOKED' || code === 'DEVICE_REMOVED'
  return store.findAudit(orgId, { actions, deviceId: ofDevice ? deviceId : undefined, untilMs: atMs })
}

/** A row of a lock names a pattern, so they are gone through: back from the decision to the one that held then. */
async function lockOn(
  store: ControlPlaneStore,
  { orgId, deviceId, atMs }: DecisionRecord,
): Promise<AuditRow | undefined> {
  const released = new Set<unknown>()
  let looked = 0
  for await (const row of lockChanges(store, orgId, atMs)) {
    const { lockId, pattern } = row.after as { readonly lockId: string; readonly pattern: string }
    if (row.action === 'lock.release') released.add(lockId)
    else if (!released.has(lockId) && matchesDevicePattern(pattern, deviceId)) return row
    if (++looked === LOCK_CHANGES) return undefined
  }
  return undefined
}

const LOCK_ACTIONS = ['lock.add', 'lock.release']

/** Newest first. */
async function* lockChanges(
  store: ControlPlaneStore,
  orgId: string,
  untilMs: number,
): AsyncGenerator<AuditRow, void, void> {
  let row: AuditRow | undefined
  do {
    row = await store.findAudit(orgId, { actions: LOCK_ACTIONS, untilMs, beforeSeq: row?.seq })
    if (row !== undefined) yield row
  } while (row !== undefined)
}
