import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'

import { readControlPlaneConfig, readToolServerConfig, type Env } from '../../src/config.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { writeSecret } from '../../src/programs/secrets.ts'
import { TOOL_SERVER_PATHS } from '../../src/tool-server-wire.ts'
import { noPostgres, startPostgres } from '../fixtures/postgres.ts'
import { PROJECT } from './markdown.ts'

// No Docker runs here: this checks what can be checked without.

interface Service {
  readonly image: string
  readonly command?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly volumes?: readonly string[]
  readonly networks?: readonly string[]
  readonly ports?: readonly string[]
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>
  readonly healthcheck?: { readonly test: readonly string[] }
}

const TEXT = read('compose.yaml')
const { services, volumes, networks } = parse(TEXT, { merge: true }) as {
  services: Record<string, Service>
  volumes: object
  networks: object
}
const HAPROXY = read('deploy/haproxy.cfg')
const EXAMPLE = parseEnv(read('.env.example'))
const programs = (program: string) =>
  Object.entries(services).filter(([, { command }]) => command?.at(-1) === program)
const CONTROL_PLANES = programs('control-plane')
const TOOL_SERVERS = programs('tool-server')

let root: string
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'holdpoint-compose-'))
  makeSecrets('secrets')
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

describe('compose.yaml', () => {
  test('has three of each, and what they name: variables, files, services, volumes, networks', () => {
    expect([CONTROL_PLANES.length, TOOL_SERVERS.length]).toEqual([3, 3])
    const all = Object.values(services)
    const given = [...CONTROL_PLANES, ...TOOL_SERVERS].flatMap(([, one]) =>
      Object.keys(one.environment ?? {}),
    )
    const asked = [...TEXT.matchAll(/\$\{(\w+)/g)].map(([, name]) => name)
    expect([...given, ...asked].filter((name) => name === undefined || !(name in EXAMPLE))).toEqual([])
    const files = [...TEXT.matchAll(/\/holdpoint\/([\w/.-]+\.(?:ts|js))(?![\w])/g)].map(
      ([, file = '']) => file,
    )
    expect(files.length).toBeGreaterThan(3)
    expect(files.filter((file) => !existsSync(join(PROJECT, file)))).toEqual([])
    expect(
      all.flatMap(({ depends_on: on = {} }) => Object.keys(on)).filter((name) => !services[name]),
    ).toEqual([])
    const mounted = all.flatMap(({ volumes: of = [] }) => of.map((mount) => mount.split(':')[0] ?? ''))
    expect([...new Set(mounted.filter((name) => !name.startsWith('.')))].sort()).toEqual(
      Object.keys(volumes).sort(),
    )
    expect([...new Set(all.flatMap((one) => one.networks ?? []))].sort()).toEqual(
      Object.keys(networks).sort(),
    )
  })

  test('holds no secret, and lets nobody but this machine in', () => {
    expect(TEXT).not.toMatch(/hpp_|hpc_|org_|:\/\/[^/\s]+:[^/\s]+@/)
    const set = Object.values(services).flatMap(({ environment = {} }) => Object.keys(environment))
    expect(set.filter((name) => /PASSWORD$|TOKEN$|STATE_KEY$|ORG_KEY$|DATABASE_URL$/.test(name))).toEqual([])
    const published = Object.values(services).flatMap(({ ports = [] }) => ports)
    expect(published.every((port) => port.startsWith('127.0.0.1:'))).toBe(true)
  })

  test('gives a tool server nothing of the control plane: neither its secrets, nor its keys, nor its network', () => {
    const reach = (list: readonly [string, Service][]) => ({
      volumes: [...new Set(list.flatMap(([, one]) => one.volumes ?? []))].map((mount) => mount.split(':')[0]),
      networks: [...new Set(list.flatMap(([, one]) => one.networks ?? []))],
    })
    expect(reach(CONTROL_PLANES)).toEqual({
      volumes: ['.', 'control-plane-secrets', 'control-plane'],
      networks: ['authority'],
    })
    expect(reach(TOOL_SERVERS)).toEqual({
      volumes: ['.', 'tool-server-secrets', 'tool-server'],
      networks: ['callers'],
    })
  })

  test('each program starts with the secrets that are made for it, and has a folder of its own', () => {
    const ofControlPlane = envFile('control-plane')
    const ofToolServer = envFile('tool-server')
    const dataDirs = [...CONTROL_PLANES, ...TOOL_SERVERS].map(([name, { environment: env = {} }]) => {
      const isToolServer = name.startsWith('tool-server')
      const config = isToolServer
        ? readToolServerConfig({ ...withoutReferences(env), ...ofToolServer })
        : readControlPlaneConfig({ ...env, ...ofControlPlane })
      return `${isToolServer} ${config.DATA_DIR}`
    })
    expect(new Set(dataDirs).size).toBe(6)
    expect(ofToolServer).not.toHaveProperty('DATABASE_URL')
    expect(ofControlPlane).not.toHaveProperty('TOOL_DATABASE_URL')
  })

  test('is asked for its health where the programs answer, and so is each server of the balancer', () => {
    for (const [, { healthcheck, environment: env = {} }] of CONTROL_PLANES)
      expect(healthcheck?.test.join(' ')).toContain(`:${env['CONTROL_PLANE_PORT']}${PATHS.readyz}'`)
    for (const [, { healthcheck, environment: env = {} }] of TOOL_SERVERS)
      expect(healthcheck?.test.join(' ')).toContain(`:${env['TOOL_SERVER_PORT']}${TOOL_SERVER_PATHS.readyz}'`)
    const checked = [...HAPROXY.matchAll(/http-check send meth GET uri (\S+)/g)].map(([, path]) => path)
    expect(checked).toEqual([PATHS.readyz, PATHS.readyz, TOOL_SERVER_PATHS.readyz])
  })
})

describe('deploy/haproxy.cfg', () => {
  test('has each control plane on both ports and each tool server, and listens where compose.yaml publishes', () => {
    const servers = [...HAPROXY.matchAll(/^ {4}server (\S+) \S+:(\d+)$/gm)].map(
      ([, name, port]) => `${name} ${port}`,
    )
    const expected = [
      ...CONTROL_PLANES.map(([name, { environment: env }]) => `${name} ${env?.['CONTROL_PLANE_PORT']}`),
      ...CONTROL_PLANES.map(([name, { environment: env }]) => `${name} ${env?.['OPERATOR_PORT']}`),
      ...TOOL_SERVERS.map(([name, { environment: env }]) => `${name} ${env?.['TOOL_SERVER_PORT']}`),
    ]
    expect(servers).toEqual(expected)
    const bound = [...HAPROXY.matchAll(/^ {4}bind :(\d+)\b/gm)].map(([, port]) => port)
    expect(services['balancer']?.ports?.map((port) => port.split(':')[2])).toEqual(bound)
  })

  const version = spawnSync('haproxy', ['-v'])
  test.skipIf(version.error)('is what haproxy takes without a warning, where it is installed', () => {
    const file = join(root, 'haproxy.cfg')
    writeFileSync(file, HAPROXY.replace('/run/holdpoint/', `${root}/secrets/balancer/`))
    const { status, stderr } = spawnSync('haproxy', ['-c', '-f', file], { encoding: 'utf8' })
    expect([status, stderr]).toEqual([0, ''])
  })
})

describe('demo/cluster/compose-secrets.ts', () => {
  test('makes each secret once, for its reader alone', () => {
    const folders = ['control-plane', 'tool-server', 'postgres', 'balancer'].map((name) =>
      join(root, 'secrets', name),
    )
    const files = folders.flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)))
    const made = files.map((file) => readFileSync(file, 'utf8'))
    makeSecrets('secrets')
    expect(files.map((file) => readFileSync(file, 'utf8'))).toEqual(made)
    const readable = files.filter((file) => (statSync(file).mode & 0o077) !== 0)
    expect(readable).toEqual(files.filter((file) => /\/(?:postgres|balancer)\//.test(file)))
  })

  test('hands the tool servers the key that asks and hashes of tokens, nothing that an operator has', () => {
    const operator = { orgId: 'o_1', viewer: 'v', stop: 's', operator: 'o', admin: 'a', platformToken: 'p' }
    const approverToken = 'hpc_approver'
    writeSecret(join(root, 'var/lib/holdpoint/operator.json'), { ...operator, approverToken })
    const callerToken = 'hpc_caller'
    writeSecret(join(root, 'var/lib/holdpoint/tool-server.json'), { runtime: 'org_runtime', callerToken })
    makeSecrets('callers')
    expect(readFileSync(join(root, 'secrets/tool-server/runtime-key'), 'utf8')).toBe('org_runtime')
    const callers = readFileSync(join(root, 'secrets/tool-server/callers.json'), 'utf8')
    expect(callers).not.toContain('hpc_')
    expect((JSON.parse(callers) as { callers: unknown[] }).callers).toMatchObject([
      { id: 'first-caller', scopes: ['tools:call', 'runs:start', 'runs:resume'] },
      { id: 'approver', scopes: ['runs:approve', 'runs:resume'] },
    ])
  })

  test.skipIf(noPostgres)("keeps the tool servers' role out of the control plane's database", async () => {
    const server = await startPostgres()
    try {
      const statements = readFileSync(join(root, 'secrets/postgres/roles.sql'), 'utf8').trim().split('\n')
      for (const statement of statements) await server.query(server.url, statement)
      const here = (url: string | undefined, database = '') => {
        const at = new URL(url ?? '')
        at.host = `127.0.0.1:${server.port}`
        if (database !== '') at.pathname = database
        return at.href
      }
      const own = envFile('control-plane')['DATABASE_URL']
      const tools = envFile('tool-server')['TOOL_DATABASE_URL']
      await server.query(here(own), 'CREATE SCHEMA holdpoint_control_plane')
      await server.query(here(tools), 'CREATE SCHEMA holdpoint_tools')
      await expect(server.query(here(tools, new URL(own ?? '').pathname), 'SELECT 1')).rejects.toThrow(
        /permission denied/,
      )
      // Whatever tool servers do, nodes find a connection.
      const limits =
        "SELECT rolname, rolconnlimit FROM pg_roles WHERE rolname LIKE 'holdpoint_%' ORDER BY rolname"
      expect(await server.query(server.url, limits)).toEqual([
        { rolname: 'holdpoint_control_plane', rolconnlimit: -1 },
        { rolname: 'holdpoint_tools', rolconnlimit: 90 },
      ])
    } finally {
      await server.close()
    }
  })
})

function makeSecrets(command: 'secrets' | 'callers'): void {
  const script = join(PROJECT, 'demo/cluster/compose-secrets.ts')
  execFileSync(process.execPath, ['--conditions=holdpoint-source', script, command, root])
}

function envFile(name: string): Env {
  return parseEnv(readFileSync(join(root, 'secrets', name, `${name}.env`), 'utf8'))
}

/** As Compose leaves them when they are not set. */
function withoutReferences(env: Env): Env {
  return Object.fromEntries(Object.entries(env).filter(([, value]) => !value?.startsWith('${')))
}

function read(file: string): string {
  return readFileSync(join(PROJECT, file), 'utf8')
}
