import { patternsMatching } from '../../control-plane/patterns.ts'
import type { StopReader } from '../../control-plane/stops/stop-store.ts'
import type { DecisionReader } from '../../control-plane/store.ts'
import { HoldpointError } from '../../errors.ts'
import type { Value } from '../control-plane-rows.ts'
import { decisionColumns, holdsLocks, snapshotOf, type Columns } from '../decision-row.ts'
import { createDatabase, type Database, type DatabaseOptions, type OwnConnection } from './database.ts'
import type { Session } from './session.ts'
import { createBarrier } from './quorum.ts'
import { jsonTexts } from './statements.ts'
import { createStopReader } from './stops.ts'

export interface DecisionReaderOptions {
  readonly url: string
  /** How many connections, each of which takes any number of questions at once. */
  readonly poolSize: number
  /** For a connection, and for each answer. */
  readonly timeoutMs: number
  /** `quorum`: no answer before a synchronous standby has confirmed that this is the primary (G1 across a failover). */
  readonly consistency: 'primary' | 'quorum'
}

/** Connections of its own, each made when it is needed, and anew when it broke. The store must be open already. */
export function openDecisionReader(
  options: DecisionReaderOptions & {
    /** Of the store that is open in this thread, or of a thread that follows another one's. */
    readonly admit: NonNullable<DatabaseOptions['admit']>
  },
): {
  readonly reader: DecisionReader
  readonly stops: StopReader
  readonly close: () => Promise<void>
} {
  const { url, poolSize, timeoutMs, consistency } = options
  const database = createDatabase({
    url,
    schema: 'holdpoint_control_plane',
    name: 'holdpoint validates',
    // Validates have connections of their own.
    poolSize: 1,
    timeoutMs,
    admit: options.admit,
  })
  // One barrier for all that waits costs less than several side by side, whose commits wait for each other.
  const size = consistency === 'quorum' ? 1 : poolSize
  const pool = createConnections(database, { size, consistency })
  return {
    reader: createDecisionReader(pool, database.label),
    stops: createStopReader(database),
    close: async () => {
      pool.close()
      await database.close()
    },
  }
}

/**
 * Reads what a validate is decided from: one statement on the primary, so one snapshot, made after the question came
 * (G2). It also says whether the server is in recovery: then its rows may be old, and nothing is answered from them.
 *
 * An org that holds locks is read by a second statement, which sees everything anew, the locks too.
 */
function createDecisionReader({ ask }: Connections, label: string): DecisionReader {
  const read = async (statement: string, values: readonly Value[]): Promise<Columns> => {
    const [row] = await ask(statement, values)
    // The last column; the others are null when there is no such key.
    if (row?.at(-1) !== 0) throw inRecovery(label)
    return row
  }
  return {
    async read(keyId, deviceIds) {
      const devices = deviceIds.length
      const row = await read(statementOf(devices, false), [keyId, ...deviceIds])
      if (row[0] === null) return undefined
      if (!holdsLocks(row)) return snapshotOf(row, keyId, devices, false)
      const patterns = deviceIds.map((deviceId) => jsonTexts(patternsMatching(deviceId)))
      const anew = await read(statementOf(devices, true), [keyId, ...deviceIds, ...patterns])
      return anew[0] === null ? undefined : snapshotOf(anew, keyId, devices, true)
    },
  }
}

interface Connections {
  readonly ask: Session['columns']
  readonly close: () => void
}

interface Slot {
  opened: Promise<{ readonly ask: Session['columns']; readonly isCurrent: () => boolean }> | undefined
}

