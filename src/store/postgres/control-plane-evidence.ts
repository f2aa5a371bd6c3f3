import type { AuditRow, DecisionRecord } from '../../control-plane/records.ts'
import type { ControlPlaneEvidence } from '../control-plane-parts.ts'
import * as rows from '../control-plane-rows.ts'
import { devicePatternRegex } from '../device-pattern-regex.ts'
import { decisionConditions, firstIdAt } from '../filters.ts'
import { createAuditSearch } from './audit-search.ts'
import type { Database } from './database.ts'
import type { Session } from './session.ts'
import type { News } from './news.ts'
import { allOf, deleteSome, insertAll, jsonRows, rowsOf } from './statements.ts'

export interface EvidenceParts {
  /** Notes, in the transaction of these decisions, what the replicas among them were last denied. */
  readonly noteDenials: (session: Session, decisions: readonly DecisionRecord[]) => Promise<void>
  readonly news: Pick<News, 'noteDecisions' | 'committed'>
}

/** The audit chain, to be read, and the decisions, which are no part of it; what is old enough is deleted. */
export function createEvidence(
  database: Database,
  { noteDenials, news }: EvidenceParts,
): ControlPlaneEvidence {
  const { query, read, transact } = database
  return {
    listAudit: async (orgId, { after, limit }) =>
      (await query(AUDIT, [orgId, after, limit])).map(rows.audit.of),
    searchAudit: createAuditSearch(database),
    auditHead: async (orgId) => {
      const [row] = await query(AUDIT_HEAD, [orgId])
      return row && ({ seq: row['seq'], hash: row['hash'] } as Pick<AuditRow, 'seq' | 'hash'>)
    },
    findAudit: async (orgId, { actions, deviceId, untilMs, beforeSeq = Number.MAX_SAFE_INTEGER }) => {
      const found = await read((session) =>
        Promise.all(
          actions.map((action) => {
            const wanted = [orgId, action, untilMs, beforeSeq]
            return deviceId === undefined
              ? session.query(NEWEST_ABOUT_NONE, wanted)
              : session.query(NEWEST, [...wanted, deviceId])
          }),
        ),
      )
      return found
        .flat()
        .map(rows.audit.of)
        .sort((a, b) => b.seq - a.seq)[0]
    },

    recordDecisions: async ({ decisions, keysUsed, devicesSeen }) => {
      await transact(async (session) => {
        const keysSeen = Array.from(keysUsed, ([key_id, at_ms]) => ({ key_id, at_ms }))
        const seen = Array.from(devicesSeen, ([org_id, devices]) =>
          Array.from(devices, ([device_id, { atMs, code, keyId }]) => ({
            org_id,
            device_id,
            at_ms: atMs,
            code,
            key_id: keyId,
          })),
        ).flat()
        const put = async (statement: string, json: () => string, count: number) => {
          if (count > 0) await session.run(statement, [json()])
        }
        await Promise.all([
          put(ADD_DECISIONS, () => rowsOf(rows.decisions, decisions), decisions.length),
          noteDenials(session, decisions),
          news.noteDecisions(session, decisions),
          put(PUT_KEYS_SEEN, () => jsonRows(keysSeen), keysSeen.length),
          put(PUT_DEVICES_SEEN, () => jsonRows(seen), seen.length),
        ])
      })
      if (decisions.length > 0) news.committed()
    },
    listDecisions: async (orgId, filter, { before, limit }) => {
      const conditions = decisionConditions(filter, before)
      if (filter.device !== undefined) conditions.push(['device_id ~ ?', devicePatternRegex(filter.device)])
      const { sql, values } = allOf(conditions, 3)
      const found = await query(
        `SELECT ${rows.decisions.list} FROM decisions WHERE org_id = $1 AND ${sql}
         ORDER BY request_id DESC, ordinal LIMIT $2`,
        [orgId, limit, ...values],
      )
      return found.map(rows.decisions.of)
    },
    pruneDecisions: (beforeMs, limit) =>
      transact((session) => session.run(PRUNE_DECISIONS, [firstIdAt(beforeMs), limit])),
    pruneLinks: (beforeMs, limit) => transact((session) => session.run(PRUNE_LINKS, [beforeMs, limit])),
  }
}

const { audit, decisions } = rows

const AUDIT = `SELECT ${audit.list} FROM audit WHERE org_id = $1 AND seq > $2 ORDER BY seq LIMIT $3`
const AUDIT_HEAD = 'SELECT seq, hash FROM audit WHERE org_id = $1 ORDER BY seq DESC LIMIT 1'
const newestAbout = (device: string) => `SELECT ${audit.list} FROM audit
  WHERE org_id = $1 AND action = $2 AND at_ms <= $3 AND seq < $4 AND device_id ${device}
  ORDER BY seq DESC LIMIT 1`
const NEWEST = newestAbout('= $5')
const NEWEST_ABOUT_NONE = newestAbout('IS NULL')

const ADD_DECISIONS = `${insertAll('decisions', decisions.columns)} ON CONFLICT DO NOTHING`
// In the order of their keys, so that two nodes that write the same rows wait for each other in one direction.
const PUT_KEYS_SEEN = `${insertAll('keys_seen', ['key_id', 'at_ms'])} ORDER BY key_id
  ON CONFLICT (key_id) DO UPDATE SET at_ms = greatest(keys_seen.at_ms, excluded.at_ms)`
// Only of devices that are there: anybody may ask about any ID, and each would stay for ever.
const PUT_DEVICES_SEEN = `INSERT INTO devices_seen (org_id, device_id, at_ms, code, key_id)
  SELECT org_id, device_id, seen.at_ms, seen.code, seen.key_id
  FROM json_populate_recordset(NULL::devices_seen, $1::json) seen JOIN devices USING (org_id, device_id)
  ORDER BY org_id, device_id
  ON CONFLICT (org_id, device_id) DO UPDATE SET at_ms = excluded.at_ms, code = excluded.code, key_id = excluded.key_id
  WHERE excluded.at_ms >= devices_seen.at_ms`
// Org by org, since that is how they lie. What another node deletes at the same time is left to it.
const PRUNE_DECISIONS = `DELETE FROM decisions WHERE ctid = ANY (ARRAY(
  SELECT old.ctid FROM orgs CROSS JOIN LATERAL (
    SELECT ctid FROM decisions WHERE org_id = orgs.org_id AND request_id < $1
    ORDER BY request_id LIMIT $2 FOR UPDATE SKIP LOCKED
  ) old LIMIT $2))`
const PRUNE_LINKS = deleteSome('recovery_links', 'expires_at_ms < $1 LIMIT $2')
