import { HoldpointError } from '../../errors.ts'
import type { AtCrashPoint, CrashPoint } from '../../guard/crash-points.ts'
import { createDatabase, labelOf, type Database, type DatabaseOptions } from './database.ts'
import type { Session } from './session.ts'
import { assertDurable, AT_RISK } from './durability.ts'
import { NOW_MS } from './now.ts'
import { withSetup } from './setup.ts'
import { untilItGoesThrough } from './try-again.ts'

/** How the database of a tool store is reached. */
export interface ToolDatabaseOptions extends Pick<DatabaseOptions, 'url' | 'poolSize' | 'timeoutMs'> {
  /** The store's clock, for tests: wall time in milliseconds. Default: the clock of the database. */
  readonly nowMs?: (() => number) | undefined
  /** For tests that kill the process there. */
  readonly atCrashPoint?: AtCrashPoint | undefined
}

/** What the parts of the tool servers' store share. */
export interface ToolDatabase {
  /**
   * One transaction. One that gave way to another begins anew, so `body` does nothing but ask; what is locked is locked
   * in this order: a key, its row, a run, its approvals.
   */
  readonly transact: Database['transact']
  readonly read: Database['read']
  /** Sent after what locks, it is the time at which the lock was had: the same for all replicas. */
  readonly readNow: (session: Session) => Promise<number>
  /** On a connection for nothing else, whose statements may take long. */
  readonly setUp: (body: (setup: Database) => Promise<void>) => Promise<void>
  /** A connection for one transaction later, of a pool of their own. */
  readonly reserve: Database['reserve']
  readonly reach: (point: CrashPoint) => void
  /** May be called again. */
  readonly close: () => Promise<void>
}

export const TOOL_SCHEMA = 'holdpoint_tools'

/** Connects to nothing until it is used. Effects that wait for their permit hold up to half as many connections more. */
export function createToolDatabase(options: ToolDatabaseOptions): ToolDatabase {
  const { url, poolSize, timeoutMs, nowMs, atCrashPoint } = options
  const label = labelOf(url)
  const admit: DatabaseOptions['admit'] = async (session) => {
    await assertUsable(session, label)
    return () => true
  }
  const common = { url, timeoutMs, schema: TOOL_SCHEMA, admit } as const
  const database = createDatabase({ ...common, poolSize, name: 'holdpoint tool server' })
  const transactions = createDatabase({
    ...common,
    poolSize: Math.max(2, Math.ceil(poolSize / 2)),
    name: 'holdpoint transactional effects',
  })
  let closed: Promise<unknown> | undefined
  return {
    transact: (body) => untilItGoesThrough(() => database.transact(body)),
    read: database.read,
    readNow: async (session) => {
      if (nowMs !== undefined) return nowMs()
      const [row] = await session.query(`SELECT ${NOW_MS} AS now`)
      return Number(row?.['now'])
    },
    setUp: (body) => withSetup(common, body),
    reserve: transactions.reserve,
    reach: (point) => atCrashPoint?.(point),
    close: async () => void (await (closed ??= Promise.all([database.close(), transactions.close()]))),
  }
}

const SETTINGS = `SELECT pg_is_in_recovery()::int AS recovering, current_setting('fsync') AS fsync,
  current_setting('synchronous_commit') AS synchronous_commit`

/** G8: an intent that a power cut could take away, or that is read from a standby, keeps nothing from happening twice. */
async function assertUsable(session: Session, label: string): Promise<void> {
  const [row] = await session.query(SETTINGS)
  if (row?.['recovering'] !== 0) {
    throw new HoldpointError(
      'STORE_IN_RECOVERY',
      'The database of the tool server is a standby, or recovering. Let TOOL_DATABASE_URL lead to the primary.',
    )
  }
  const settings = { fsync: String(row['fsync']), synchronousCommit: String(row['synchronous_commit']) }
  assertDurable(settings, label, AT_RISK.intents)
}
