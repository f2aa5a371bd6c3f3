import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { CONTROL_PLANE_MIGRATIONS } from '../../src/store/postgres/control-plane-schema.ts'
import { createDatabase } from '../../src/store/postgres/database.ts'
import { migrate } from '../../src/store/postgres/migrate.ts'
import { noPostgres, startPostgres, type TestPostgres } from '../fixtures/postgres.ts'
import { runNode, temporaryDirectory, type Program } from '../fixtures/program.ts'

// During a rollout nodes of two versions share one database: the older one on a schema that the newer one has brought
// forward (expand), until nobody needs the old columns any more (contract).

const ROOT = join(import.meta.dirname, '../..')
const SCHEMA = 'holdpoint_control_plane'
/** The commit of the version that was landed last. Set anew with each release. */
const PREVIOUS = readFileSync(join(import.meta.dirname, 'previous-version'), 'utf8').trim()
const DEVICE = 'openai-agent:prod:payments:01'

let server: TestPostgres
beforeAll(async () => void (server = await startPostgres()))
afterAll(() => server.close())

describe.skipIf(noPostgres !== undefined)('nodes of two versions', () => {
  const missing = isCommitHere() ? undefined : `the commit ${PREVIOUS} is not in this clone`
  if (missing !== undefined) console.warn(`Skipping the previous version beside this one: ${missing}`)

  test.skipIf(missing !== undefined)(
    'the previous one works on the schema of this one, side by side with it',
    { timeout: 60_000 },
    async () => {
      await using dir = await temporaryDirectory()
      const url = await server.createDatabase()
      const older = await startNode(previousVersion(dir.path), url, join(dir.path, 'a'))
      await older.must('/devices/register', { deviceId: DEVICE })
      const newer = await startNode(ROOT, url, join(dir.path, 'b'), older.keys)
      await expectOneAuthority(older, newer)
      expect([await older.end(), await newer.end()]).toEqual([0, 0])
    },
  )

  test(
    'this one works on what a newer one has added, and refuses what a newer one has taken away',
    { timeout: 60_000 },
    async () => {
      await using dir = await temporaryDirectory()
      const url = await server.createDatabase()
      const running = await startNode(ROOT, url, join(dir.path, 'a'))
      await running.must('/devices/register', { deviceId: DEVICE })

      const expand = {
        sql: `ALTER TABLE devices ADD COLUMN tier TEXT NOT NULL DEFAULT 'none';
        ALTER TABLE orgs ADD COLUMN note TEXT; CREATE TABLE later (id BIGINT PRIMARY KEY)`,
      }
      await bring(url, [...CONTROL_PLANE_MIGRATIONS, expand])
      const beside = await startNode(ROOT, url, join(dir.path, 'b'), running.keys)
      await expectOneAuthority(running, beside)
      expect([await running.end(), await beside.end()]).toEqual([0, 0])

      const version = CONTROL_PLANE_MIGRATIONS.length + 2
      const contract = { sql: 'ALTER TABLE devices DROP COLUMN reason', needs: version }
      await bring(url, [...CONTROL_PLANE_MIGRATIONS, expand, contract])
      const late = launch(ROOT, url, join(dir.path, 'a'))
      expect(await late.ended).toBe(1)
      expect(late.errors()).toContain(`has schema ${version}, which programs that know only`)
    },
  )

  test(
    'of many that start together on an empty database one makes the schema',
    { timeout: 60_000 },
    async () => {
      const url = await server.createDatabase()
      await Promise.all(Array.from({ length: 8 }, () => bring(url, CONTROL_PLANE_MIGRATIONS)))
      const client = new Client({ connectionString: url })
      await client.connect()
      const { rows } = await client.query(`SELECT version FROM ${SCHEMA}.migrations ORDER BY version`)
      await client.end()
      expect(rows).toEqual(CONTROL_PLANE_MIGRATIONS.map((_, index) => ({ version: index + 1 })))
    },
  )
})

async function bring(url: string, migrations: typeof CONTROL_PLANE_MIGRATIONS): Promise<void> {
  const database = createDatabase({ url, schema: SCHEMA, name: 'migration', poolSize: 1, timeoutMs: 5000 })
  await migrate(database, SCHEMA, migrations)
  await database.close()
}

