import type { Duplex } from 'node:stream'
import { Client, Pool, types, type ClientBase, type ClientConfig, type PoolClient, type QueryConfig } from 'pg'

import { HoldpointError } from '../../errors.ts'
import type { Row, Value } from '../control-plane-rows.ts'
import { isRefusedStatement, outcomeUnknown, storeError } from './errors.ts'

export interface DatabaseOptions {
  /** `postgres://user:password@host:port/database`. Parameters such as `sslmode` are those of the `pg` package. */
  readonly url: string
  /** Where its tables are. Made by the first migration. */
  readonly schema: 'holdpoint_control_plane' | 'holdpoint_tools'
  /** In `pg_stat_activity`. */
  readonly name: string
  /** The most connections at once. */
  readonly poolSize: number
  /** For a connection, and for each statement. After that the connection is destroyed, and never used again. */
  readonly timeoutMs: number
  /** Looks at a new connection before anything else uses it; what it throws ends the connection. */
  readonly admit?: ((session: Session) => Promise<void>) | undefined
}

/** One connection, for as long as the body that it was given to runs. Statements are sent at once and answered in order. */
export interface Session {
  /** Prepared once for each connection, so never with `*`: an added column would break it. */
  readonly query: (text: string, values?: readonly Value[]) => Promise<readonly Row[]>
  /** How many rows it changed. */
  readonly run: (text: string, values?: readonly Value[]) => Promise<number>
  /** Several statements without parameters. */
  readonly exec: (text: string) => Promise<void>
}

export interface Database {
  /** `host:port/name`, without a secret, for people. */
  readonly label: string
  /** One statement, committed by itself. What is thrown is a HoldpointError. */
  readonly query: Session['query']
  /** Several statements on one connection, each committed by itself. */
  readonly read: <T>(body: (session: Session) => Promise<T>) => Promise<T>
  /**
   * One transaction, READ COMMITTED: what `body` gave, once COMMIT was confirmed without a word of warning (G5). What
   * `body` throws rolls back and is thrown again. Throws `STORE_OUTCOME_UNKNOWN` when COMMIT was sent and not confirmed.
   */
  readonly transact: <T>(body: (session: Session) => Promise<T>) => Promise<T>
  /** A connection of one's own, outside of the pool, admitted like the others. Rejects with a HoldpointError. */
  readonly connect: (name: string) => Promise<OwnConnection>
  readonly close: () => Promise<void>
}

export interface OwnConnection {
  readonly session: Session
  readonly client: Client
  /** Called once, when the connection is gone, for whatever reason. */
  readonly onEnd: (listener: () => void) => void
  /** At once, without a good-bye. */
  readonly destroy: () => void
}

/** Postgres answers an ordinary statement within its own limit; this much later the connection counts as dead. */
const GRACE_MS = 500
const INT8 = 20

/** Numbers stay numbers: all of ours are safe integers. */
const asNumbers: ClientConfig['types'] = {
  getTypeParser: ((oid: number, format: 'text' | 'binary') =>
    oid === INT8 ? Number : types.getTypeParser(oid, format)) as typeof types.getTypeParser,
}

/** Connects to nothing until it is used. */
export function createDatabase(options: DatabaseOptions): Database {
  const { url, admit, poolSize } = options
  const label = labelOf(url)
  const config = configOf(options)
  const pool = new Pool({
    ...config,
    max: poolSize,
    idleTimeoutMillis: 30_000,
    onConnect: async (client) => admit?.(createSession(client, label)),
  })
  // An idle connection that breaks is dropped by the pool; the next use tells whether there is another one.
  pool.on('error', ignore)

  const use = async <T>(body: (session: WatchedSession, client: PoolClient) => Promise<T>): Promise<T> => {
    let client: PoolClient
    try {
      client = await pool.connect()
    } catch (thrown) {
      throw storeError(thrown, label)
    }
    const session = createSession(client, label)
    // Without a listener an error between two statements would end the process.
    client.on('error', session.spoil)
    try {
      return await body(session, client)
    } finally {
      session.end()
      client.off('error', session.spoil)
      client.release(session.isSpoiled())
    }
  }

  return {
    label,
    query: (text, values) => use((session) => session.query(text, values)),
    read: use,
    transact: (body) => use((session, client) => transact({ session, client, label }, body)),
    connect: async (name) => {
      const client = new Client({ ...config, application_name: name })
      client.on('error', ignore)
      try {
        await client.connect()
        const session = createSession(client, label)
        await admit?.(session)
        return ownConnection(client, session)
      } catch (thrown) {
        destroy(client)
        throw storeError(thrown, label)
      }
    },
    close: () => pool.end(),
  }
}

