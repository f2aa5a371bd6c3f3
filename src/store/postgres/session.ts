import type { ClientBase, QueryConfig } from 'pg'

import { HoldpointError } from '../../errors.ts'
import type { Row, Value } from '../control-plane-rows.ts'
import { storableText } from '../text.ts'
import { isRefusedStatement, storeError } from './errors.ts'

/** One connection, for as long as the body that it was given to runs. Statements are sent at once and answered in order. */
export interface Session {
  /** Prepared once for each connection, so never with `*`: an added column would break it. */
  readonly query: (text: string, values?: readonly Value[]) => Promise<readonly Row[]>
  /** The same, each row as an array. */
  readonly columns: (text: string, values?: readonly Value[]) => Promise<readonly (readonly Value[])[]>
  /** How many rows it changed. */
  readonly run: (text: string, values?: readonly Value[]) => Promise<number>
  /** Several statements without parameters. */
  readonly exec: (text: string) => Promise<void>
  /** One statement that is not ours, not prepared for another time. */
  readonly once: (text: string, values: readonly unknown[]) => Promise<Answered>
}

export interface Answered {
  readonly rows: readonly Row[]
  readonly rowCount: number
}

export interface WatchedSession extends Session {
  /** From now on nobody else gets this connection: nobody knows what it would still say. */
  readonly spoil: () => void
  /** What is still asked of it would go to whoever has the connection next, outside of any transaction. */
  readonly end: () => void
  readonly isSpoiled: () => boolean
}

export function createSession(client: ClientBase, label: string): WatchedSession {
  let spoiled = false
  let over = false
  const send = async (query: QueryConfig & { readonly rowMode?: string }) => {
    if (over) throw new HoldpointError('STORE_FAILED', 'A statement came after its transaction had ended.')
    try {
      return await client.query<Row>(query)
    } catch (thrown) {
      if (!isRefusedStatement(thrown)) spoiled = true
      throw storeError(thrown, label)
    }
  }
  const columns = async (text: string, values: readonly Value[] = []) => {
    const query = { name: `${nameOf(text)}_columns`, text, values: values.map(sendable), rowMode: 'array' }
    return (await send(query)).rows as unknown as readonly Value[][]
  }
  const prepared = (text: string, values: readonly Value[] = []) =>
    send({ name: nameOf(text), text, values: values.map(sendable) })
  return {
    query: async (text, values) => (await prepared(text, values)).rows,
    columns,
    run: async (text, values) => (await prepared(text, values)).rowCount ?? 0,
    exec: async (text) => void (await send({ text })),
    once: async (text, values) => {
      // The extended protocol, which takes one statement and no more.
      const { rows, rowCount } = await send({
        text,
        values: [...values],
        queryMode: 'extended',
      } as QueryConfig)
      return { rows, rowCount: rowCount ?? 0 }
    },
    spoil: () => void (spoiled = true),
    end: () => void (over = true),
    isSpoiled: () => spoiled,
  }
}

/** Text in Postgres holds no NUL: what has one is not there, which is an answer and no error. */
function sendable(value: Value): Value {
  return typeof value === 'string' && value.includes('\0') ? storableText(value) : value
}

/** The same text has the same name, in each process and on each connection. */
function nameOf(text: string): string {
  let name = NAMES.get(text)
  if (name === undefined) NAMES.set(text, (name = `holdpoint_${NAMES.size}`))
  return name
}
const NAMES = new Map<string, string>()
