import type { Row } from '../control-plane-rows.ts'
import { NOW_MS } from './now.ts'
import type { Session } from './session.ts'

/** Where the tables lie. A standby has the same place as its primary until it is promoted: then its timeline is a new one. */
export interface Place {
  /** Made by initdb, shared by all that was copied from it. */
  readonly server: string
  /** Of the database and of a table in it. Made by CREATE: what was restored from a dump has others. */
  readonly relation: string
  /** Raised by each promotion, and by each recovery to a point in time. */
  readonly timeline: number
}

/** How the server is set up, as it says itself. */
export interface Settings {
  /** For example `18.4`. */
  readonly version: string
  /** For example 180004. */
  readonly versionNumber: number
  readonly fsync: string
  readonly fullPageWrites: string
  /** On our connections. */
  readonly synchronousCommit: string
  /** As it is set; empty when commits wait for no other server. */
  readonly synchronousStandbyNames: string
  /** How many standbys commits wait for now; null when this user may not see it. */
  readonly synchronousStandbys: number | null
  /** It was told where to end its recovery: no standby is. */
  readonly pointInTime: boolean
}

/** What one connection found: the server that it leads to, and what the store says of itself. */
export interface Found {
  readonly inRecovery: boolean
  /** Undefined in recovery. */
  readonly place: Place | undefined
  /** Where the store was when a node last looked; undefined in a new one. */
  readonly noted: Place | undefined
  readonly storeId: string
  readonly generation: number
  /** A node has noted that commits waited for a standby. It may be long ago, and a standby misses what came after. */
  readonly synchronous: boolean
  /** An operator has said of this timeline that nothing was lost. */
  readonly accepted: boolean
  /** When an operator said that this was restored; null when nobody did. */
  readonly restoredAtMs: number | null
  readonly keepKeys: boolean
  /** The clock of the database. */
  readonly nowMs: number
  /** The audit row that was asked for is there, and is the same. */
  readonly hasChange: boolean
  readonly settings: Settings
}

/** One row of the audit, which a commit made durable. */
export interface KnownChange {
  readonly orgId: string
  readonly seq: number
  readonly hash: string
}

// The name of a WAL file begins with the timeline, which the control file learns only at the next checkpoint.
const LOOK = `
  SELECT
    pg_is_in_recovery()::int AS in_recovery,
    (SELECT system_identifier::text FROM pg_control_system()) AS server,
    (SELECT oid::text FROM pg_database WHERE datname = current_database())
      || '/' || 'store_identity'::regclass::oid::text AS relation,
    CASE WHEN pg_is_in_recovery() THEN NULL
      ELSE ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int END AS timeline,
    store_id, noted.server AS noted_server, noted.relation AS noted_relation, noted.timeline AS noted_timeline,
    (synchronous_at_ms IS NOT NULL)::int AS synchronous, accepted_timeline, restored_at_ms, keep_keys,
    (SELECT value FROM meta WHERE name = 'generation') AS generation,
    ${NOW_MS} AS now_ms,
    (SELECT hash FROM audit WHERE org_id = $1 AND seq = $2::bigint) AS hash,
    current_setting('server_version') AS version,
    current_setting('server_version_num')::int AS version_number,
    current_setting('fsync') AS fsync,
    current_setting('full_page_writes') AS full_page_writes,
    current_setting('synchronous_commit') AS synchronous_commit,
    current_setting('synchronous_standby_names') AS standby_names,
    (SELECT CASE WHEN count(*) = count(sync_state)
      THEN count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')) END FROM pg_stat_replication) AS standbys,
    (concat(current_setting('recovery_target', true), current_setting('recovery_target_time', true),
      current_setting('recovery_target_name', true), current_setting('recovery_target_lsn', true),
      current_setting('recovery_target_xid', true)) <> '')::int AS targets
  FROM store_identity noted WHERE one = 1`

/** One statement. The tables must be there. */
export async function look(session: Session, change?: KnownChange): Promise<Found> {
  const [row] = await session.query(LOOK, [change?.orgId ?? '', change?.seq ?? 0])
  if (row === undefined) throw new Error('The table store_identity is empty.')
  return foundOf(row, change)
}

function foundOf(row: Row, change: KnownChange | undefined): Found {
  const number = (name: string) => (row[name] === null ? null : Number(row[name]))
  const text = (name: string) => String(row[name])
  const timeline = number('timeline')
  const place = { server: text('server'), relation: text('relation') }
  const noted = {
    server: text('noted_server'),
    relation: text('noted_relation'),
    timeline: Number(row['noted_timeline']),
  }
  return {
    inRecovery: row['in_recovery'] === 1,
    place: timeline === null ? undefined : { ...place, timeline },
    noted: row['noted_server'] === null ? undefined : noted,
    storeId: text('store_id'),
    generation: Number(row['generation']),
    synchronous: row['synchronous'] === 1,
    accepted: timeline !== null && number('accepted_timeline') === timeline,
    restoredAtMs: number('restored_at_ms'),
    keepKeys: row['keep_keys'] === 1,
    nowMs: Number(row['now_ms']),
    hasChange: change === undefined || row['hash'] === change.hash,
    settings: {
      version: text('version'),
      versionNumber: Number(row['version_number']),
      fsync: text('fsync'),
      fullPageWrites: text('full_page_writes'),
      synchronousCommit: text('synchronous_commit'),
      synchronousStandbyNames: text('standby_names'),
      synchronousStandbys: number('standbys'),
      pointInTime: row['targets'] !== 0,
    },
  }
}
