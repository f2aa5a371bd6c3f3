import { Client, Pool, types, type ClientBase, type ClientConfig, type PoolClient } from 'pg'

import { HoldpointError } from '../../errors.ts'
import { postgresUrlProblem } from '../../postgres-url.ts'
import { storeError } from './errors.ts'
import { createSession, type Session, type WatchedSession } from './session.ts'
import { snapshot, transact } from './transaction.ts'
import { cancel, destroy } from './wire.ts'

/** How Postgres is reached. */
export interface DatabaseOptions {
  /**
   * `postgres://user:password@host:port/database`. After a `?` it takes `host` (of a Unix socket) and, for TLS, `sslmode`
   * and its like, as the `pg` package has them; with any other parameter it is refused with `CONFIG_INVALID`.
   */
  readonly url: string
  /** Where its tables are. Made by the first migration. */
  readonly schema: 'holdpoint_control_plane' | 'holdpoint_tools'
  /** In `pg_stat_activity`. */
  readonly name: string
  /** The most connections at once. */
  readonly poolSize: number
  /** For a connection, and for each statement. After that the connection is destroyed, and never used again. */
  readonly timeoutMs: number
  /** For a connection alone. Default `timeoutMs`. */
  readonly connectTimeoutMs?: number | undefined
  /**
   * Looks at a new connection before anything else uses it; what it throws ends the connection. What it answers tells
   * later whether the connection may still be used.
   */
  readonly admit?: ((session: Session) => Promise<IsCurrent>) | undefined
}

export type IsCurrent = () => boolean

export interface Database {
  /** `host:port/name`, without a secret, for people. */
  readonly label: string
  /** One statement, committed by itself. What is thrown is a HoldpointError. */
  readonly query: Session['query']
  /** Several statements on one connection, each committed by itself. */
  readonly read: <T>(body: (session: Session) => Promise<T>) => Promise<T>
  /** Several reads of one moment. */
  readonly snapshot: <T>(body: (session: Session) => Promise<T>) => Promise<T>
  /**
   * One transaction, READ COMMITTED: what `body` gave, once COMMIT was confirmed without a word of warning (G5). What
   * `body` throws rolls back and is thrown again. Throws `STORE_OUTCOME_UNKNOWN` when COMMIT was sent and not confirmed.
   */
  readonly transact: <T>(body: (session: Session) => Promise<T>) => Promise<T>
  /** A connection out of the pool for later, so that a transaction can begin in the tick that wants it. */
  readonly reserve: () => Promise<Reserved>
  /** A connection of one's own, outside of the pool, admitted like the others. Rejects with a HoldpointError. */
  readonly connect: (name: string) => Promise<OwnConnection>
  readonly close: () => Promise<void>
}

export interface Reserved {
  /** As `Database.transact`: `body` begins in this tick. */
  readonly transact: Database['transact']
  /** Back to the pool. May be called again. */
  readonly release: () => void
}

export interface OwnConnection {
  readonly session: Session
  readonly client: Client
  /** False when the store has moved to another server since: destroy it, and connect anew. */
  readonly isCurrent: IsCurrent
  /** Called once, when the connection is gone, for whatever reason. */
  readonly onEnd: (listener: () => void) => void
  /** At once, without a good-bye. */
  readonly destroy: () => void
  /**
   * The same, and the server is told to give up what it still does for this connection: a commit that waits for a standby
   * would keep one of its connections until that comes.
   */
  readonly abandon: () => void
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
  const problem = postgresUrlProblem(url)
  if (problem !== undefined)
    throw new HoldpointError('CONFIG_INVALID', `The URL of the database ${label} cannot be used: ${problem}.`)
  const config = configOf(options)
  const admitted = new WeakMap<ClientBase, IsCurrent>()
  const look = async (client: ClientBase): Promise<void> => {
    if (admit === undefined) return
    try {
      admitted.set(client, await admit(createSession(client, label)))
    } catch (thrown) {
      // The pool would say good-bye, and whoever waits for the connection with it for the answer.
      destroy(client)
      throw thrown
    }
  }
  const pool = new Pool({
    ...config,
    max: poolSize,
    idleTimeoutMillis: 30_000,
    // oxlint-disable-next-line typescript/no-misused-promises -- the pool waits for it, whatever its type says
    onConnect: look,
  })
  // An idle connection that breaks is dropped by the pool; the next use tells whether there is another one.
  pool.on('error', ignore)

