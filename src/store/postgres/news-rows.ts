import type { AuditRow, DecisionRecord } from '../../control-plane/records.ts'
import * as rows from '../control-plane-rows.ts'
import { deleteSome, jsonRows } from './statements.ts'
import type { Session } from './session.ts'
import type { Horizon } from './news-position.ts'

// The statements on the table of news.

export interface NewsRow {
  readonly newsId: number
  readonly nodeId: string
  readonly kind: 'audit' | 'decisions' | 'messages'
  readonly orgId: string
  readonly firstSeq: number
  readonly lastSeq: number
  readonly body: string | null
  /** Microseconds: with the ID it tells whether the table is still the one that was read. */
  readonly atUs: number
}

/** What the body of a batch of decisions says. */
export interface NewDecisions {
  /** Null: of too many to name. */
  readonly orgs: readonly string[] | null
  readonly from: string
  readonly to: string
}

const AT_US = '(extract(epoch FROM at) * 1000000)::bigint'

// The transaction has its number before the row has its ID, as `createNewsPosition` needs it.
const ADD_NEWS = `
  WITH own AS MATERIALIZED (SELECT pg_current_xact_id() AS xid)
  INSERT INTO news (node_id, kind, org_id, first_seq, last_seq, body)
  SELECT $1, $2, $3, $4::bigint, $5::bigint, $6 FROM own WHERE xid IS NOT NULL
  RETURNING news_id, ${AT_US} AS at_us`

const COLUMNS = `news_id, node_id, kind, org_id, first_seq, last_seq, body, ${AT_US} AS at_us`
const HORIZON = `
  SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest,
    pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next`
/** Of one look. */
const MAX_NEWS = 500

const WANTED_NEWS = `
  SELECT horizon.oldest, horizon.next, wanted.*
  FROM (${HORIZON}) horizon LEFT JOIN (
    (SELECT ${COLUMNS} FROM news WHERE news_id > $1 ORDER BY news_id LIMIT ${MAX_NEWS})
    UNION ALL
    SELECT ${COLUMNS} FROM news WHERE news_id = ANY($2::bigint[])
  ) wanted ON TRUE
  ORDER BY wanted.news_id`

const IDS = `
  SELECT horizon.oldest, horizon.next, news.news_id
  FROM (${HORIZON}) horizon LEFT JOIN news ON news.news_id > $1
  ORDER BY news.news_id`

const IS_THERE = `SELECT 1 AS here FROM news WHERE news_id = $1 AND ${AT_US} = $2::bigint`

const { audit, decisions } = rows

// Each range by itself, which the limit within is for: a planner that knows little of the tables would read all of them.
const AUDIT_OF = `
  SELECT found.*
  FROM json_to_recordset($1::json) AS news(org_id TEXT COLLATE "C", first_seq BIGINT, last_seq BIGINT)
  CROSS JOIN LATERAL (
    SELECT ${audit.list} FROM audit
    WHERE audit.org_id = news.org_id AND audit.seq BETWEEN news.first_seq AND news.last_seq
    ORDER BY audit.seq LIMIT news.last_seq - news.first_seq + 1) found
  ORDER BY found.org_id, found.seq`

/** Of each org. */
const MAX_DECISIONS = 500
const DECISIONS_OF = `
  SELECT found.*
  FROM json_to_recordset($1::json) AS news(org_id TEXT COLLATE "C", first TEXT COLLATE "C", last TEXT COLLATE "C")
  CROSS JOIN LATERAL (
    SELECT ${decisions.list} FROM decisions
    WHERE decisions.org_id = news.org_id AND decisions.request_id BETWEEN news.first AND news.last
    ORDER BY decisions.request_id, decisions.ordinal LIMIT ${MAX_DECISIONS}) found
  ORDER BY found.request_id, found.ordinal`

/** So many at once: a table that nobody pruned for long is no reason to hold up anything. */
const PRUNE = deleteSome(
  'news',
  `at < clock_timestamp() - make_interval(secs => $1) AND news_id < (SELECT max(news_id) FROM news)
   ORDER BY news_id LIMIT 10000`,
)

type News = Pick<NewsRow, 'nodeId' | 'kind'> &
  Partial<Pick<NewsRow, 'orgId' | 'firstSeq' | 'lastSeq' | 'body'>>

