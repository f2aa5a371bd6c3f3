import type { RateRow, RateStore } from '../../control-plane/nodes/node-store.ts'
import { mapping } from '../control-plane-rows.ts'
import type { Database } from './database.ts'
import { NOW_MS } from './now.ts'
import type { Session } from './session.ts'

const rates = mapping<RateRow>({ orgId: 'org_id', minute: 'minute', cell: 'cell', count: 'count' })

/** Sorted, so that nodes that add at the same time wait for each other in one order. */
const ADD = `
  INSERT INTO decision_rates AS r (${rates.list})
  SELECT ${rates.list} FROM jsonb_to_recordset($1::jsonb)
    AS added (org_id TEXT COLLATE "C", minute BIGINT, cell SMALLINT, count BIGINT)
  ORDER BY org_id, minute, cell
  ON CONFLICT (org_id, minute, cell) DO UPDATE SET count = r.count + excluded.count`

/**
 * Counts of all nodes. Those of before a backup that was opened are not complete: they begin anew with a generation.
 * `own`: how they are written.
 */
export function createDecisionRates(
  { read }: Pick<Database, 'read'>,
  own: Pick<Session, 'query'>,
  generation: () => number,
): RateStore {
  let begun: number | undefined
  const begin = async () => {
    const now = generation()
    if (begun === now) return
    await own.query(
      `INSERT INTO decision_rates_since (generation, since_ms) VALUES ($1, ${NOW_MS}) ON CONFLICT DO NOTHING`,
      [now],
    )
    begun = now
  }
  const ratesOf: RateStore['ratesOf'] = async (orgId, fromMinute) => {
    await begin()
    const [[since], rows] = await read(({ query }) =>
      Promise.all([
        query('SELECT since_ms FROM decision_rates_since WHERE generation = $1', [generation()]),
        query(
          `SELECT ${rates.list} FROM decision_rates
           WHERE org_id = $1 AND minute >= $2 ORDER BY minute, cell`,
          [orgId, fromMinute],
        ),
      ]),
    )
    if (since !== undefined) return { sinceMs: Number(since['since_ms']), rows: rows.map(rates.of) }
    // Lost in a failover, or of a generation that has just begun: they are complete from now on.
    begun = undefined
    return ratesOf(orgId, fromMinute)
  }
  return {
    beginRates: begin,
    addRates: async (rows) => {
      await begin()
      const added = rows.map(({ orgId, ...row }) => ({ org_id: orgId, ...row }))
      await own.query(ADD, [JSON.stringify(added)])
    },
    ratesOf,
  }
}
