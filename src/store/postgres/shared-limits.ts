import type { LimitStore } from '../../control-plane/nodes/node-store.ts'
import type { Database } from './database.ts'
import { NOW_MS } from './now.ts'

/** What the bucket holds by now. By a clock that was set back nothing came in, for a minute at most. */
const HELD = `least($3::float8, b.tokens + greatest(0, excluded.at_ms - b.at_ms) * $4::float8 / 1000)`

const TAKE_TOKEN = `
  INSERT INTO rate_buckets AS b (name, id, tokens, at_ms, wait_ms)
  VALUES ($1, $2, $3::float8 - 1, ${NOW_MS}, 0)
  ON CONFLICT (name, id) DO UPDATE SET
    tokens = CASE WHEN ${HELD} >= 1 THEN ${HELD} - 1 ELSE ${HELD} END,
    wait_ms = CASE WHEN ${HELD} >= 1 THEN 0 ELSE (1 - ${HELD}) / $4::float8 * 1000 END,
    at_ms = least(greatest(b.at_ms, excluded.at_ms), excluded.at_ms + 60000)
  RETURNING wait_ms`

const RECENT = `unnest(m.sent_at_ms) AS sent WHERE sent > excluded.last_at_ms - $2::bigint`

const TAKE_MAIL = `
  INSERT INTO mails_sent AS m (address, sent_at_ms, last_at_ms)
  SELECT $1, ARRAY[now_ms], now_ms FROM (SELECT ${NOW_MS} AS now_ms) AS clock
  ON CONFLICT (address) DO UPDATE SET
    sent_at_ms = ARRAY(SELECT sent FROM ${RECENT}) || excluded.last_at_ms,
    last_at_ms = excluded.last_at_ms
  WHERE (SELECT count(*) FROM ${RECENT}) < $3::bigint
  RETURNING address`

/** At once, and waiting for that: a flood of what is limited leaves the connections to stops. */
const AT_ONCE = 2
const MAX_WAITING = 50
const TOO_MANY_WAIT_MS = 1000

/** Counts what is rare, in the database: so many for all nodes together. */
export function createSharedLimits(database: Database): LimitStore {
  const waiting: (() => void)[] = []
  let asking = 0
  /** Undefined when there are too many. */
  const inTurn = async <T>(ask: () => Promise<T>): Promise<T | undefined> => {
    if (asking >= AT_ONCE) {
      if (waiting.length >= MAX_WAITING) return undefined
      await new Promise<void>((resolve) => waiting.push(resolve))
    } else asking++
    try {
      return await ask()
    } finally {
      const next = waiting.shift()
      if (next === undefined) asking--
      else next()
    }
  }
  return {
    takeToken: async ({ name, id, burst, perSecond }) => {
      const rows = await inTurn(() => database.query(TAKE_TOKEN, [name, id, burst, perSecond]))
      return rows === undefined ? TOO_MANY_WAIT_MS : Number(rows[0]?.['wait_ms'])
    },
    takeMail: async (address, { atMost, withinMs }) => {
      const rows = await inTurn(() => database.query(TAKE_MAIL, [address, withinMs, atMost]))
      return rows !== undefined && rows.length > 0
    },
  }
}
