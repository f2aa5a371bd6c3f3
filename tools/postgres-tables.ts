import { Client, Pool, types, type PoolClient, type PoolConfig } from 'pg'

export interface PostgresTablesOptions {
  /** `postgres://user:password@host:port/database`; give the tool server's journal the same. */
  readonly url: string
  /** The most connections at once. Default 4. */
  readonly poolSize?: number | undefined
  /** For a connection, and for each statement, in milliseconds. Default 1500. */
  readonly timeoutMs?: number | undefined
}

export type Query = (text: string, values?: readonly unknown[]) => Promise<readonly Record<string, unknown>[]>

/** Where the ledger and the records of several tool servers lie: the schema `holdpoint_accounts` of one Postgres. */
export interface PostgresTables {
  readonly query: Query
  /** One transaction. Whatever is thrown by a COMMIT says nothing of whether it was done. */
  readonly transact: <T>(work: (query: Query) => Promise<T>) => Promise<T>
  readonly close: () => Promise<void>
}

const SCHEMA = 'holdpoint_accounts'
/** Whoever makes the tables. */
const LOCK = 4_100_431
const TABLES = `
  CREATE TABLE IF NOT EXISTS ${SCHEMA}.invoices (
    "invoiceId" TEXT PRIMARY KEY,
    customer TEXT NOT NULL,
    "amountCents" BIGINT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('open', 'paid'))
  );
  CREATE TABLE IF NOT EXISTS ${SCHEMA}.payments (
    "paymentId" TEXT PRIMARY KEY,
    "invoiceId" TEXT NOT NULL UNIQUE REFERENCES ${SCHEMA}.invoices,
    "amountCents" BIGINT NOT NULL,
    "paidAt" TEXT NOT NULL,
    "idempotencyKey" TEXT NOT NULL UNIQUE,
    seq BIGINT GENERATED ALWAYS AS IDENTITY
  );
  CREATE TABLE IF NOT EXISTS ${SCHEMA}.claims (
    "idempotencyKey" TEXT PRIMARY KEY,
    "invoiceId" TEXT NOT NULL REFERENCES ${SCHEMA}.invoices,
    attempt INTEGER NOT NULL,
    open BOOLEAN NOT NULL
  );
  CREATE UNIQUE INDEX IF NOT EXISTS claims_open ON ${SCHEMA}.claims ("invoiceId") WHERE open;
  CREATE TABLE IF NOT EXISTS ${SCHEMA}.records (key TEXT PRIMARY KEY, value TEXT NOT NULL)`
const INT8 = 20

/** Opens them, and makes them where they are not there yet: of several tool servers that start together one does. */
export async function openPostgresTables(options: PostgresTablesOptions): Promise<PostgresTables> {
  const { url, poolSize = 4, timeoutMs = 1500 } = options
  const config: PoolConfig = {
    connectionString: url,
    application_name: 'holdpoint accounts tools',
    max: poolSize,
    connectionTimeoutMillis: timeoutMs,
    query_timeout: timeoutMs + 500,
    options: [
      `-c search_path=${SCHEMA}`,
      `-c statement_timeout=${timeoutMs}`,
      `-c lock_timeout=${timeoutMs}`,
      // Of a tool server that is cut off in the middle of a payment, so that another one can look what became of it.
      `-c idle_in_transaction_session_timeout=${timeoutMs}`,
      '-c synchronous_commit=on',
    ].join(' '),
    types: {
      getTypeParser: ((oid: number, format: 'text') =>
        oid === INT8 ? Number : types.getTypeParser(oid, format)) as typeof types.getTypeParser,
    },
  }
  const pool = new Pool(config)
  // The next use tells whether there is another connection.
  pool.on('error', () => {})
  const tables = tablesOn(pool, config)
  try {
    await tables.transact(create)
  } catch (thrown) {
    await pool.end()
    throw thrown
  }
  return tables
}

async function create(query: Query): Promise<void> {
  await query('SELECT pg_advisory_xact_lock($1)', [LOCK])
  const [found] = await query('SELECT count(*) AS schemas FROM pg_namespace WHERE nspname = $1', [SCHEMA])
  if (found?.['schemas'] === 0) await query(`CREATE SCHEMA ${SCHEMA}`)
  await query(TABLES)
}

function tablesOn(pool: Pool, config: PoolConfig): PostgresTables {
  const use = async <T>(work: (client: PoolClient) => Promise<T>): Promise<T> => {
    const client = await pool.connect()
    let broken = true
    const onError = () => {}
    client.on('error', onError)
    try {
      const result = await work(client)
      broken = false
      return result
    } finally {
      client.off('error', onError)
      // One in an unknown state is of no use to anybody.
      client.release(broken)
      if (broken) cancel(client, config)
    }
  }
  return {
    query: (text, values = []) =>
      use(async (client) => (await client.query<Record<string, unknown>>(text, [...values])).rows),
    transact: (work) => use((client) => within(client, work)),
    close: () => pool.end(),
  }
}

/** What the driver's types do not name. */
interface Wired extends Pick<Client, 'port' | 'host'> {
  readonly processID: number
  readonly secretKey: number
  readonly connection: {
    readonly stream: { readonly unref: () => void }
    readonly on: (event: 'connect' | 'error', listener: () => void) => void
    readonly connect: (port: number | string, host?: string) => void
    readonly cancel: (processID: number, secretKey: number) => void
  }
}

/**
 * The server gives up what we no longer wait for. With a standby that is gone each COMMIT would take one more connection of
 * the server for good, until nobody can connect there, not even to stop this.
 */
function cancel(client: PoolClient, config: PoolConfig): void {
  const { processID, secretKey, port, host } = client as unknown as Wired
  const { connection } = new Client(config) as unknown as Wired
  connection.on('error', () => {})
  connection.on('connect', () => connection.cancel(processID, secretKey))
  if (host.startsWith('/')) connection.connect(`${host}/.s.PGSQL.${port}`)
  else connection.connect(port, host)
  connection.stream.unref()
}

async function within<T>(client: PoolClient, work: (query: Query) => Promise<T>): Promise<T> {
  await client.query('BEGIN')
  const result = await work(async (text, values) => {
    // Without values several statements may come at once.
    const answered = await (values === undefined ? client.query(text) : client.query(text, [...values]))
    return (answered.rows ?? []) as Record<string, unknown>[]
  })
  const { command } = await client.query('COMMIT')
  if (command !== 'COMMIT') throw new Error('The database rolled it back.')
  return result
}
