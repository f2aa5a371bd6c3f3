// Several control planes on one Postgres, as processes of their own: `main.ts control-plane` with DATABASE_URL, as
// production runs it. Killed at the end, whatever has become of them.
//
//   await using cluster = await startCluster({ nodes: 3, proxied: true })
//   cluster.nodes[0].url, .operatorUrl, .operate(PATHS.revoke, { deviceId }, 'stop'), .freeze(), .thaw(), .network('deaf')
//   cluster.postgres.kill()      see fixtures/postgres.ts
//   cluster.orgId, cluster.keys  of an org whose plan has room for 100,000 devices

import { fork, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Pool } from 'undici'

import { PATHS } from '../../src/machineid/paths.ts'
import { KEY_KINDS, type KeyKind } from '../../src/machineid/wire.ts'
import type { ProgramMessage } from '../../src/programs/lifecycle.ts'
import { startPostgres, startReplicated, type TestPostgres } from '../fixtures/postgres.ts'
import { startTcpProxy, type Network, type TcpProxy } from './tcp-proxy.ts'

export interface ClusterOptions {
  readonly nodes: number
  /** `sqlite`: one node on a file, to measure beside. Default `postgres`. */
  readonly store?: 'postgres' | 'sqlite'
  /** With `quorum` Postgres gets a synchronous standby. Default `primary`. */
  readonly consistency?: 'primary' | 'quorum'
  /** Each node reaches Postgres through a proxy of its own, which `network` sets. Default false. */
  readonly proxied?: boolean
  /** The wall clock of each node can be set by `shiftClock`. Default false. */
  readonly clocks?: boolean
  /** More settings of each node. */
  readonly env?: Readonly<Record<string, string>>
}

export interface Node {
  readonly index: number
  readonly url: string
  readonly operatorUrl: string
  /** Of the process: the same for as long as it was not started anew. */
  readonly pid: number
  readonly isAlive: () => boolean
  /** On the operator lane. Rejects when there is no whole answer in time (default 10 s). */
  readonly operate: (
    path: string,
    body: object | undefined,
    key: KeyKind | { readonly key: string },
    timeoutMs?: number,
  ) => Promise<HttpAnswer>
  /** A question on the agent lane over plain HTTP, which waits for as long as it takes. */
  readonly ask: (deviceIds: readonly string[], key?: string) => Promise<HttpAnswer>
  readonly freeze: () => void
  readonly thaw: () => void
  readonly network: (network: Network) => void
  /** Sets its wall clock that much before or behind. Resolves once that holds. */
  readonly shiftClock: (shiftMs: number) => Promise<void>
  /** What it has printed, the last of it. */
  readonly printed: () => string
}

export interface HttpAnswer {
  readonly status: number
  // oxlint-disable-next-line typescript/no-explicit-any -- bodies of every shape
  readonly body: any
}

export interface Org {
  readonly orgId: string
  readonly keys: Readonly<Record<KeyKind, string>>
}

export interface Cluster extends AsyncDisposable, Org {
  readonly nodes: readonly Node[]
  /** The primary. */
  readonly postgres: TestPostgres
  readonly databaseUrl: string
  readonly newOrg: (limit: number) => Promise<Org>
}

const MAIN = join(import.meta.dirname, '../../src/main.ts')
const CLOCK = join(import.meta.dirname, 'child-clock.ts')
const CLOCK_FILE = 'clock-shift'
/** Much longer than the file is looked at. */
const CLOCK_SET_MS = 100
const LIMIT = 100_000
const MAX_PROCESSES = 64

