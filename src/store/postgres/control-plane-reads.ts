import { patternsMatching } from '../../control-plane/patterns.ts'
import type { ControlPlaneReads } from '../control-plane-parts.ts'
import * as rows from '../control-plane-rows.ts'
import { lastSeenOf, overdueDevice, overdueLock } from '../read-rows.ts'
import type { DeviceFinder } from './control-plane-selection.ts'
import type { Database } from './database.ts'
import { jsonTexts } from './statements.ts'

/** What is read outside of changes. */
export function createReads({ query, read, snapshot }: Database, finder: DeviceFinder): ControlPlaneReads {
  const texts = async (column: string, text: string, values?: readonly rows.Value[]) =>
    (await query(text, values)).map((row) => row[column] as string)

  return {
    findKey: async (keyId) => (await query(KEY, [keyId])).map(rows.keys.of)[0],
    listKeys: async (orgId) =>
      (await query(KEYS, [orgId])).map((row) => ({
        ...rows.keys.of(row),
        lastUsedAtMs: row['last_used_at_ms'] as number | null,
      })),
    countOrgs: async () => Number((await query(COUNT_ORGS))[0]?.['orgs']),
    listOrgs: ({ after, limit }) => texts('org_id', ORG_IDS, [after, limit]),
    findUsage: async (orgId, nowMs) => {
      const [row] = await query(USAGE, [orgId, nowMs])
      if (row === undefined) return undefined
      return { org: rows.orgs.of(row), revoked: Number(row['revoked']), overdue: Number(row['overdue']) }
    },
    listDevices: (orgId, { after = '', limit }) =>
      snapshot(async (session) => {
        const [[orgRow], found] = await Promise.all([
          session.query(ORG, [orgId]),
          session.query(DEVICES, [orgId, after, limit ?? null]),
        ])
        if (orgRow === undefined) return undefined
        const org = rows.orgs.of(orgRow)
        const ids = found.map((row) => row['device_id'] as string)
        const locked = await finder.locked(session, org, ids)
        const devices = found.map((row) => {
          const device = rows.devices.of(row)
          return { ...device, locked: locked.has(device.deviceId), lastSeen: lastSeenOf(row) }
        })
        return { org, devices }
      }),
    listLocks: async (orgId, { all }) =>
      (await query(all ? LOCKS : ACTIVE_LOCKS, [orgId])).map(rows.locks.of),
    locksOn: async (orgId, deviceId) =>
      (await query(LOCKS_ON, [orgId, jsonTexts(patternsMatching(deviceId))])).map(rows.locks.of),
    listOwners: (orgId) => texts('email', OWNERS, [orgId]),
    findOrgsOwnedBy: (email) => texts('org_id', OWNED, [email]),
    findLink: async (digest) => (await query(LINK, [digest])).map(rows.links.of)[0],

    plansEnded: (nowMs) => texts('org_id', PLANS_ENDED, [nowMs]),
    keysEnded: async (nowMs) => (await query(KEYS_ENDED, [nowMs])).map(rows.keys.of),
    stopsOverdue: async (afterMs, untilMs) => {
      const [devices, locks] = await read(({ query: ask }) =>
        Promise.all([ask(DEVICES_OVERDUE, [afterMs, untilMs]), ask(LOCKS_OVERDUE, [afterMs, untilMs])]),
      )
      return [...devices.map(overdueDevice), ...locks.map(overdueLock)].sort(
        (a, b) => a.remindAtMs - b.remindAtMs,
      )
    },
  }
}

const { orgs, devices, locks, keys, links } = rows
const of = (table: string, columns: readonly string[]) => columns.map((name) => `${table}.${name}`).join(', ')

const ORG = `SELECT ${orgs.list} FROM orgs WHERE org_id = $1`
const COUNT_ORGS = 'SELECT count(*) AS orgs FROM orgs'
const ORG_IDS = 'SELECT org_id FROM orgs WHERE org_id > $1 ORDER BY org_id LIMIT $2'
const LIVE_STOP = 'org_id = $1 AND revoked = 1 AND removed = 0'
const USAGE = `SELECT ${orgs.list},
    (SELECT count(*) FROM devices WHERE ${LIVE_STOP}) AS revoked,
    (SELECT count(*) FROM devices WHERE ${LIVE_STOP} AND remind_at_ms <= $2)
    + (SELECT count(*) FROM locks WHERE org_id = $1 AND active = 1 AND remind_at_ms <= $2) AS overdue
  FROM orgs WHERE org_id = $1`
const KEY = `SELECT ${keys.list} FROM keys WHERE key_id = $1`
const KEYS = `SELECT ${of('keys', keys.columns)}, keys_seen.at_ms AS last_used_at_ms
  FROM keys LEFT JOIN keys_seen USING (key_id)
  WHERE org_id = $1 ORDER BY created_at_ms, key_id`
const DEVICES = `SELECT ${of('devices', devices.columns)},
    seen.at_ms AS seen_at_ms, seen.code AS seen_code, seen.key_id AS seen_key_id
  FROM devices LEFT JOIN devices_seen seen USING (org_id, device_id)
  WHERE org_id = $1 AND device_id > $2 AND removed = 0 ORDER BY device_id LIMIT $3`
const ORDERED = 'ORDER BY created_at_ms, lock_id'
const LOCKS_OF = `SELECT ${locks.list} FROM locks WHERE org_id = $1`
const LOCKS = `${LOCKS_OF} ${ORDERED}`
const ACTIVE_LOCKS = `${LOCKS_OF} AND active = 1 ${ORDERED}`
const LOCKS_ON = `${LOCKS_OF} AND active = 1 AND pattern IN (SELECT json_array_elements_text($2::json)) ${ORDERED}`
const OWNERS = 'SELECT email FROM owners WHERE org_id = $1 ORDER BY email'
const OWNED = 'SELECT org_id FROM owners WHERE email = $1 ORDER BY org_id'
const LINK = `SELECT ${links.list} FROM recovery_links WHERE digest = $1`
const PLANS_ENDED =
  "SELECT org_id FROM orgs WHERE plan_state = 'canceled' AND access_until_ms <= $1 ORDER BY access_until_ms"
const KEYS_ENDED = `SELECT ${keys.list} FROM keys WHERE ends_at_ms <= $1 AND ended_at_ms IS NULL ORDER BY ends_at_ms`
const DEVICES_OVERDUE = `SELECT org_id, ${devices.list} FROM devices
  WHERE revoked = 1 AND removed = 0 AND remind_at_ms > $1 AND remind_at_ms <= $2`
const LOCKS_OVERDUE = `SELECT org_id, ${locks.list} FROM locks
  WHERE active = 1 AND remind_at_ms > $1 AND remind_at_ms <= $2`
