import { HoldpointError } from '../../errors.ts'
import { idempotencyKeyOf } from '../../guard/effect.ts'
import type {
  Begun,
  BeginOptions,
  Intent,
  Journal,
  JournalEntry,
  Outcome,
  Settlement,
} from '../../guard/journal.ts'
import { mayPass } from '../../passing.ts'
import type { Value } from '../control-plane-rows.ts'
import { endOf, entryOf, inTheWay, maySettle, OVERRULED, type JournalRow } from '../journal-rows.ts'
import { storableText } from '../text.ts'
import type { Session } from './session.ts'
import * as sql from './journal-rows.ts'
import { createMending } from './mending.ts'
import { addToOperatorLog } from './operator-log.ts'
import { createReservations } from './reservations.ts'
import { createSettleWith } from './settle-with.ts'
import { useForIntent } from './tool-approval-use.ts'
import type { ToolDatabase } from './tool-database.ts'

/** An intent whose COMMIT may or may not have happened, and what its key had before. */
interface Written {
  readonly token: string
  readonly key: string
  readonly before: JournalRow['state'] | undefined
}

/** The journal in Postgres: durable when a promise resolves, and shared by all replicas. See the port, `Journal`. */
export function createJournal(opened: ToolDatabase): Journal {
  const { transact, read, readNow, reach } = opened
  const reservations = createReservations()
  const mending = createMending()

  /** E1: under a lock of the key, and of its row. */
  async function lookAt(session: Session, intent: Intent, retakeUnknown: boolean) {
    const [, free, seen, now] = await Promise.all([
      session.query(sql.LOCK_KEY, [intent.key]),
      session.query(sql.READ_FREE, [intent.key]),
      session.query(sql.READ, [intent.key]),
      readNow(session),
    ])
    const row = sql.journalRow(free)
    const held = row === undefined ? sql.journalRow(seen) : undefined
    if (held !== undefined) return { now, row: held, obstacle: obstacleOfHeld(held, intent, now) }
    if (row === undefined) return { now, row, obstacle: undefined }
    const current = sql.hasExpired(row, now) ? { ...row, state: 'unknown' as const, changed_at_ms: now } : row
    if (current !== row) await session.run(sql.EXPIRE, [now, row.key])
    return { now, row: current, obstacle: inTheWay(current, intent, retakeUnknown, now) }
  }

  async function begin(
    session: Session,
    intent: Intent,
    options: BeginOptions,
    wrote: (written: Written) => void,
  ) {
    const { retakeUnknown = false, approval, fence } = options
    const { now, row, obstacle } = await lookAt(session, intent, retakeUnknown)
    if (obstacle !== undefined) return obstacle
    if (fence !== undefined) {
      const held = await session.query(sql.HOLDS_RUN, [fence.token, fence.runId, now])
      if (held.length === 0) return { state: 'unclaimed' } as const
    }
    if (approval !== undefined) {
      const problem = await useForIntent(session, approval, { intent, earlier: row, nowMs: now })
      if (problem !== undefined) return { state: 'unapproved', problem } as const
    }
    const token = crypto.randomUUID()
    const unknown = row?.state === 'unknown' ? row : undefined
    await session.run(sql.WRITE, sql.valuesOf(intent, { unknown, now, token }, options))
    wrote({ token, key: intent.key, before: row?.state })
    reach('effect.intent_writing')
    return { state: 'begun', token } as const
  }

  /** Nobody was told of this token, so nothing ran under it: the key is as it was. */
  async function takeBack({ token, key, before }: Written): Promise<void> {
    await transact(async (session) => {
      // The lock is had when the transaction that nobody heard of again has ended.
      const [, rows, now] = await Promise.all([
        session.query(sql.LOCK_KEY, [key]),
        session.query(sql.OWN, [token]),
        readNow(session),
      ])
      const row = sql.journalRow(rows)
      if (row === undefined || !(row.state === 'intent' || row.state === 'unknown')) return
      if (before === undefined) return void (await session.run(sql.DELETE, [token]))
      const state = before === 'unknown' ? 'unknown' : 'denied'
      await session.run(sql.SETTLE, settled(key, { state }, now))
    })
  }

  async function settle(session: Session, token: string, outcome: Outcome): Promise<boolean | 'overruled'> {
    const [rows, now] = await Promise.all([session.query(sql.OWN, [token]), readNow(session)])
    const row = sql.journalRow(rows)
    const may = row !== undefined && maySettle(row, outcome)
    if (row === undefined || may === false) return false
    await Promise.all([
      session.run(sql.SETTLE, settled(row.key, outcome, now)),
      may === 'overruled' ? audit(session, row, 'effect.overrule', OVERRULED, now) : undefined,
    ])
    return may
  }

  async function resolveUnknown(
    session: Session,
    key: string,
    outcome: Outcome,
    settlement: Settlement | undefined,
  ): Promise<boolean> {
    const [rows, now] = await Promise.all([session.query(sql.READ_LOCKED, [key]), readNow(session)])
    const row = sql.journalRow(rows)
    if (row === undefined || !isUnknown(row, now) || row.lease_until_ms > now) return false
    await Promise.all([
      session.run(sql.SETTLE, settled(key, outcome, now, 1)),
      settlement === undefined ? undefined : audit(session, row, 'effect.settle', settlement, now),
    ])
    return true
  }

  async function list(text: string, values: readonly Value[] = []): Promise<JournalEntry[]> {
    return read(async (session) => {
      const now = await readNow(session)
      const rows = await session.query(text, [now, ...values])
      return (rows as unknown as JournalRow[]).map((row) => entryOf(row, now))
    })
  }

  return {
    begin: async (asked, options): Promise<Begun> => {
      const intent = storable(asked)
      // Before anything is locked: its effect begins in the tick that allows it, and waits for no connection then.
      const connection = intent.transactional === true ? await opened.reserve() : undefined
      let written: Written | undefined
      try {
        const begun = await transact((session) => begin(session, intent, options, (one) => (written = one)))
        if (begun.state !== 'begun') connection?.release()
        else if (connection !== undefined) reservations.keep(begun.token, connection, intent, options.leaseMs)
        return begun
      } catch (thrown) {
        connection?.release()
        const lost = written
        if (lost !== undefined && isOutcomeUnknown(thrown)) mending.start(() => takeBack(lost))
        throw thrown
      }
    },
    renew: async (token, leaseMs, fence) => {
      const isOurs = await transact(async (session) => {
        const [rows, now] = await Promise.all([session.query(sql.OWN, [token]), readNow(session)])
        const row = sql.journalRow(rows)
        if (row === undefined || !isAlive(row, now)) return false
        if (fence !== undefined) {
          const held = await session.query(sql.HOLDS_RUN, [fence.token, fence.runId, now])
          if (held.length === 0) return false
        }
        await session.run(sql.RENEW, [now + leaseMs, token])
        return true
      })
      if (isOurs) reservations.renew(token, leaseMs)
      return isOurs
    },
    settle: async (token, outcome) => {
      reservations.drop(token)
      const store = () => transact((session) => settle(session, token, outcome))
      try {
        return await store()
      } catch (thrown) {
        // What happened stays true: it is stored once the database is back, and until then it is an intent.
        if (mayPass(thrown)) mending.start(store)
        throw thrown
      }
    },
    listUnknown: () => list(sql.LIST_UNKNOWN),
    countUnknown: () =>
      read(async (session) => {
        const [row] = await session.query(sql.COUNT_UNKNOWN, [await readNow(session)])
        return Number(row?.['count'])
      }),
    listRun: ({ caller, runId }) => list(sql.LIST_RUN, [caller, runId]),
    resolveUnknown: (key, outcome, settlement) =>
      transact((session) => resolveUnknown(session, key, outcome, settlement)),
    settleWith: createSettleWith(opened, reservations),
    close: async () => {
      reservations.close()
      await mending.close()
      await opened.close()
    },
  }
}

