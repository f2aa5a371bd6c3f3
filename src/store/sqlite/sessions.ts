import type { DatabaseSync } from 'node:sqlite'

import type { SessionStore } from '../../control-plane/sessions/session-store.ts'
import { sessions } from '../desk-rows.ts'
import type { Writer } from './transaction.ts'

/** Oldest first. */
export const OPEN_SESSIONS = `SELECT ${sessions.list} FROM sessions
  WHERE org_id = ? AND ended_at_ms IS NULL ORDER BY started_at_ms, session_id`

export function createSessionStore(db: DatabaseSync, { read, transact }: Writer): SessionStore {
  const one = db.prepare(`SELECT ${sessions.list} FROM sessions WHERE session_id = ?`)
  const idle = db.prepare(
    // Not OR: each of the two finds its own by the index.
    `SELECT ${sessions.list} FROM sessions WHERE ended_at_ms IS NULL AND idle_at_ms <= ?
     UNION ALL
     SELECT ${sessions.list} FROM sessions WHERE ended_at_ms IS NULL AND idle_at_ms > ?
     ORDER BY idle_at_ms LIMIT ?`,
  )
  const prune = db.prepare(
    `DELETE FROM sessions
     WHERE session_id IN (SELECT session_id FROM sessions WHERE ended_at_ms < ? LIMIT ?)`,
  )
  return {
    findSession: async (sessionId) =>
      read(() => {
        const row = one.get(sessionId)
        return row && sessions.of(row)
      }),
    sessionsIdle: async ({ atMs, laterThanMs }, limit) =>
      read(() => idle.all(atMs, laterThanMs, limit).map(sessions.of)),
    pruneSessions: async (beforeMs, limit) => transact(() => Number(prune.run(beforeMs, limit).changes)),
  }
}