  const lend = async (): Promise<PoolClient> => {
    for (;;) {
      let client: PoolClient
      try {
        client = await pool.connect()
      } catch (thrown) {
        throw storeError(thrown, label)
      }
      if (admitted.get(client)?.() !== false) return client
      client.release(true)
    }
  }
  const giveBack = (client: PoolClient, spoiled: boolean): void => {
    client.release(spoiled)
    if (spoiled) cancel(client, config)
  }
  const use = async <T>(body: (session: WatchedSession, client: PoolClient) => Promise<T>): Promise<T> => {
    const client = await lend()
    const session = createSession(client, label)
    // Without a listener an error between two statements would end the process.
    client.on('error', session.spoil)
    try {
      return await body(session, client)
    } finally {
      session.end()
      client.off('error', session.spoil)
      giveBack(client, session.isSpoiled())
    }
  }

  return {
    label,
    query: (text, values) => use((session) => session.query(text, values)),
    read: use,
    snapshot: (body) => use((session, client) => snapshot({ session, client, label }, body)),
    transact: (body) => use((session, client) => transact({ session, client, label }, body)),
    reserve: async () => reserved(await lend(), { label, giveBack }),
    connect: async (name) => {
      const client = new Client({ ...config, application_name: name })
      client.on('error', ignore)
      try {
        await client.connect()
        const session = createSession(client, label)
        const isCurrent = (await admit?.(session)) ?? (() => true)
        return ownConnection(client, session, isCurrent, () => cancel(client, config))
      } catch (thrown) {
        destroy(client)
        throw storeError(thrown, label)
      }
    },
    close: () => pool.end(),
  }
}

interface Lent {
  readonly label: string
  readonly giveBack: (client: PoolClient, spoiled: boolean) => void
}

function reserved(client: PoolClient, { label, giveBack }: Lent): Reserved {
  let spoiled = false
  let released = false
  const broken = () => void (spoiled = true)
  client.on('error', broken)
  return {
    transact: async (body) => {
      if (released)
        throw new HoldpointError('STORE_FAILED', 'A reserved connection was used after it was given back.')
      const session = createSession(client, label)
      try {
        return await transact({ session, client, label }, body)
      } finally {
        spoiled ||= session.isSpoiled()
      }
    },
    release: () => {
      if (released) return
      released = true
      client.off('error', broken)
      giveBack(client, spoiled)
    },
  }
}

function ownConnection(
  client: Client,
  session: WatchedSession,
  isCurrent: IsCurrent,
  cancelOne: () => void,
): OwnConnection {
  const ended = Promise.withResolvers<void>()
  client.once('end', () => ended.resolve())
  client.once('error', () => ended.resolve())
  const end = () => {
    destroy(client)
    ended.resolve()
  }
  return {
    session,
    client,
    isCurrent,
    onEnd: (listener) => void ended.promise.then(listener),
    destroy: end,
    abandon: () => {
      end()
      cancelOne()
    },
  }
}

function configOf({ url, schema, name, timeoutMs, connectTimeoutMs }: DatabaseOptions): ClientConfig {
  return {
    connectionString: url,
    application_name: name,
    connectionTimeoutMillis: connectTimeoutMs ?? timeoutMs,
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
  }
}

/** `host:port/name`, without a secret. */
export function labelOf(url: string): string {
  const { hostname, port, pathname } = new URL(url)
  return `${hostname}:${port || 5432}${pathname}`
}

function ignore(): void {}
