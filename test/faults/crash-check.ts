import { DatabaseSync } from 'node:sqlite'
import { Pool } from 'pg'

import type { EffectView, RunView } from '../../src/agents/hosted/run-types.ts'
import { idempotencyKeyOf } from '../../src/guard/effect.ts'
import type { EffectState } from '../../src/guard/journal.ts'
import { BOOKING, NOTICE, PAY_IDEMPOTENT, PAY_PLAIN } from './crash-agent.ts'
import type { Task, Tokens } from './crash-drive.ts'
import type { CrashServer } from './crash-server.ts'
import type { Arrival, Sinks } from './sinks.ts'

interface Row {
  readonly key: string
  readonly effect: string
  readonly state: EffectState
}

/** What the journal and the sinks say about the invoices of one round. */
export interface Books {
  /** Idempotency keys of what really happened, by effect, as often as it happened. */
  readonly happened: ReadonlyMap<string, readonly string[]>
  /** The same, by invoice: whatever key it had. */
  readonly invoices: ReadonlyMap<string, readonly string[]>
  readonly journal: readonly (Row & { readonly id: string })[]
  /** Approvals that grew too old. */
  readonly expired: number
  /** Payments whose intent was stored without using their approval up, or the other way round. */
  readonly unapproved: readonly string[]
}

export interface CheckOptions {
  readonly server: CrashServer
  readonly tokens: Tokens
  readonly sinks: Sinks
  readonly tasks: readonly Task[]
}

/** Reads the journal's database beside the server, and counts at the sinks. */
export async function readBooks({ server, sinks, tasks }: CheckOptions): Promise<Books> {
  const wanted = new Set(tasks.map(({ invoice }) => invoice))
  const runIds = JSON.stringify(tasks.flatMap((task) => task.runIds))
  const db = server.databaseUrl === undefined ? fileReader(server.file) : postgresReader(server.databaseUrl)
  try {
    const journal = ((await db.all(ROWS, runIds)) as unknown as Row[]).map((row) => ({
      ...row,
      id: idempotencyKeyOf(row.key),
    }))
    const idOf = new Map(journal.map((row) => [`${row.effect} ${keyPart(row.key)}`, row.id]))
    const booked = (await db.bookings()).filter((invoice) => wanted.has(invoice))
    const ours = (all: readonly Arrival[]) => all.filter(({ invoice }) => wanted.has(invoice))
    const keys = (all: readonly Arrival[]) => ours(all).map(({ idempotencyKey }) => idempotencyKey)
    const names = (all: readonly Arrival[]) => ours(all).map(({ invoice }) => invoice)
    return {
      journal,
      unapproved: [...(await db.all(UNAPPROVED, runIds)), ...(await db.all(USED_FOR_NOTHING, runIds))].map(
        (row) => `approval and intent do not belong together: ${JSON.stringify(row)}`,
      ),
      expired: Number((await db.all(EXPIRED, runIds))[0]?.['approvals']),
      happened: new Map([
        [PAY_IDEMPOTENT, keys(sinks.idempotent)],
        [PAY_PLAIN, keys(sinks.plain)],
        [NOTICE, keys(sinks.notices)],
        [BOOKING, booked.map((invoice) => idOf.get(`${BOOKING} ${invoice}`) ?? `no key: ${invoice}`)],
      ]),
      invoices: new Map([
        [PAY_IDEMPOTENT, names(sinks.idempotent)],
        [PAY_PLAIN, names(sinks.plain)],
        [BOOKING, booked],
      ]),
    }
  } finally {
    await db.close()
  }
}

interface BookReader {
  /** `?` is the JSON of run ids. */
  readonly all: (sql: string, runIds: string) => Promise<Record<string, unknown>[]>
  readonly bookings: () => Promise<string[]>
  readonly close: () => Promise<void>
}

function fileReader(file: string): BookReader {
  const db = new DatabaseSync(file, { readOnly: true })
  return {
    all: async (sql, runIds) => db.prepare(sql).all(runIds),
    bookings: async () => bookings(db),
    close: async () => db.close(),
  }
}

function postgresReader(url: string): BookReader {
  const pool = new Pool({ connectionString: url, max: 1, options: '-c search_path=holdpoint_tools,public' })
  const each = 'SELECT json_array_elements_text($1::json)'
  const all: BookReader['all'] = async (sql, runIds) =>
    (await pool.query<Record<string, unknown>>(sql.replace('SELECT value FROM json_each(?)', each), [runIds]))
      .rows
  return {
    all,
    bookings: async () => {
      const { rows } = await pool.query<{ invoice: string }>('SELECT invoice FROM bookings')
      return rows.map(({ invoice }) => invoice)
    },
    close: () => pool.end(),
  }
}

