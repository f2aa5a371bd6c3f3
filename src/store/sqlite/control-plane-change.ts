import type { DatabaseSync } from 'node:sqlite'

import type { AuditEntry, AuditRow, DeviceRecord, OrgRecord } from '../../control-plane/records.ts'
import type { Change, ControlPlaneStore, OrgSnapshot, Wanted } from '../../control-plane/store.ts'
import { createApprovalChanges } from './control-plane-approvals.ts'
import { nextAuditRows } from '../audit-rows.ts'
import * as rows from '../control-plane-rows.ts'
import { sessions } from '../desk-rows.ts'
import type { DeviceFinder } from './control-plane-selection.ts'
import { OPEN_SESSIONS } from './sessions.ts'
import { insert, update, upsert } from './statements.ts'
import type { Writer } from './transaction.ts'

/** The one way anything but evidence is written: read, decide, write and commit, with no await in between. */
export function createChange(
  db: DatabaseSync,
  writer: Writer,
  finder: DeviceFinder,
): ControlPlaneStore['change'] {
  const read = createSnapshotReader(db, finder)
  const write = createChangeWriter(db)
  return async (orgId, wanted, decide) =>
    writer.transact(() => {
      const change = decide(read(orgId, wanted))
      const audit = write(orgId, change)
      return { result: change.result, audit }
    })
}

function createSnapshotReader(db: DatabaseSync, finder: DeviceFinder) {
  const desk = createApprovalChanges(db)
  const statements = {
    org: db.prepare(`SELECT ${rows.orgs.list} FROM orgs WHERE org_id = ?`),
    key: db.prepare(`SELECT ${rows.keys.list} FROM keys WHERE org_id = ? AND key_id = ?`),
    lock: db.prepare(`SELECT ${rows.locks.list} FROM locks WHERE org_id = ? AND lock_id = ?`),
    lockOn: db.prepare(
      `SELECT ${rows.locks.list} FROM locks WHERE org_id = ? AND pattern = ? AND active = 1`,
    ),
    link: db.prepare(`SELECT ${rows.links.list} FROM recovery_links WHERE org_id = ? AND digest = ?`),
    session: db.prepare(`SELECT ${sessions.list} FROM sessions WHERE org_id = ? AND session_id = ?`),
    sessions: db.prepare(OPEN_SESSIONS),
    owners: db.prepare('SELECT email FROM owners WHERE org_id = ? ORDER BY email'),
    highestSlot: db.prepare(
      'SELECT coalesce(max(slot), 0) AS slot FROM devices WHERE org_id = ? AND slot IS NOT NULL',
    ),
    // The first slot whose successor is free; slot 0 stands before them all.
    firstGap: db.prepare(
      `SELECT slot + 1 AS slot
       FROM (SELECT 0 AS slot UNION ALL SELECT slot FROM devices WHERE org_id = ?1 AND slot IS NOT NULL) taken
       WHERE NOT EXISTS (SELECT 1 FROM devices next WHERE next.org_id = ?1 AND next.slot = taken.slot + 1)
       ORDER BY slot LIMIT 1`,
    ),
  }
  const freeSlot = ({ orgId, used }: OrgRecord): number => {
    const highest = Number(statements.highestSlot.get(orgId)?.['slot'])
    return highest === used ? used + 1 : Number(statements.firstGap.get(orgId)?.['slot'])
  }
  const findKey = (orgId: string, keyId: string | undefined) => {
    const row = keyId === undefined ? undefined : statements.key.get(orgId, keyId)
    return row && rows.keys.of(row)
  }
  const findLock = (orgId: string, wanted: Wanted['lock']) => {
    if (wanted === undefined) return undefined
    const row =
      'lockId' in wanted
        ? statements.lock.get(orgId, wanted.lockId)
        : statements.lockOn.get(orgId, wanted.activePattern)
    return row && rows.locks.of(row)
  }
  const findLink = (orgId: string, digest: string | undefined) => {
    const row = digest === undefined ? undefined : statements.link.get(orgId, digest)
    return row && rows.links.of(row)
  }
  const findSession = (orgId: string, sessionId: string | undefined) => {
    const row = sessionId === undefined ? undefined : statements.session.get(orgId, sessionId)
    return row && sessions.of(row)
  }
  const findDevices = (org: OrgRecord, { devices: selection, deviceLimit }: Wanted) => {
    if (selection === undefined) return { devices: [], deviceCount: 0, lockedDevices: new Set<string>() }
    const { devices, count } = finder.find(org.orgId, selection, deviceLimit)
    const ids = 'ids' in selection ? selection.ids : devices.map(({ deviceId }) => deviceId)
    return { devices, deviceCount: count, lockedDevices: finder.locked(org, ids) }
  }

  return (orgId: string, wanted: Wanted): OrgSnapshot | undefined => {
    const row = statements.org.get(orgId)
    if (row === undefined) return undefined
    const org = rows.orgs.of(row)
    return {
      org,
      callerKey: findKey(orgId, wanted.callerKeyId),
      callerSession: findSession(orgId, wanted.callerSessionId),
      ...findDevices(org, wanted),
      lowestFreeSlot: wanted.freeSlot ? freeSlot(org) : undefined,
      lock: findLock(orgId, wanted.lock),
      key: findKey(orgId, wanted.keyId),
      owners: wanted.owners ? statements.owners.all(orgId).map(({ email }) => email as string) : [],
      link: findLink(orgId, wanted.link),
      sessions: wanted.sessions ? statements.sessions.all(orgId).map(sessions.of) : [],
      approvals: desk.read(orgId, wanted.approvals),
      approvalCounts: wanted.approvalCounts ? desk.counts(orgId, wanted.callerKeyId) : undefined,
    }
  }
}

