import type { DatabaseSync, SQLInputValue } from 'node:sqlite'

import type { AuditRow } from '../../control-plane/records.ts'
import type { ControlPlaneStore, DecisionFilter } from '../../control-plane/store.ts'
import { createAuditSearch } from './audit-search.ts'
import * as rows from '../control-plane-rows.ts'
import { insert } from './statements.ts'
import { createDenialNotes } from './stop-evidence.ts'
import type { Writer } from './transaction.ts'

type Evidence = Pick<
  ControlPlaneStore,
  | 'listAudit'
  | 'searchAudit'
  | 'auditHead'
  | 'findAudit'
  | 'recordDecisions'
  | 'listDecisions'
  | 'pruneDecisions'
  | 'pruneLinks'
>

/** The audit chain, to be read, and the decisions, which are no part of it; what is old enough is deleted. */
export function createEvidence(db: DatabaseSync, writer: Writer): Evidence {
  const { read, transact } = writer
  const statements = prepare(db)
  const noteDenials = createDenialNotes(db)
  return {
    listAudit: async (orgId, { after, limit }) =>
      read(() => statements.audit.all(orgId, after, limit).map(rows.audit.of)),
    searchAudit: createAuditSearch(db, writer),
    auditHead: async (orgId) =>
      read(() => {
        const row = statements.auditHead.get(orgId)
        return row && ({ seq: row['seq'], hash: row['hash'] } as Pick<AuditRow, 'seq' | 'hash'>)
      }),
    findAudit: async (orgId, { actions, deviceId, untilMs, beforeSeq = Number.MAX_SAFE_INTEGER }) =>
      read(() => {
        const newestOf = (action: string) =>
          statements.newest.get(orgId, deviceId ?? null, action, untilMs, beforeSeq)
        const found = actions.map(newestOf).filter((row) => row !== undefined)
        return found.map(rows.audit.of).sort((a, b) => b.seq - a.seq)[0]
      }),

    recordDecisions: async ({ decisions, keysUsed, devicesSeen }) =>
      transact(() => {
        for (const decision of decisions) statements.decision.run(...rows.decisions.values(decision))
        noteDenials(decisions)
        for (const [keyId, atMs] of keysUsed) statements.keySeen.run(keyId, atMs)
        for (const [orgId, devices] of devicesSeen) {
          for (const [deviceId, { atMs, code, keyId }] of devices) {
            statements.deviceSeen.run(orgId, deviceId, atMs, code, keyId)
          }
        }
      }),
    listDecisions: async (orgId, filter, { before, limit }) =>
      read(() => {
        const [conditions, values] = conditionsOf(filter, before)
        return db
          .prepare(
            `SELECT ${rows.decisions.list} FROM decisions
             WHERE ${['org_id = ?', ...conditions].join(' AND ')}
             ORDER BY request_id DESC, ordinal LIMIT ?`,
          )
          .all(orgId, ...values, limit)
          .map(rows.decisions.of)
      }),
    pruneDecisions: async (beforeMs, limit) =>
      transact(() => Number(statements.prune.run(firstIdAt(beforeMs), limit).changes)),
    pruneLinks: async (beforeMs, limit) =>
      transact(() => Number(statements.pruneLinks.run(beforeMs, limit).changes)),
  }
}

/** Where a question's time and that of its decision may differ; far more than a question takes. */
const SLACK_MS = 60_000

function conditionsOf(filter: DecisionFilter, before: string | undefined): [string[], SQLInputValue[]] {
  const { requestId, device, code, boundary, allowed, fromMs, toMs } = filter
  const all: (readonly [condition: string, value: SQLInputValue | undefined])[] = [
    ['request_id < ?', before],
    ['request_id = ?', requestId],
    // The times bound the ids, so that no more rows are read than lie between them.
    ['request_id >= ?', fromMs === undefined ? undefined : firstIdAt(fromMs - SLACK_MS)],
    ['request_id < ?', toMs === undefined ? undefined : firstIdAt(toMs + SLACK_MS)],
    ['at_ms >= ?', fromMs],
    ['at_ms < ?', toMs],
    ['matches_pattern(?, device_id)', device],
    ['code = ?', code],
    ['boundary = ?', boundary],
    ["(code = 'ALLOW') = ?", allowed === undefined ? undefined : Number(allowed)],
  ]
  const given = all.filter(([, value]) => value !== undefined)
  return [given.map(([condition]) => condition), given.map(([, value]) => value as SQLInputValue)]
}

/** What every UUIDv7 made at or after `atMs` is not below. */
function firstIdAt(atMs: number): string {
  const hex = Math.min(Math.max(0, Math.ceil(atMs)), 2 ** 48 - 1)
    .toString(16)
    .padStart(12, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8)}`
}

function prepare(db: DatabaseSync) {
  const { audit, decisions } = rows
  return {
    audit: db.prepare(`SELECT ${audit.list} FROM audit WHERE org_id = ? AND seq > ? ORDER BY seq LIMIT ?`),
    auditHead: db.prepare('SELECT seq, hash FROM audit WHERE org_id = ? ORDER BY seq DESC LIMIT 1'),
    // The index by name: SQLite would rather read the whole chain backwards.
    newest: db.prepare(
      `SELECT ${audit.list} FROM audit INDEXED BY audit_about
       WHERE org_id = ? AND device_id IS ? AND action = ? AND at_ms <= ? AND seq < ? ORDER BY seq DESC LIMIT 1`,
    ),
    decision: db.prepare(`${insert('decisions', decisions.columns)} ON CONFLICT DO NOTHING`),
    keySeen: db.prepare(
      `INSERT INTO keys_seen (key_id, at_ms) VALUES (?, ?)
       ON CONFLICT (key_id) DO UPDATE SET at_ms = max(at_ms, excluded.at_ms)`,
    ),
    // Only of devices that are there: anybody may ask about any ID, and each would stay for ever.
    deviceSeen: db.prepare(
      `INSERT INTO devices_seen (org_id, device_id, at_ms, code, key_id)
       SELECT org_id, device_id, ?3, ?4, ?5 FROM devices WHERE org_id = ?1 AND device_id = ?2
       ON CONFLICT (org_id, device_id) DO UPDATE SET at_ms = excluded.at_ms, code = excluded.code, key_id = excluded.key_id
       WHERE excluded.at_ms >= at_ms`,
    ),
    // Org by org, since that is how they lie.
    prune: db.prepare(
      `DELETE FROM decisions WHERE (org_id, request_id, ordinal) IN (
         SELECT decisions.org_id, request_id, ordinal
         FROM orgs CROSS JOIN decisions ON decisions.org_id = orgs.org_id AND request_id < ? LIMIT ?
       )`,
    ),
    pruneLinks: db.prepare(
      `DELETE FROM recovery_links
       WHERE digest IN (SELECT digest FROM recovery_links WHERE expires_at_ms < ? LIMIT ?)`,
    ),
  }
}
