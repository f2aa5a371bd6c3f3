import { firstEpoch, nextGeneration, restored, type Restore } from '../../control-plane/generation.ts'
import type { AuditRow } from '../../control-plane/records.ts'
import { nextAuditRows } from '../audit-rows.ts'
import * as rows from '../control-plane-rows.ts'
import type { Row } from '../control-plane-rows.ts'
import type { Database } from './database.ts'
import type { Session } from './session.ts'
import { look, type Found, type Place } from './identity.ts'
import { addNews } from './news-rows.ts'
import { NOW_MS } from './now.ts'
import { insertAll, rowsOf, upsertAll } from './statements.ts'
import { auditWithStops } from './stops.ts'
import { judge, type Known, type Verdict } from './verdict.ts'

/** For whoever decides what the database is, one node after the other. */
const SETTLE_LOCK = 4_100_423
const ORGS_AT_ONCE = 200

export interface Settled {
  /** As it is now. */
  readonly found: Found
  /** What was decided by this node; `same` when another one was first. */
  readonly verdict: Exclude<Verdict, { kind: 'refused' }>
}

/**
 * Notes where the store is now. One that was restored, or that may lack stops, is given a new generation in the same
 * transaction: every org disabled, every key ended unless they are to be kept, approvals withdrawn, sessions ended, and
 * every epoch raised into it (G6). Of several nodes one does it. Throws what `judge` refuses with. `onBegin` is told of a
 * new generation right before it is committed, and the next one is above `begun`, the last that it was told of: one that
 * was given once is never given again, whether its commit went through or not.
 */
export async function settle(
  database: Database,
  known: Known | undefined,
  begun: number,
  onBegin: (generation: number) => void,
): Promise<Settled> {
  return database.transact(async (session) => {
    await session.query('SELECT pg_advisory_xact_lock($1)', [SETTLE_LOCK])
    const found = await look(session, known?.change)
    const verdict = judge(found, known, database.label)
    if (verdict.kind === 'refused') throw verdict.error
    const { place } = found
    if (verdict.kind === 'same' || place === undefined) return { found, verdict }
    let { generation } = found
    if (verdict.kind === 'restored') {
      generation = nextGeneration({
        inFile: generation,
        seen: Math.max(known?.generation ?? 0, begun),
        nowMs: found.nowMs,
      })
      const restore = { generation, nowMs: found.nowMs, what: verdict.what }
      await stopEverything(session, restore, found.keepKeys)
    }
    await notePlace(session, place)
    // Last: whatever fails before was surely not committed, and may be given again.
    if (generation !== found.generation) onBegin(generation)
    return {
      found: { ...found, noted: place, generation, restoredAtMs: null, hasChange: true },
      verdict,
    }
  })
}

/** What an operator says who knows that nothing was lost: after `pg_upgrade`, or a switchover in good order. */
export async function acceptPlace(database: Database): Promise<void> {
  await database.transact(async (session) => {
    await session.query('SELECT pg_advisory_xact_lock($1)', [SETTLE_LOCK])
    const { place } = await look(session)
    if (place === undefined) return
    await notePlace(session, place)
    await session.run('UPDATE store_identity SET accepted_timeline = timeline')
  })
}

/**
 * What an operator says who has restored it: the next node that looks begins a new generation. False, and nothing is said,
 * where there is no org: it is hardly the database that was restored.
 */
export async function markRestored(database: Database, keepKeys: boolean): Promise<boolean> {
  const marked = await database.transact((session) =>
    session.run(
      `UPDATE store_identity SET keep_keys = $1::int, restored_at_ms = ${NOW_MS} WHERE EXISTS (SELECT FROM orgs)`,
      [Number(keepKeys)],
    ),
  )
  return marked > 0
}

/** Whether commits wait for a standby there, nobody has seen yet. */
async function notePlace(session: Session, { server, relation, timeline }: Place): Promise<void> {
  await session.run(
    `UPDATE store_identity
     SET server = $1, relation = $2, timeline = $3::bigint, accepted_timeline = NULL,
       synchronous_at_ms = NULL, restored_at_ms = NULL, keep_keys = 0`,
    [server, relation, timeline],
  )
}