const OURS = 'run_id IN (SELECT value FROM json_each(?))'
const ROWS = `SELECT key, effect, state FROM effect_journal WHERE ${OURS}`
const EXPIRED = `SELECT count(*) AS approvals FROM approvals WHERE state = 'expired' AND ${OURS}`
/** An approval is used up in the transaction of the intent: at no instant is there one without the other. */
const UNAPPROVED = `
  SELECT run_id, tool, state AS intent,
    coalesce((SELECT state FROM approvals WHERE approval_id = effect_journal.approval_id), 'missing') AS state
  FROM effect_journal WHERE ${OURS} AND tool IN ('${PAY_IDEMPOTENT}', '${PAY_PLAIN}') AND NOT EXISTS (
    SELECT 1 FROM approvals AS one WHERE one.approval_id = effect_journal.approval_id AND one.state = 'used'
      AND one.run_id = effect_journal.run_id AND one.call_id = effect_journal.call_id)`
/** The key is the invoice, so a later run's intent may stand in the place of this run's. */
const USED_FOR_NOTHING = `
  SELECT run_id, tool, state, 'missing' AS intent FROM approvals
  WHERE ${OURS} AND state = 'used' AND NOT EXISTS (
    SELECT 1 FROM effect_journal AS one WHERE one.tool = approvals.tool AND one.input_digest = approvals.digest)`

function keyPart(key: string): string {
  return String((JSON.parse(key) as unknown[]).at(-1))
}

function bookings(db: DatabaseSync): string[] {
  const made = db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'bookings'").get()
  if (made === undefined) return []
  return db
    .prepare('SELECT invoice FROM bookings')
    .all()
    .map(({ invoice }) => String(invoice))
}

/** More of the same than one. Payments and bookings count by invoice, notices by key. */
export function duplicates({ happened, invoices }: Books, effect: string): number {
  const all = (effect === NOTICE ? happened : invoices).get(effect) ?? []
  return all.length - new Set(all).size
}

/** The journal says that it happened, or that it did not, and the sink knows otherwise. */
export function lies({ happened, journal }: Books): readonly string[] {
  const row = new Map(journal.map((one) => [one.id, one]))
  const real = new Set([...happened.values()].flat())
  const undone = journal.filter(({ id, state }) => state === 'done' && !real.has(id))
  const denied = [...real].filter((id) => !['done', 'intent', 'unknown'].includes(row.get(id)?.state ?? ''))
  return [
    ...undone.map(({ key }) => `done, but it never happened: ${key}`),
    ...denied.map((id) => `it happened, but the journal says ${row.get(id)?.state ?? 'nothing'}: ${id}`),
  ]
}

/** Effects of which the journal does not know how they ended. */
export function uncertain({ journal }: Books): readonly string[] {
  return journal.filter(({ state }) => state === 'intent' || state === 'unknown').map(({ id }) => id)
}

/** What an operator sees at `GET /runs?outcome=unknown`, by idempotency key. */
export async function listedUnknown({ server, tokens }: CheckOptions): Promise<Map<string, EffectView>> {
  const { body } = await server.call(tokens.approver, 'GET', '/runs?outcome=unknown')
  const { runs, effects } = body as {
    readonly runs: readonly (RunView & { readonly effects: readonly EffectView[] })[]
    readonly effects: readonly EffectView[]
  }
  return new Map([...runs.flatMap((run) => run.effects), ...effects].map((effect) => [effect.id, effect]))
}

/** Says of each unknown effect what the sink knows. */
export async function settleByTruth(unknown: Iterable<EffectView>, options: CheckOptions): Promise<void> {
  const { server, tokens } = options
  const real = new Set([...(await readBooks(options)).happened.values()].flat())
  for (const { id } of unknown) {
    const outcome = real.has(id) ? 'done' : 'failed'
    const word = { outcome, reason: 'The books of the sink say so.' }
    const { status, body } = await server.call(tokens.approver, 'POST', `/effects/${id}/settle`, word)
    if (status !== 200) throw new Error(`settle: ${status} ${JSON.stringify(body)}`)
  }
}
