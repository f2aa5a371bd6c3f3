import { join } from 'node:path'
import type { Env } from '../../src/config.ts'
import { makeDataDir, toolServerFile } from '../../src/programs/secrets.ts'
import { freePort } from '../free-port.ts'
import { startBalancer } from './balancer.ts'
import {
  firstSecrets,
  sharedSecrets,
  writeCallers,
  type FirstSecrets,
  type SharedSecrets,
} from './cluster-secrets.ts'
import { startLocalPostgres, type LocalPostgres } from './local-postgres.ts'
import { createMember, type Member } from './member.ts'

export interface ClusterOptions {
  /** What the programs get beside what is set here. */
  readonly env: Env
  readonly dataDir: string
  /** Of the balancers; 0 takes a free one. */
  readonly ports: Readonly<Record<'agents' | 'operators' | 'callers', number>>
  /** Told every warning and error of a program, as one line for a person. */
  readonly onLine: (line: string) => void
}

/** Three control planes and three tool servers over one Postgres, behind balancers, all on this machine. */
export interface Cluster {
  /** Of the balancers, as are the next two. */
  readonly url: string
  readonly operatorUrl: string
  readonly toolServerUrl: string
  readonly secrets: FirstSecrets
  readonly controlPlanes: readonly Member[]
  readonly toolServers: readonly Member[]
  /** Undefined when `DATABASE_URL` names another. */
  readonly postgres: LocalPostgres | undefined
  readonly toolDatabaseUrl: string
  readonly close: () => Promise<void>
}

const INDICES = [0, 1, 2] as const
type Stop = () => Promise<unknown>

/** Resolves when all of it can be used; when something cannot be, what was started is stopped again. */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const started: Stop[] = []
  const close = async () => {
    for (const stop of started.splice(0).toReversed()) await stop()
  }
  try {
    return { ...(await start(options, started)), close }
  } catch (error) {
    await close()
    throw error
  }
}

async function start(options: ClusterOptions, started: Stop[]): Promise<Omit<Cluster, 'close'>> {
  const { env, dataDir } = options
  makeDataDir(join(dataDir, 'logs'))
  const shared = sharedSecrets(dataDir, env)
  const postgres = env['DATABASE_URL'] ? undefined : await startPostgres(dataDir, shared)
  if (postgres !== undefined) started.push(postgres.stop)
  const databaseUrl = postgres?.url ?? env['DATABASE_URL'] ?? ''
  const toolDatabaseUrl = env['TOOL_DATABASE_URL'] || databaseUrl
  const targets = await targetPorts()
  const fronts = await startBalancers(options, targets, started)

  const place = { ...fronts, targets, shared, databaseUrl }
  const first = controlPlaneOf(options, place, 0, {})
  const controlPlanes = [first]
  started.push(() => Promise.all(controlPlanes.map((node) => node.stop())))
  // It makes the org of an empty database, and writes down the secrets that the others are given.
  await first.start()
  const secrets = firstSecrets(dataDir)
  const drills = { DRILL_ORG_ID: secrets.orgId, DRILL_TOKEN: secrets.approverToken }
  controlPlanes.push(...[1, 2].map((index) => controlPlaneOf(options, place, index, drills)))
  await Promise.all(controlPlanes.slice(1).map((node) => node.start()))

  const callersFile = writeCallers(dataDir, secrets)
  const toolServers = INDICES.map((index) =>
    memberOf(options, 'tool-server', index, targets.callers, {
      TOOL_DATABASE_URL: toolDatabaseUrl,
      RUN_STATE_KEY: shared.runStateKey,
      TOOL_SERVER_PORT: String(targets.callers[index]),
      CALLER_TOKENS_FILE: callersFile,
      MACHINEID_BASE_URL: fronts.url,
      MACHINEID_ORG_KEY: undefined,
      MACHINEID_ORG_KEY_FILE: toolServerFile(dataDir),
    }),
  )
  started.push(() => Promise.all(toolServers.map((server) => server.stop())))
  await Promise.all(toolServers.map((server) => server.start()))
  return { ...fronts, secrets, controlPlanes, toolServers, postgres, toolDatabaseUrl }
}

async function startPostgres(dataDir: string, shared: SharedSecrets): Promise<LocalPostgres> {
  const port = await freePort()
  return startLocalPostgres({
    dir: shared.postgresDir,
    port,
    password: shared.postgresPassword,
    logFile: join(dataDir, 'logs', 'postgres.log'),
  })
}

type Ports = Readonly<Record<'agents' | 'operators' | 'callers', readonly number[]>>

/** Of the processes behind the balancers. They keep them when they are started again. */
async function targetPorts(): Promise<Ports> {
  const some = async () => {
    const ports: number[] = []
    while (ports.length < INDICES.length) ports.push(await freePort())
    return ports
  }
  return { agents: await some(), operators: await some(), callers: await some() }
}

type Fronts = Pick<Cluster, 'url' | 'operatorUrl' | 'toolServerUrl'>

async function startBalancers(
  { ports, env }: ClusterOptions,
  targets: Ports,
  started: Stop[],
): Promise<Fronts> {
  const front = async (port: number, variable: string, targetPorts: readonly number[]) => {
    const balancer = await startBalancer({ port, variable, targetPorts })
    started.push(balancer.close)
    return urlOf(env, balancer.port)
  }
  return {
    url: await front(ports.agents, 'CONTROL_PLANE_PORT', targets.agents),
    operatorUrl: await front(ports.operators, 'OPERATOR_PORT', targets.operators),
    toolServerUrl: await front(ports.callers, 'TOOL_SERVER_PORT', targets.callers),
  }
}

interface Place extends Fronts {
  readonly targets: Ports
  readonly shared: SharedSecrets
  readonly databaseUrl: string
}

function controlPlaneOf(options: ClusterOptions, place: Place, index: number, own: Env): Member {
  const { env } = options
  const { targets, shared, databaseUrl, operatorUrl } = place
  return memberOf(options, 'control-plane', index, targets.agents, {
    DATABASE_URL: databaseUrl,
    PLATFORM_TOKEN: shared.platformToken,
    CONTROL_PLANE_PORT: String(targets.agents[index]),
    OPERATOR_PORT: String(targets.operators[index]),
    CONSOLE_URL: env['CONSOLE_URL'] || operatorUrl,
    DRILL_TOOL_SERVER_URL: targets.callers.map((port) => urlOf(env, port)).join(','),
    ...own,
  })
}

function memberOf(
  { env, dataDir, onLine }: ClusterOptions,
  program: 'control-plane' | 'tool-server',
  index: number,
  ports: readonly number[],
  own: Env,
): Member {
  const name = `${program}-${index + 1}`
  return createMember({
    name,
    program,
    url: urlOf(env, ports[index] ?? 0),
    operatorUrl: own['OPERATOR_PORT'] === undefined ? '' : urlOf(env, Number(own['OPERATOR_PORT'])),
    env: {
      ...env,
      HOST: '127.0.0.1',
      // The first node's is that of the whole, so that its secrets are found there.
      DATA_DIR: name === 'control-plane-1' ? dataDir : join(dataDir, name),
      ...own,
    },
    logDir: join(dataDir, 'logs', name),
    onLine,
  })
}

/** TLS passes through a balancer. */
function urlOf(env: Env, port: number): string {
  return `${env['TLS_CERT_FILE'] ? 'https' : 'http'}://127.0.0.1:${port}`
}