/** Writes what a change says, inside a transaction; answers its audit rows. */
export function createChangeWriter(db: DatabaseSync) {
  const { orgs, devices, locks, keys, links, audit } = rows
  const deviceColumns = ['org_id', ...devices.columns]
  const deviceKey = ['org_id', 'device_id']
  const statements = {
    org: db.prepare(upsert('orgs', orgs.columns, ['org_id'])),
    device: db.prepare(upsert('devices', deviceColumns, deviceKey)),
    deviceInItsSlot: db.prepare(update('devices', deviceColumns, [...deviceKey, 'slot', 'removed'])),
    lock: db.prepare(upsert('locks', ['org_id', ...locks.columns], ['lock_id'])),
    key: db.prepare(upsert('keys', keys.columns, ['key_id'])),
    link: db.prepare(upsert('recovery_links', links.columns, ['digest'])),
    session: db.prepare(upsert('sessions', sessions.columns, ['session_id'])),
    addOwner: db.prepare('INSERT INTO owners (org_id, email) VALUES (?, ?) ON CONFLICT DO NOTHING'),
    removeOwner: db.prepare('DELETE FROM owners WHERE org_id = ? AND email = ?'),
    lastAudit: db.prepare('SELECT seq, hash FROM audit WHERE org_id = ? ORDER BY seq DESC LIMIT 1'),
    audit: db.prepare(insert('audit', audit.columns)),
  }
  const { org, lock, key, link } = statements
  const desk = createApprovalChanges(db)
  const writeDevice = (orgId: string, record: DeviceRecord) => {
    const values = [orgId, ...devices.values(record)]
    if (statements.deviceInItsSlot.run(...values).changes === 0) statements.device.run(...values)
  }
  const appendAudit = (orgId: string, entries: readonly AuditEntry[]): AuditRow[] => {
    if (entries.length === 0) return []
    const last = statements.lastAudit.get(orgId) as Pick<AuditRow, 'seq' | 'hash'> | undefined
    const added = nextAuditRows(orgId, last, entries)
    for (const row of added) statements.audit.run(...audit.values(row))
    return added
  }
  return (orgId: string, change: Change<unknown>): AuditRow[] => {
    if (change.org !== undefined) org.run(...orgs.values(change.org))
    change.removeOwners?.forEach((email) => statements.removeOwner.run(orgId, email))
    change.addOwners?.forEach((email) => statements.addOwner.run(orgId, email))
    change.keys?.forEach((record) => key.run(...keys.values(record)))
    change.devices?.forEach((record) => writeDevice(orgId, record))
    change.locks?.forEach((record) => lock.run(orgId, ...locks.values(record)))
    change.links?.forEach((record) => link.run(...links.values(record)))
    change.sessions?.forEach((record) => statements.session.run(...sessions.values(record)))
    desk.write(orgId, change.approvals, change.keepSpareApprovals)
    return appendAudit(orgId, change.audit ?? [])
  }
}
