import type { DatabaseSync } from 'node:sqlite'

import { patternsMatching } from '../../control-plane/patterns.ts'
import type { OrgRecord } from '../../control-plane/records.ts'
import type { ControlPlaneReads } from '../control-plane-parts.ts'
import * as rows from '../control-plane-rows.ts'
import { lastSeenOf, overdueDevice, overdueLock } from '../read-rows.ts'
import type { DeviceFinder } from './control-plane-selection.ts'
import type { Writer } from './transaction.ts'

/** What is read outside of changes. Each is done before anything else runs on this thread, so it is one snapshot. */
export function createReads(db: DatabaseSync, { read }: Writer, finder: DeviceFinder): ControlPlaneReads {
  const statements = prepare(db)
  const findOrg = (orgId: string): OrgRecord | undefined => {
    const row = statements.org.get(orgId)
    return row && rows.orgs.of(row)
  }

  return {
    findKey: async (keyId) =>
      read(() => {
        const row = statements.key.get(keyId)
        return row && rows.keys.of(row)
      }),
    listKeys: async (orgId) =>
      read(() =>
        statements.keys
          .all(orgId)
          .map((row) => ({ ...rows.keys.of(row), lastUsedAtMs: row['last_used_at_ms'] as number | null })),
      ),
    countOrgs: async () => read(() => Number(statements.countOrgs.get()?.['orgs'])),
    listOrgs: async ({ after, limit }) =>
      read(() => statements.orgIds.all(after, limit).map(({ org_id }) => org_id as string)),
    findUsage: async (orgId, nowMs) =>
      read(() => {
        const org = findOrg(orgId)
        if (org === undefined) return undefined
        const { revoked, overdue } = statements.usage.get({ orgId, nowMs }) ?? {}
        return { org, revoked: Number(revoked), overdue: Number(overdue) }
      }),
    listDevices: async (orgId, { after = '', limit = -1 }) =>
      read(() => {
        const org = findOrg(orgId)
        if (org === undefined) return undefined
        const found = statements.devices.all(orgId, after, limit)
        const locked = finder.locked(
          org,
          found.map((row) => row['device_id'] as string),
        )
        const devices = found.map((row) => {
          const device = rows.devices.of(row)
          return { ...device, locked: locked.has(device.deviceId), lastSeen: lastSeenOf(row) }
        })
        return { org, devices }
      }),
    listLocks: async (orgId, { all }) =>
      read(() => (all ? statements.locks : statements.activeLocks).all(orgId).map(rows.locks.of)),
    locksOn: async (orgId, deviceId) =>
      read(() =>
        statements.locksOn.all(JSON.stringify(patternsMatching(deviceId)), orgId).map(rows.locks.of),
      ),
    listOwners: async (orgId) => read(() => statements.owners.all(orgId).map(({ email }) => email as string)),
    findOrgsOwnedBy: async (email) =>
      read(() => statements.owned.all(email).map(({ org_id }) => org_id as string)),
    findLink: async (digest) =>
      read(() => {
        const row = statements.link.get(digest)
        return row && rows.links.of(row)
      }),

    plansEnded: async (nowMs) =>
      read(() => statements.plansEnded.all(nowMs).map(({ org_id }) => org_id as string)),
    keysEnded: async (nowMs) => read(() => statements.keysEnded.all(nowMs).map(rows.keys.of)),
    stopsOverdue: async (afterMs, untilMs) =>
      read(() =>
        [
          ...statements.devicesOverdue.all(afterMs, untilMs).map(overdueDevice),
          ...statements.locksOverdue.all(afterMs, untilMs).map(overdueLock),
        ].sort((a, b) => a.remindAtMs - b.remindAtMs),
      ),
  }
}

const LIVE_STOP = 'revoked = 1 AND removed = 0'

function prepare(db: DatabaseSync) {
  const { orgs, devices, locks, keys, links } = rows
  const of = (table: string, columns: readonly string[]) =>
    columns.map((name) => `${table}.${name}`).join(', ')
  const locksOfOrg = `SELECT ${locks.list} FROM locks WHERE org_id = ?`
  return {
    org: db.prepare(`SELECT ${orgs.list} FROM orgs WHERE org_id = ?`),
    countOrgs: db.prepare('SELECT count(*) AS orgs FROM orgs'),
    orgIds: db.prepare('SELECT org_id FROM orgs WHERE org_id > ? ORDER BY org_id LIMIT ?'),
    usage: db.prepare(
      `SELECT
         (SELECT count(*) FROM devices WHERE org_id = :orgId AND ${LIVE_STOP}) AS revoked,
         (SELECT count(*) FROM devices WHERE org_id = :orgId AND ${LIVE_STOP} AND remind_at_ms <= :nowMs)
         + (SELECT count(*) FROM locks WHERE org_id = :orgId AND active = 1 AND remind_at_ms <= :nowMs) AS overdue`,
    ),
    key: db.prepare(`SELECT ${keys.list} FROM keys WHERE key_id = ?`),
    keys: db.prepare(
      `SELECT ${of('keys', keys.columns)}, keys_seen.at_ms AS last_used_at_ms
       FROM keys LEFT JOIN keys_seen USING (key_id)
       WHERE org_id = ? ORDER BY created_at_ms, key_id`,
    ),
    devices: db.prepare(
      `SELECT ${of('devices', devices.columns)},
         seen.at_ms AS seen_at_ms, seen.code AS seen_code, seen.key_id AS seen_key_id
       FROM devices LEFT JOIN devices_seen seen USING (org_id, device_id)
       WHERE org_id = ? AND device_id > ? AND removed = 0 ORDER BY device_id LIMIT ?`,
    ),
    locks: db.prepare(`${locksOfOrg} ORDER BY created_at_ms, lock_id`),
    activeLocks: db.prepare(`${locksOfOrg} AND active = 1 ORDER BY created_at_ms, lock_id`),
    locksOn: db.prepare(
      `SELECT ${locks.list} FROM json_each(?) candidate
       CROSS JOIN locks ON org_id = ? AND active = 1 AND pattern = candidate.value
       ORDER BY created_at_ms, lock_id`,
    ),
    owners: db.prepare('SELECT email FROM owners WHERE org_id = ? ORDER BY email'),
    owned: db.prepare('SELECT org_id FROM owners WHERE email = ? ORDER BY org_id'),
    link: db.prepare(`SELECT ${links.list} FROM recovery_links WHERE digest = ?`),
    plansEnded: db.prepare(
      "SELECT org_id FROM orgs WHERE plan_state = 'canceled' AND access_until_ms <= ? ORDER BY access_until_ms",
    ),
    keysEnded: db.prepare(
      `SELECT ${keys.list} FROM keys WHERE ends_at_ms <= ? AND ended_at_ms IS NULL ORDER BY ends_at_ms`,
    ),
    devicesOverdue: db.prepare(
      `SELECT org_id, ${devices.list} FROM devices WHERE ${LIVE_STOP} AND remind_at_ms > ? AND remind_at_ms <= ?`,
    ),
    locksOverdue: db.prepare(
      `SELECT org_id, ${locks.list} FROM locks WHERE active = 1 AND remind_at_ms > ? AND remind_at_ms <= ?`,
    ),
  }
}
