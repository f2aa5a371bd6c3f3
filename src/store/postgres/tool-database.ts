import { HoldpointError } from '../../errors.ts'
import type { AtCrashPoint, CrashPoint } from '../../guard/crash-points.ts'
import { createDatabase, type Database, type DatabaseOptions, type Session } from './database.ts'
import { mayTryAgain } from './errors.ts'
import { NOW_MS } from './now.ts'

export interface ToolDatabaseOptions extends Pick<DatabaseOptions, 'url' | 'poolSize' | 'timeoutMs'> {
  /** The store's clock, for tests: wall time in milliseconds. Default: the clock of the database. */
  readonly nowMs?: (() => number) | undefined
  /** For tests that kill the process there. */
  readonly atCrashPoint?: AtCrashPoint | undefined
}

/** What the parts of the tool servers' store share. */
export interface ToolDatabase {
  readonly database: Database
  /**
   * One transaction. One that gave way to another begins anew, so `body` does nothing but ask; what is locked is locked
   * in this order: a key, its row, a run, its approvals.
   */
  readonly transact: Database['transact']
  readonly read: Database['read']
  /** Sent after what locks, it is the time at which the lock was had: the same for all replicas. */
  readonly readNow: (session: Session) => Promise<number>
  /** A connection for one transaction later, of a pool of their own. */
  readonly reserve: Database['reserve']
  readonly reach: (point: CrashPoint) => void
  /** May be called again. */
  readonly close: () => Promise<void>
}

const ATTEMPTS = 4
export const TOOL_SCHEMA = 'holdpoint_tools'

/** Connects to nothing until it is used. Effects that wait for their permit hold up to half as many connections more. */
export function createToolDatabase(options: ToolDatabaseOptions): ToolDatabase {
  const { url, poolSize, timeoutMs, nowMs, atCrashPoint } = options
  const common = { url, timeoutMs, schema: TOOL_SCHEMA, admit } as const
  const database = createDatabase({ ...common, poolSize, name: 'holdpoint tool server' })
  const transactions = createDatabase({
    ...common,
    poolSize: Math.max(2, Math.ceil(poolSize / 2)),
    name: 'holdpoint transactional effects',
  })
  let closed: Promise<unknown> | undefined
  return {
    database,
    transact: async (body) => {
      for (let attempt = 1; ; attempt++) {
        try {
          return await database.transact(body)
        } catch (thrown) {
          if (attempt === ATTEMPTS || !mayTryAgain(thrown)) throw thrown
        }
      }
    },
    read: database.read,
    readNow: async (session) => {
      if (nowMs !== undefined) return nowMs()
      const [row] = await session.query(`SELECT ${NOW_MS} AS now`)
      return Number(row?.['now'])
    },
    reserve: transactions.reserve,
    reach: (point) => atCrashPoint?.(point),
    close: async () => void (await (closed ??= Promise.all([database.close(), transactions.close()]))),
  }
}

const SETTINGS = `SELECT pg_is_in_recovery()::int AS recovering, current_setting('fsync') AS fsync,
  current_setting('synchronous_commit') AS synchronous_commit`

/** G8: an intent that a power cut could take away, or that is read from a standby, keeps nothing from happening twice. */
async function admit(session: Session): Promise<() => boolean> {
  const [row] = await session.query(SETTINGS)
  if (row?.['recovering'] !== 0) {
    throw new HoldpointError(
      'STORE_IN_RECOVERY',
      'The database of the tool server is a standby, or recovering. Let TOOL_DATABASE_URL lead to the primary.',
    )
  }
  const durable = row['fsync'] === 'on' && ['on', 'remote_apply'].includes(String(row['synchronous_commit']))
  if (!durable) {
    throw new HoldpointError(
      'STORE_NOT_DURABLE',
      `The database of the tool server runs with fsync=${row['fsync'] as string} and ` +
        `synchronous_commit=${row['synchronous_commit'] as string}: an intent could be lost in a power cut while its ` +
        'effect happened (G8). Set fsync=on there; a pooler in between must keep the options of a connection.',
    )
  }
  return () => true
}
