import { patternsMatching } from '../../control-plane/patterns.ts'
import type { DeviceRecord, OrgRecord } from '../../control-plane/records.ts'
import type { DeviceSelection } from '../../control-plane/store.ts'
import * as rows from '../control-plane-rows.ts'
import { devicePatternRange, devicePatternRegex } from '../device-pattern-regex.ts'
import type { Session } from './session.ts'
import { jsonTexts } from './statements.ts'

export interface DeviceFinder {
  readonly find: (
    session: Session,
    orgId: string,
    selection: DeviceSelection,
    limit?: number,
  ) => Promise<{ readonly devices: readonly DeviceRecord[]; readonly count: number }>
  /** Those that an active lock matches. */
  readonly locked: (session: Session, org: OrgRecord, deviceIds: readonly string[]) => Promise<Set<string>>
}

const { devices } = rows
type Condition = readonly [sql: string, ...values: rows.Value[]]

/** Devices by what a `DeviceSelection` says, and the locks on them. */
export const deviceFinder: DeviceFinder = {
  find: async (session, orgId, selection, limit) => {
    if ('ids' in selection) return findByIds(session, orgId, selection.ids, limit)
    const [condition, ...values] = conditionOf(selection)
    const from = `FROM devices WHERE org_id = $1 AND removed = 0 AND ${condition}`
    // LIMIT NULL is none.
    const read = `SELECT ${devices.list} ${from} ORDER BY device_id LIMIT $${values.length + 2}`
    const counted =
      limit !== undefined && session.query(`SELECT count(*) AS devices ${from}`, [orgId, ...values])
    const [found, count] = await Promise.all([
      session.query(read, [orgId, ...values, limit ?? null]),
      counted,
    ])
    return {
      devices: found.map(devices.of),
      count: count === false ? found.length : Number(count[0]?.['devices']),
    }
  },

  locked: async (session, { orgId, activeLocks }, deviceIds) => {
    if (activeLocks === 0 || deviceIds.length === 0) return new Set()
    // Few devices: look up every pattern that could match them. Many: read every lock.
    const few = deviceIds.length <= 16
    const found = few
      ? await session.query(HELD_AMONG, [orgId, jsonTexts(deviceIds.flatMap(patternsMatching))])
      : await session.query(HELD, [orgId])
    const held = new Set(found.map(({ pattern }) => pattern))
    return new Set(deviceIds.filter((id) => patternsMatching(id).some((pattern) => held.has(pattern))))
  },
}

async function findByIds(
  session: Session,
  orgId: string,
  ids: readonly string[],
  limit: number | undefined,
): Promise<{ devices: DeviceRecord[]; count: number }> {
  const found = (await session.query(BY_IDS, [orgId, jsonTexts([...new Set(ids)])])).map(devices.of)
  return { devices: found.slice(0, limit), count: found.length }
}

// In the order that they were asked for.
const BY_IDS = `SELECT ${devices.list}
  FROM json_array_elements_text($2::json) WITH ORDINALITY asked (id, place)
  JOIN devices ON org_id = $1 AND device_id = asked.id ORDER BY place`
const HELD = 'SELECT pattern FROM locks WHERE org_id = $1 AND active = 1'
const HELD_AMONG = `${HELD} AND pattern IN (SELECT json_array_elements_text($2::json))`

function conditionOf(selection: Exclude<DeviceSelection, { readonly ids: unknown }>): Condition {
  if ('pattern' in selection) {
    const [first, last] = devicePatternRange(selection.pattern)
    return [
      'device_id BETWEEN $2 AND $3 AND device_id ~ $4',
      first,
      last,
      devicePatternRegex(selection.pattern),
    ]
  }
  if ('label' in selection) return ['labels ~ $2', labelRegex(selection.label)]
  if ('lastSeenBy' in selection) {
    const seen =
      'SELECT FROM devices_seen s WHERE s.org_id = devices.org_id AND s.device_id = devices.device_id'
    return [`EXISTS (${seen} AND s.key_id = $2)`, selection.lastSeenBy]
  }
  if ('slotAbove' in selection) return ['slot > $2', selection.slotAbove]
  return ['TRUE']
}

/**
 * Finds a member in the text that JSON.stringify makes of labels, from its beginning, member by member. Postgres itself
 * cannot read all of what JSON can say: it has no text with NUL or a lone surrogate.
 */
function labelRegex({ name, value }: { readonly name: string; readonly value: string }): string {
  const text = '"([^"\\\\]|\\\\.)*"'
  const wanted = `${JSON.stringify(name)}:${JSON.stringify(value)}`.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')
  return `^\\{(${text}:${text},)*${wanted}[,}]`
}
