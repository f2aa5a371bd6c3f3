import type { DatabaseSync } from 'node:sqlite'

import type { AuditRow } from '../../control-plane/records.ts'
import { createAuditSearch } from './audit-search.ts'
import type { ControlPlaneEvidence } from '../control-plane-parts.ts'
import * as rows from '../control-plane-rows.ts'
import { decisionConditions, firstIdAt } from '../filters.ts'
import { insert } from './statements.ts'
import { createDenialNotes } from './stop-evidence.ts'
import type { Writer } from './transaction.ts'

/** The audit chain, to be read, and the decisions, which are no part of it; what is old enough is deleted. */
export function createEvidence(db: DatabaseSync, writer: Writer): ControlPlaneEvidence {
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
        const conditions = decisionConditions(filter, before)
        if (filter.device !== undefined) conditions.push(['matches_pattern(?, device_id)', filter.device])
        const within = ['org_id = ?', ...conditions.map(([sql]) => sql)]
        return db
          .prepare(
            `SELECT ${rows.decisions.list} FROM decisions
             WHERE ${within.join(' AND ')}
             ORDER BY request_id DESC, ordinal LIMIT ?`,
          )
          .all(orgId, ...conditions.map(([, value]) => value), limit)
          .map(rows.decisions.of)
      }),
    pruneDecisions: async (beforeMs, limit) =>
      transact(() => Number(statements.prune.run(firstIdAt(beforeMs), limit).changes)),
    pruneLinks: async (beforeMs, limit) =>
      transact(() => Number(statements.pruneLinks.run(beforeMs, limit).changes)),
  }
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