export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const { nodes: count, store = 'postgres', consistency = 'primary', proxied = false } = options
  const ends = new AsyncDisposableStack()
  // Each process is ended with this one.
  process.setMaxListeners(Math.max(process.getMaxListeners(), MAX_PROCESSES))
  try {
    const dir = await mkdtemp(join(tmpdir(), 'holdpoint-nodes-'))
    ends.defer(() => rm(dir, { recursive: true, force: true }))
    const servers = store === 'sqlite' ? [] : await startServers(consistency)
    for (const server of servers) {
      ends.defer(async () => {
        server.thaw()
        await server.close()
      })
    }
    const [postgres] = servers
    const databaseUrl = await postgres?.createDatabase()
    const platformToken = randomBytes(32).toString('hex')
    const startOne = async (index: number): Promise<Node> => {
      const proxy = proxied && postgres !== undefined ? await startTcpProxy(postgres.port) : undefined
      if (proxy !== undefined) ends.use(proxy)
      const settings = { dir, platformToken, consistency, databaseUrl: through(databaseUrl, proxy) }
      const { env = {}, clocks = false } = options
      const node = await startNode({ ...settings, index, clocks, proxy, env, keys: () => org.keys })
      ends.use(node)
      return node
    }
    // The first makes the tables, with what it compiles the others begin.
    const first = await startOne(0)
    const others = await Promise.all(Array.from({ length: count - 1 }, (_, index) => startOne(index + 1)))
    const newOrg = createOrg(first, platformToken)
    const org = await newOrg(LIMIT)
    return {
      ...org,
      nodes: [first, ...others],
      get postgres() {
        if (postgres === undefined) throw new Error('This cluster is on SQLite.')
        return postgres
      },
      databaseUrl: databaseUrl ?? '',
      newOrg,
      [Symbol.asyncDispose]: () => ends.disposeAsync(),
    }
  } catch (error) {
    await ends.disposeAsync()
    throw error
  }
}

async function startServers(consistency: 'primary' | 'quorum'): Promise<readonly TestPostgres[]> {
  return consistency === 'quorum' ? startReplicated() : [await startPostgres()]
}

function through(url: string | undefined, proxy: TcpProxy | undefined): string | undefined {
  if (url === undefined || proxy === undefined) return url
  const changed = new URL(url)
  changed.port = String(proxy.port)
  return changed.href
}

interface NodeSettings {
  readonly index: number
  readonly dir: string
  readonly platformToken: string
  readonly databaseUrl: string | undefined
  readonly consistency: 'primary' | 'quorum'
  readonly clocks: boolean
  readonly proxy: TcpProxy | undefined
  readonly env: Readonly<Record<string, string>>
  readonly keys: () => Org['keys']
}

