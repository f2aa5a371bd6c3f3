import type { Database } from './database.ts'
import type { Session } from './session.ts'

/**
 * For what a node says of itself, and nobody is told was kept: the COMMIT waits for the disk of this server, and for no
 * standby. So a node lives and starts while the synchronous standby is gone, and can be asked for a stop.
 *
 * Never for what is acked, or what anything is allowed by: changes, epochs, keys, sessions, approvals, audit, decisions,
 * evidence of stops, drills; nor for the limits of sign-ins and recovery, which guard secrets. What goes this way, and why
 * a failover may lose it:
 *
 * - that a node lives, or has left: it says so again within 2 s, and counts as dead 15 s after it last did
 * - who does the chores, and which reminders were logged: two nodes do them for a while, or one is logged twice
 * - counts of decisions, and since when: figures for people, apart from the decisions
 * - where a node stands in the news, and that a stream was opened: streams end, and come back for what they missed
 * - that old rows of these were deleted: they are deleted again
 */
export function withoutStandby(database: Database): Pick<Session, 'query'> {
  return {
    query: (text, values) =>
      database.transact(async (session) => {
        // In this order on the wire.
        const local = session.exec('SET LOCAL synchronous_commit = local')
        const [rows] = await Promise.all([session.query(text, values), local])
        return rows
      }),
  }
}
