import { lastOfReplicas } from '../stop-rows.ts'
import type { EvidenceParts } from './control-plane-evidence.ts'
import { jsonRows } from './statements.ts'

// Locked in the order of their keys, as where evidence of stops is written.
const NOTE = `
  WITH said AS (
    SELECT org_id, key_id, replica, last_seen_at_ms, denied_at_ms, denied_device_id, denied_code
    FROM json_populate_recordset(NULL::replicas, $1::json)),
  known AS MATERIALIZED (
    SELECT org_id, key_id, replica FROM replicas
    WHERE (org_id, key_id, replica) IN (SELECT org_id, key_id, replica FROM said)
    ORDER BY org_id, key_id, replica FOR NO KEY UPDATE)
  UPDATE replicas SET
    last_seen_at_ms = greatest(replicas.last_seen_at_ms, said.last_seen_at_ms),
    ${['denied_at_ms', 'denied_device_id', 'denied_code']
      .map(
        (column) => `${column} = CASE
      WHEN said.denied_at_ms >= coalesce(replicas.denied_at_ms, said.denied_at_ms)
      THEN said.${column} ELSE replicas.${column} END`,
      )
      .join(', ')}
  FROM known JOIN said USING (org_id, key_id, replica)
  WHERE replicas.org_id = known.org_id AND replicas.key_id = known.key_id AND replicas.replica = known.replica`

/** Notes what known replicas were told: the last of each is enough. */
export const noteDenials: EvidenceParts['noteDenials'] = async (session, decisions) => {
  const { seen, denied } = lastOfReplicas(decisions)
  if (seen.length === 0) return
  const idOf = (one: (typeof seen)[number]) => JSON.stringify([one.orgId, one.keyId, one.replica])
  const denials = new Map(denied.map((one) => [idOf(one), one]))
  const rows = seen.map((one) => {
    const denial = denials.get(idOf(one))
    return {
      org_id: one.orgId,
      key_id: one.keyId,
      replica: one.replica,
      last_seen_at_ms: one.atMs,
      denied_at_ms: denial?.atMs ?? null,
      denied_device_id: denial?.deviceId ?? null,
      denied_code: denial?.code ?? null,
    }
  })
  await session.run(NOTE, [jsonRows(rows)])
}