/** What one does counts for the other, at once. */
async function expectOneAuthority(one: Node, other: Node): Promise<void> {
  for (const [here, there] of [
    [one, other],
    [other, one],
  ] as const) {
    expect(await there.validate(DEVICE)).toBe('ALLOW')
    const { epoch } = await here.must('/devices/revoke', { deviceId: DEVICE, reason: 'version test' })
    expect(await there.validate(DEVICE)).toBe('DEVICE_REVOKED')
    await there.must('/devices/unrevoke', { deviceId: DEVICE, ifEpoch: epoch, reason: 'over' })
    expect(await here.validate(DEVICE)).toBe('ALLOW')
    const { lockId, epoch: locked } = await here.must('/locks', {
      pattern: 'openai-agent:*',
      reason: 'version test',
    })
    expect(await there.validate(DEVICE)).toBe('DEVICE_LOCKED')
    await there.must(`/locks/${String(lockId)}/release`, { ifEpoch: locked, reason: 'over' })
    expect(await here.validate(DEVICE)).toBe('ALLOW')
  }
  for (const node of [one, other]) expect(await node.get('/audit/verify')).toMatchObject({ intact: true })
}

interface Keys {
  readonly runtime: string
  readonly admin: string
}

interface Node {
  readonly keys: Keys
  readonly must: (path: string, body: object) => Promise<Record<string, unknown>>
  readonly get: (path: string) => Promise<unknown>
  readonly validate: (deviceId: string) => Promise<unknown>
  readonly end: () => Promise<number | null>
}

async function startNode(root: string, url: string, dataDir: string, known?: Keys): Promise<Node> {
  const program = launch(root, url, dataDir)
  await program.printed('control plane is listening')
  const line = program
    .output()
    .split('\n')
    .find((text) => text.includes('control plane is listening'))
  const listening = JSON.parse(line ?? '') as { url: string; operator_url: string }
  const keys = known ?? readKeys(dataDir)
  const ask = async (of: string, path: string, key: string, body?: object) => {
    const response = await fetch(`${of}/api/v1${path}`, {
      headers: { 'x-org-key': key, 'content-type': 'application/json' },
      ...(body !== undefined && { method: 'POST', body: JSON.stringify(body) }),
    })
    const answer = (await response.json()) as Record<string, unknown>
    if (response.status !== 200) throw new Error(`${path}: ${response.status} ${JSON.stringify(answer)}`)
    return answer
  }
  return {
    keys,
    must: (path, body) => ask(listening.operator_url, path, keys.admin, body),
    get: (path) => ask(listening.operator_url, path, keys.admin),
    validate: async (deviceId) =>
      (await ask(listening.url, '/devices/validate', keys.runtime, { deviceId }))['code'],
    end: () => {
      program.process.kill('SIGTERM')
      return program.ended
    },
  }
}

function launch(root: string, url: string, dataDir: string): Program {
  mkdirSync(dataDir, { recursive: true })
  return runNode(join(root, 'src/main.ts'), ['control-plane'], {
    DATABASE_URL: url,
    PLATFORM_TOKEN: 'the one platform token of all the nodes',
    DATA_DIR: dataDir,
    CONTROL_PLANE_PORT: '0',
    OPERATOR_PORT: '0',
  })
}

function readKeys(dataDir: string): Keys {
  const read = (file: string) =>
    JSON.parse(readFileSync(join(dataDir, file), 'utf8')) as Record<string, string>
  return { runtime: read('tool-server.json')['runtime'] ?? '', admin: read('operator.json')['admin'] ?? '' }
}

/** As it was landed, with the packages of this version. */
function previousVersion(dir: string): string {
  const root = join(dir, 'previous')
  mkdirSync(root)
  const archive = execFileSync('git', ['-C', ROOT, 'archive', PREVIOUS, 'src', 'tools', 'package.json'], {
    maxBuffer: 2 ** 28,
  })
  execFileSync('tar', ['-x', '-C', root], { input: archive })
  symlinkSync(join(ROOT, 'node_modules'), join(root, 'node_modules'))
  return root
}

function isCommitHere(): boolean {
  if (!existsSync(join(ROOT, '.git'))) return false
  try {
    execFileSync('git', ['-C', ROOT, 'cat-file', '-e', `${PREVIOUS}^{commit}`], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