export async function addNews(
  session: Pick<Session, 'query'>,
  { nodeId, kind, orgId = null, firstSeq = null, lastSeq = null, body = null }: NullableNews,
): Promise<Pick<NewsRow, 'newsId' | 'atUs'>> {
  const [row] = await session.query(ADD_NEWS, [nodeId, kind, orgId, firstSeq, lastSeq, body])
  return { newsId: row?.['news_id'] as number, atUs: row?.['at_us'] as number }
}

/** What a first look finds: all that is not among `ids` and is not over may still come. */
export async function readIds(
  session: Session,
  after: number,
): Promise<{ readonly ids: readonly number[]; readonly horizon: Horizon }> {
  const found = await session.query(IDS, [after])
  const ids = found.flatMap(({ news_id: id }) => (id === null ? [] : [Number(id)]))
  return { ids, horizon: horizonOf(found[0]) }
}

/** The oldest first. */
export async function readNews(
  session: Session,
  after: number,
  missing: readonly number[],
): Promise<{ readonly news: readonly NewsRow[]; readonly horizon: Horizon; readonly isAll: boolean }> {
  const found = await session.query(WANTED_NEWS, [after, `{${missing.join(',')}}`])
  const news = found.filter(({ news_id: id }) => id !== null).map(newsRow)
  return { news, horizon: horizonOf(found[0]), isAll: news.length < MAX_NEWS }
}

/** Whether the table still has this row, and is not one that went back to an older state and grew anew. */
export async function hasNews(
  session: Session,
  { newsId, atUs }: Pick<NewsRow, 'newsId' | 'atUs'>,
): Promise<boolean> {
  return (await session.query(IS_THERE, [newsId, atUs])).length > 0
}

export async function pruneNews(session: Pick<Session, 'query'>, olderThanSeconds: number): Promise<void> {
  await session.query(PRUNE, [olderThanSeconds])
}

/** By org, in the order of each chain. */
export async function readAudit(session: Session, news: readonly NewsRow[]): Promise<readonly AuditRow[]> {
  if (news.length === 0) return []
  const ranges: { readonly org_id: string; readonly first_seq: number; last_seq: number }[] = []
  const lastOf = new Map<string, (typeof ranges)[number]>()
  for (const { orgId, firstSeq, lastSeq } of news) {
    const last = lastOf.get(orgId)
    if (last?.last_seq === firstSeq - 1) last.last_seq = lastSeq
    else {
      const range = { org_id: orgId, first_seq: firstSeq, last_seq: lastSeq }
      lastOf.set(orgId, range)
      ranges.push(range)
    }
  }
  return (await session.query(AUDIT_OF, [jsonRows(ranges)])).map(audit.of)
}

/** Those that the news name, of `orgs`, and others that were made between them. */
export async function readDecisions(
  session: Session,
  news: readonly NewsRow[],
  orgs: ReadonlySet<string>,
): Promise<readonly DecisionRecord[]> {
  const ranges = new Map<string, { org_id: string; first: string; last: string }>()
  for (const { body } of news) {
    const { orgs: named, from, to } = JSON.parse(body ?? '{}') as NewDecisions
    for (const orgId of orgs) {
      if (named?.includes(orgId) === false) continue
      const known = ranges.get(orgId)
      ranges.set(orgId, {
        org_id: orgId,
        first: known === undefined || from < known.first ? from : known.first,
        last: known === undefined || to > known.last ? to : known.last,
      })
    }
  }
  if (ranges.size === 0) return []
  return (await session.query(DECISIONS_OF, [jsonRows([...ranges.values()])])).map(decisions.of)
}

type NullableNews = { readonly [Name in keyof News]: News[Name] | null } & Pick<News, 'nodeId' | 'kind'>

function horizonOf(row: rows.Row | undefined): Horizon {
  return { oldest: Number(row?.['oldest']), next: Number(row?.['next']) }
}

function newsRow(row: rows.Row): NewsRow {
  return {
    newsId: row['news_id'],
    nodeId: row['node_id'],
    kind: row['kind'],
    orgId: row['org_id'],
    firstSeq: row['first_seq'],
    lastSeq: row['last_seq'],
    body: row['body'],
    atUs: row['at_us'],
  } as NewsRow
}