async function stopEverything(session: Session, restore: Restore, keepKeys: boolean): Promise<void> {
  const { generation, nowMs } = restore
  let after: string | undefined = ''
  while (after !== undefined) after = await stopOrgs(session, after, restore, keepKeys)
  const epoch = firstEpoch(generation) + 1
  await Promise.all([
    session.run("UPDATE meta SET value = $1::bigint WHERE name = 'generation'", [generation]),
    session.run('UPDATE devices SET epoch = $1::bigint', [epoch]),
    session.run('UPDATE locks SET epoch = $1::bigint', [epoch]),
    // What waits in a backup may have been decided since, and is decided once.
    session.run(
      "UPDATE approvals SET state = 'withdrawn', ended_at_ms = $1::bigint WHERE state = 'waiting'",
      [nowMs],
    ),
    // Who has signed out since must not be signed in again, whether keys are kept or not.
    session.run(
      "UPDATE sessions SET ended_at_ms = $1::bigint, ended_as = 'restored' WHERE ended_at_ms IS NULL",
      [nowMs],
    ),
  ])
}

/** Answers the last of them; undefined when there are no more. */
async function stopOrgs(
  session: Session,
  after: string,
  restore: Restore,
  keepKeys: boolean,
): Promise<string | undefined> {
  const orgs = (await session.query(NEXT_ORGS, [after])).map(rows.orgs.of)
  if (orgs.length === 0) return undefined
  const ids = JSON.stringify(orgs.map(({ orgId }) => orgId))
  const [heads, live] = await Promise.all([
    session.query(AUDIT_HEADS, [ids]),
    keepKeys ? [] : session.query(LIVE_KEYS, [ids]),
  ])
  const headOf = new Map(heads.map((row) => [row['org_id'], lastOf(row)]))
  const keysOf = Map.groupBy(live.map(rows.keys.of), ({ orgId }) => orgId)
  const stopped = orgs.map((org) => {
    const change = restored(org, keysOf.get(org.orgId) ?? [], restore)
    return { ...change, audit: nextAuditRows(org.orgId, headOf.get(org.orgId), change.audit) }
  })
  const changed = stopped.flatMap(({ org }) => org ?? [])
  const ended = stopped.flatMap(({ keys }) => keys ?? [])
  const audit = stopped.flatMap((change) => change.audit)
  await Promise.all([
    session.run(PUT_ORGS, [rowsOf(rows.orgs, changed)]),
    session.run(PUT_KEYS, [rowsOf(rows.keys, ended)]),
    session.run(ADD_AUDIT, [rowsOf(auditWithStops, audit)]),
    ...stopped.map(({ audit }) => tell(session, audit)),
  ])
  return orgs.at(-1)?.orgId
}

/** Nodes that are running tell whoever listens. */
async function tell(session: Session, audit: readonly AuditRow[]): Promise<void> {
  const [first, last] = [audit[0], audit.at(-1)]
  if (first === undefined || last === undefined) return
  const { orgId, seq: firstSeq } = first
  await addNews(session, { nodeId: 'restored', kind: 'audit', orgId, firstSeq, lastSeq: last.seq })
}

function lastOf(row: Row): { readonly seq: number; readonly hash: string } {
  return { seq: Number(row['seq']), hash: String(row['hash']) }
}

// In the order of their IDs, as whoever changes several of them locks them.
const NEXT_ORGS = `SELECT ${rows.orgs.list} FROM orgs WHERE org_id > $1 ORDER BY org_id LIMIT ${ORGS_AT_ONCE} FOR NO KEY UPDATE`
const AUDIT_HEADS = `
  SELECT wanted.org_id, head.seq, head.hash
  FROM json_array_elements_text($1::json) AS wanted(org_id)
  CROSS JOIN LATERAL (
    SELECT seq, hash FROM audit WHERE audit.org_id = wanted.org_id ORDER BY seq DESC LIMIT 1
  ) head`
const LIVE_KEYS = `
  SELECT ${rows.keys.list} FROM keys
  WHERE org_id IN (SELECT json_array_elements_text($1::json)) AND ended_as IS NULL ORDER BY key_id`
const PUT_ORGS = upsertAll('orgs', rows.orgs.columns, ['org_id'])
const PUT_KEYS = upsertAll('keys', rows.keys.columns, ['key_id'])
const ADD_AUDIT = insertAll('audit', auditWithStops.columns)