interface Transaction {
  readonly session: WatchedSession
  readonly client: ClientBase
  readonly label: string
}

async function transact<T>(on: Transaction, body: (session: Session) => Promise<T>): Promise<T> {
  const { session } = on
  // Sent together with the first statement of `body`, and answered before it.
  const begun = session.exec('BEGIN')
  let result
  try {
    ;[result] = await Promise.all([body(session), begun])
  } catch (thrown) {
    session.end()
    // Of a connection that is gone the server rolls back by itself.
    await on.client.query('ROLLBACK').catch(session.spoil)
    throw thrown
  }
  session.end()
  await commit(on)
  return result
}

/** G5: resolves only when Postgres has confirmed it, and had nothing to add. */
export async function commit({ session, client, label }: Transaction): Promise<void> {
  const warnings: string[] = []
  const warned = ({ message }: { readonly message: string | undefined }) => void warnings.push(message ?? '')
  client.on('notice', warned)
  try {
    const { command } = await client.query('COMMIT')
    // A transaction in which a statement failed is rolled back by COMMIT, without an error.
    if (command !== 'COMMIT') throw rolledBack(label)
    // For example "canceling wait for synchronous replication": it is done here, and perhaps nowhere else.
    if (warnings.length > 0) throw new Error(warnings.join('; '))
  } catch (thrown) {
    session.spoil()
    throw thrown instanceof HoldpointError ? thrown : outcomeUnknown(thrown, label)
  } finally {
    client.off('notice', warned)
  }
}

interface WatchedSession extends Session {
  /** From now on nobody else gets this connection: nobody knows what it would still say. */
  readonly spoil: () => void
  /** What is still asked of it would go to whoever has the connection next, outside of any transaction. */
  readonly end: () => void
  readonly isSpoiled: () => boolean
}

function createSession(client: ClientBase, label: string): WatchedSession {
  let spoiled = false
  let over = false
  const send = async (query: QueryConfig) => {
    if (over) throw new HoldpointError('STORE_FAILED', 'A statement came after its transaction had ended.')
    try {
      return await client.query<Row>(query)
    } catch (thrown) {
      if (!isRefusedStatement(thrown)) spoiled = true
      throw storeError(thrown, label)
    }
  }
  const prepared = (text: string, values: readonly Value[] = []) =>
    send({ name: nameOf(text), text, values: [...values] })
  return {
    query: async (text, values) => (await prepared(text, values)).rows,
    run: async (text, values) => (await prepared(text, values)).rowCount ?? 0,
    exec: async (text) => void (await send({ text })),
    spoil: () => void (spoiled = true),
    end: () => void (over = true),
    isSpoiled: () => spoiled,
  }
}

function ownConnection(client: Client, session: WatchedSession): OwnConnection {
  const ended = Promise.withResolvers<void>()
  client.once('end', () => ended.resolve())
  client.once('error', () => ended.resolve())
  return {
    session,
    client,
    onEnd: (listener) => void ended.promise.then(listener),
    destroy: () => {
      destroy(client)
      ended.resolve()
    },
  }
}

function destroy(client: Client): void {
  // `end` says good-bye and waits for the answer, which a server that hangs never gives.
  ;(client as unknown as { readonly connection: { readonly stream: Duplex } }).connection.stream.destroy()
}

/** The same text has the same name, in each process and on each connection. */
function nameOf(text: string): string {
  let name = NAMES.get(text)
  if (name === undefined) NAMES.set(text, (name = `holdpoint_${NAMES.size}`))
  return name
}
const NAMES = new Map<string, string>()

function configOf({ url, schema, name, timeoutMs }: DatabaseOptions): ClientConfig {
  return {
    connectionString: url,
    application_name: name,
    connectionTimeoutMillis: timeoutMs,
    query_timeout: timeoutMs + GRACE_MS,
    keepAlive: true,
    types: asNumbers,
    // Statements do not wait for each other's answers.
    pipeline: true,
    options: [
      `-c search_path=${schema}`,
      `-c statement_timeout=${timeoutMs}`,
      `-c lock_timeout=${timeoutMs}`,
      `-c idle_in_transaction_session_timeout=${timeoutMs}`,
      // Ours needs no role that may change the server's own setting (G5).
      '-c synchronous_commit=on',
    ].join(' '),
  } as ClientConfig
}

function labelOf(url: string): string {
  const { hostname, port, pathname } = new URL(url)
  return `${hostname}:${port || 5432}${pathname}`
}

function rolledBack(label: string): HoldpointError {
  return new HoldpointError('STORE_FAILED', `The database ${label} rolled a change back instead of committing it.`)
}

function ignore(): void {}
