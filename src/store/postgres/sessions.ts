import type { SessionStore } from '../../control-plane/sessions/session-store.ts'
import { sessions } from '../desk-rows.ts'
import type { ChangeParts } from './control-plane-change.ts'
import type { Database } from './database.ts'
import { deleteSome, putAll, upsertAll } from './statements.ts'

const COLUMNS = `SELECT ${sessions.list} FROM sessions`
const OF_ORG = `${COLUMNS} WHERE org_id = $1 AND session_id = $2`
const OPEN = `${COLUMNS} WHERE org_id = $1 AND ended_at_ms IS NULL ORDER BY started_at_ms, session_id`
const PUT = upsertAll('sessions', sessions.columns, ['session_id'])
const ONE = `${COLUMNS} WHERE session_id = $1`
// Not OR: each of the two finds its own by the index.
const IDLE = `
  (${COLUMNS} WHERE ended_at_ms IS NULL AND idle_at_ms <= $1 ORDER BY idle_at_ms LIMIT $3)
  UNION ALL
  (${COLUMNS} WHERE ended_at_ms IS NULL AND idle_at_ms > $2 ORDER BY idle_at_ms LIMIT $3)
  ORDER BY idle_at_ms LIMIT $3`
const PRUNE = deleteSome('sessions', 'ended_at_ms < $1 LIMIT $2')

/** The parts of a change that are about sessions. */
export const sessionChanges: ChangeParts['sessions'] = {
  find: async (session, orgId, sessionId) => {
    const [row] = await session.query(OF_ORG, [orgId, sessionId])
    return row && sessions.of(row)
  },
  open: async (session, orgId) => (await session.query(OPEN, [orgId])).map(sessions.of),
  write: (session, records) =>
    putAll(session, PUT, { mapping: sessions, records, keyOf: ({ sessionId }) => sessionId }),
}

export function createSessionStore({ query, transact }: Database): SessionStore {
  return {
    findSession: async (sessionId) => {
      const [row] = await query(ONE, [sessionId])
      return row && sessions.of(row)
    },
    sessionsIdle: async ({ atMs, laterThanMs }, limit) =>
      (await query(IDLE, [atMs, laterThanMs, limit])).map(sessions.of),
    pruneSessions: (beforeMs, limit) => transact((session) => session.run(PRUNE, [beforeMs, limit])),
  }
}