/** Somebody writes it just now: what it becomes is not known yet, except that a conflict and an end stay what they are. */
function obstacleOfHeld(held: JournalRow, intent: Intent, now: number): Begun {
  const obstacle = inTheWay(held, intent, true, now)
  return obstacle ?? { state: 'running' }
}

function isUnknown(row: sql.StoredRow, now: number): boolean {
  return row.state === 'unknown' || sql.hasExpired(row, now)
}

/** Whether its own attempt may show a sign of life. */
function isAlive({ state, lease_until_ms: leaseUntilMs }: JournalRow, now: number): boolean {
  return state === 'intent' || (state === 'unknown' && leaseUntilMs > now)
}

function settled(key: string, outcome: Outcome, now: number, resolved = 0): Value[] {
  const end = endOf(outcome, now)
  return [end.state, end.result, now, end.leaseUntilMs, resolved, key]
}

function audit(
  session: Session,
  { key, run_id: runId }: JournalRow,
  action: 'effect.settle' | 'effect.overrule',
  { by, reason }: Settlement,
  atMs: number,
): Promise<void> {
  const subject = idempotencyKeyOf(key)
  return addToOperatorLog(session, { atMs, by, action, subject, runId: runId ?? undefined, reason })
}

/** As it is read back, so that an approval is compared with what was stored. */
function storable(intent: Intent): Intent {
  const { caller, callId } = intent
  return { ...intent, caller: storableText(caller), callId: storableText(callId) }
}

function isOutcomeUnknown(thrown: unknown): boolean {
  return thrown instanceof HoldpointError && thrown.code === 'STORE_OUTCOME_UNKNOWN'
}