function createConnections(
  database: Database,
  { size, consistency }: { readonly size: number; readonly consistency: 'primary' | 'quorum' },
): Connections {
  const slots = Array.from({ length: size }, (): Slot => ({ opened: undefined }))
  const open = new Set<OwnConnection>()
  let turn = 0
  let closed = false

  const connect = async (): Promise<OwnConnection> => {
    const connection = await database.connect('holdpoint validates')
    open.add(connection)
    connection.onEnd(() => open.delete(connection))
    if (closed) connection.destroy()
    try {
      await connection.session.exec(ALWAYS_BY_INDEX)
    } catch (thrown) {
      connection.destroy()
      throw thrown
    }
    return connection
  }
  const openSlot = async (slot: Slot) => {
    const connection = await connect()
    const { session, isCurrent, destroy } = connection
    const opened = {
      ask: consistency === 'primary' ? session.columns : confirmedBy(connection, database.label),
      isCurrent: () => {
        const current = isCurrent()
        if (!current) destroy()
        return current
      },
    }
    // A later one may have taken its place by then.
    const mine = slot.opened
    connection.onEnd(() => {
      if (slot.opened === mine) slot.opened = undefined
    })
    return opened
  }
  const take = async (slot: Slot): ReturnType<typeof openSlot> => {
    for (;;) {
      const opening = (slot.opened ??= openSlot(slot))
      try {
        const opened = await opening
        if (opened.isCurrent()) return opened
      } catch (thrown) {
        if (slot.opened === opening) slot.opened = undefined
        throw thrown
      }
      if (slot.opened === opening) slot.opened = undefined
    }
  }

  return {
    ask: async (text, values) => {
      const slot = slots[(turn = (turn + 1) % size)]
      if (slot === undefined || closed) throw new HoldpointError('STORE_UNREACHABLE', 'The store is closed.')
      return (await take(slot)).ask(text, values)
    },
    close: () => {
      closed = true
      for (const { destroy } of open) destroy()
    },
  }
}

function confirmedBy(connection: OwnConnection, label: string): Session['columns'] {
  const { confirmed } = createBarrier(connection, label)
  return (text, values) => confirmed(() => connection.session.columns(text, values))
}

/**
 * Each statement is planned once for each connection, perhaps when there are few rows, and kept when there are a
 * million: it must be the plan that suits those.
 */
const ALWAYS_BY_INDEX = [
  'SET plan_cache_mode = force_generic_plan',
  ...['seqscan', 'bitmapscan', 'hashjoin', 'mergejoin'].map((way) => `SET enable_${way} = off`),
].join('; ')

const STATEMENTS = { lean: new Map<number, string>(), complete: new Map<number, string>() }

function statementOf(devices: number, withLocks: boolean): string {
  const known = withLocks ? STATEMENTS.complete : STATEMENTS.lean
  let statement = known.get(devices)
  if (statement === undefined) known.set(devices, (statement = snapshotSql(devices, withLocks)))
  return statement
}

/** Parameters: the key, each device, and with locks a JSON list of the patterns of each device. Always one row. */
function snapshotSql(devices: number, withLocks: boolean): string {
  const each = (text: (alias: string, index: number) => string) =>
    Array.from({ length: devices }, (_, index) => text(`d${index}`, index)).join('')
  const locked = (_: string, index: number) => `, EXISTS (
    SELECT FROM json_array_elements_text($${2 + devices + index}::json) p (pattern)
    JOIN locks l ON l.org_id = k.org_id AND l.active = 1 AND l.pattern = p.pattern)::int`
  return `
    SELECT ${decisionColumns(devices)}
    ${withLocks ? each(locked) : ''}, pg_is_in_recovery()::int
    FROM (SELECT $1::text AS key_id) asked
    LEFT JOIN keys k ON k.key_id = asked.key_id
    LEFT JOIN orgs o ON o.org_id = k.org_id
    ${each((d, i) => `LEFT JOIN devices ${d} ON ${d}.org_id = o.org_id AND ${d}.device_id = $${i + 2}\n`)}`
}

function inRecovery(label: string): HoldpointError {
  return new HoldpointError(
    'STORE_IN_RECOVERY',
    `The database ${label} is a standby, or recovering, and its answers may be old. Let the URL lead to the primary.`,
  )
}