async function startNode(settings: NodeSettings): Promise<Node & AsyncDisposable> {
  const { index, dir, proxy, keys } = settings
  const dataDir = join(dir, `node-${index}`)
  await mkdir(dataDir)
  const child = fork(MAIN, ['control-plane'], {
    cwd: dataDir,
    execArgv: ['--conditions=holdpoint-source', ...(settings.clocks ? [`--import=${CLOCK}`] : [])],
    env: environmentOf(settings, dataDir),
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  const killChild = () => void child.kill('SIGKILL')
  process.once('exit', killChild)
  let printed = ''
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => (printed = (printed + chunk.toString()).slice(-20_000)))
  const end = async () => {
    process.off('exit', killChild)
    if (isOver(child)) return
    const ended = once(child, 'exit')
    // What stands still is killed all the same.
    killChild()
    await ended
  }
  const ready = await readyOf(child).catch(async (error: unknown) => {
    await end()
    throw new Error(`node ${index} did not start:\n${printed}`, { cause: error })
  })
  const { url, operatorUrl = '' } = ready
  const agent = new Pool(url, { connections: 256, headersTimeout: 0, bodyTimeout: 0 })
  const operator = new Pool(operatorUrl, { connections: 64, headersTimeout: 0, bodyTimeout: 0 })
  return {
    index,
    url,
    operatorUrl,
    pid: child.pid ?? 0,
    isAlive: () => !isOver(child),
    operate: (path, body, key, timeoutMs = 10_000) => {
      const asked = typeof key === 'string' ? keys()[key] : key.key
      return send(operator, path, body, { 'x-org-key': asked }, AbortSignal.timeout(timeoutMs))
    },
    ask: (deviceIds, key = keys().runtime) => {
      const nonce = randomBytes(16).toString('hex')
      const body = { deviceIds, nonce, context: { boundary: 'tool' } }
      return send(agent, PATHS.validateBatch, body, { 'x-org-key': key })
    },
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT'),
    network: (network) => {
      if (proxy === undefined) throw new Error('Start the cluster with `proxied`.')
      proxy.set(network)
    },
    shiftClock: async (shiftMs) => {
      if (!settings.clocks) throw new Error('Start the cluster with `clocks`.')
      await writeFile(join(dataDir, `${CLOCK_FILE}.new`), String(shiftMs))
      await rename(join(dataDir, `${CLOCK_FILE}.new`), join(dataDir, CLOCK_FILE))
      await delay(CLOCK_SET_MS)
    },
    printed: () => printed,
    [Symbol.asyncDispose]: async () => {
      await end()
      await Promise.all([agent.destroy(), operator.destroy()])
    },
  }
}

function environmentOf(settings: NodeSettings, dataDir: string): NodeJS.ProcessEnv {
  const { dir, platformToken, databaseUrl, consistency, clocks, env } = settings
  return {
    PATH: process.env['PATH'],
    NODE_COMPILE_CACHE: join(dir, 'compiled'),
    DATA_DIR: dataDir,
    PLATFORM_TOKEN: platformToken,
    CONTROL_PLANE_PORT: '0',
    OPERATOR_PORT: '0',
    LOG_LEVEL: 'warn',
    // What is proved is not how much is let in.
    VALIDATES_PER_SECOND_PER_KEY: '0',
    VALIDATES_PER_SECOND_PER_ORG: '0',
    ...(databaseUrl === undefined ? {} : { DATABASE_URL: databaseUrl, CONSISTENCY: consistency }),
    ...(clocks ? { CLOCK_SHIFT_FILE: join(dataDir, CLOCK_FILE) } : {}),
    ...env,
  }
}

function readyOf(child: ChildProcess): Promise<Extract<ProgramMessage, { state: 'ready' }>> {
  return new Promise((resolve, reject) => {
    child.once('message', (message: ProgramMessage) => {
      if (message.state === 'ready') resolve(message)
    })
    child.once('exit', (code, signal) => reject(new Error(`it ended with ${code ?? signal}`)))
  })
}

function isOver({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null
}

function createOrg(node: Node, platformToken: string): Cluster['newOrg'] {
  return async (limit) => {
    const pool = new Pool(node.operatorUrl)
    const platform = { authorization: `Bearer ${platformToken}` }
    try {
      const { status, body } = await send(pool, PATHS.orgCreate, { kinds: KEY_KINDS }, platform)
      if (status !== 200) throw new Error(`org: ${status} ${JSON.stringify(body)}\n${node.printed()}`)
      const { orgId, keys } = body as Org
      const plan = await send(pool, PATHS.orgPlan, { orgId, tier: 'custom', limit }, platform)
      if (plan.status !== 200) throw new Error(`plan: ${plan.status} ${JSON.stringify(plan.body)}`)
      return { orgId, keys }
    } finally {
      await pool.destroy()
    }
  }
}

/** POST with a body, GET without. */
async function send(
  pool: Pool,
  path: string,
  body: object | undefined,
  headers: Readonly<Record<string, string>>,
  signal?: AbortSignal,
): Promise<HttpAnswer> {
  const answer = await pool.request({
    path,
    ...(body === undefined
      ? { method: 'GET', headers }
      : {
          method: 'POST',
          headers: { ...headers, 'content-type': 'application/json' },
          body: JSON.stringify(body),
        }),
    ...(signal && { signal }),
  })
  return { status: answer.statusCode, body: await answer.body.json() }
}
