import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { keyIdOf } from '../../src/control-plane/keys.ts'
import { createService, type Caller, type ControlPlaneService } from '../../src/control-plane/service.ts'
import type { ControlPlaneStore } from '../../src/control-plane/store.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { openControlPlaneStore } from '../../src/store/sqlite/control-plane.ts'
import { auditEntry, ORG } from '../contract/control-plane-records.ts'

const isRoot = process.getuid?.() === 0
if (!isRoot) console.warn('skipped: who owns what root has restored is looked at as root')

const LOCAL: Caller = { actor: 'local', kind: 'local', requestId: null, origin: null }
const MAIN = join(import.meta.dirname, '../../src/main.ts')

let dir: string
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'holdpoint-backup-commands-'))
  const store = open()
  await store.change(ORG.orgId, {}, () => ({
    result: undefined,
    org: ORG,
    audit: [auditEntry('org.create', { actor: 'platform' })],
  }))
  await store.close()
})
afterEach(() => rmSync(dir, { recursive: true }))

const data = (name: string) => join(dir, 'data', name)
const open = () => openControlPlaneStore({ file: data('control-plane.db') })

/** With a control plane's store open. */
async function opened<T>(
  use: (service: ControlPlaneService, store: ControlPlaneStore) => Promise<T>,
): Promise<T> {
  const store = open()
  try {
    return await use(createService({ store, onDecisionsLost: () => {} }), store)
  } finally {
    await store.close()
  }
}

async function run(...args: string[]): Promise<{ status: number; out: string; err: string }> {
  const child = spawn(process.execPath, ['--conditions=holdpoint-source', MAIN, ...args], {
    cwd: dir,
    env: { PATH: process.env['PATH'], DATA_DIR: join(dir, 'data') },
  })
  const [out, err, [status]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'exit'),
  ])
  return { status: status as number, out, err }
}

describe('main.ts backup and restore-backup', () => {
  test('back up a control plane that runs, and restore it once it is stopped', async () => {
    const running = open()
    expect(await run('backup', 'monday.db')).toEqual({
      status: 0,
      out: expect.stringMatching(/^Backed up .*control-plane\.db to monday\.db \(\d+\.\d MB, checked\)\.\n$/),
      err: '',
    })
    expect(await run('restore-backup', 'monday.db')).toEqual({
      status: 1,
      out: '',
      err: expect.stringMatching(
        /^The database .* is in use by another control plane\..* \(STORE_IN_USE\)\n$/,
      ),
    })
    await running.close()
    expect(await run('restore-backup', 'monday.db')).toEqual({
      status: 0,
      out: expect.stringMatching(
        /^Restored .*\nThe database that was there is now .*before-restore-.*\nEvery org is disabled, and every key has ended/,
      ),
      err: '',
    })
    const restored = open()
    expect((await restored.findUsage(ORG.orgId, 0))?.org.disabled).toBe(true)
    await restored.close()
  })

  test('G6: a restore ends every key, and puts one new admin key for each org in a private file, not on the screen', async () => {
    const { orgId, keys } = await opened((service) => service.createOrg({ kinds: ['admin', 'runtime'] }))
    await run('backup', 'monday.db')
    const { out } = await run('restore-backup', 'monday.db')
    const [name = ''] = readdirSync(join(dir, 'data')).filter((each) =>
      each.startsWith('restored-admin-keys-'),
    )
    expect(out).toContain(` ${data(name)}. Hand them out, then delete it.\n`)
    for (const next of [PATHS.audit, PATHS.list, PATHS.locks, PATHS.keys, PATHS.usage, PATHS.orgEnable]) {
      expect(out).toContain(next)
    }
    expect(out).not.toMatch(/org_[a-z]+_/)
    expect(statSync(data(name)).mode & 0o777).toBe(0o600)
    const admins = JSON.parse(readFileSync(data(name), 'utf8')) as Record<string, string>
    expect(Object.keys(admins).sort()).toEqual([ORG.orgId, orgId].sort())
    await opened(async (service) => {
      for (const key of Object.values(keys)) {
        expect(await service.findKey(key)).toMatchObject({ endedAs: 'burned' })
      }
      for (const [org, key] of Object.entries(admins)) {
        expect(await service.findKey(key)).toMatchObject({
          orgId: org,
          kind: 'admin',
          name: 'restored',
          createdBy: 'local',
          endedAs: null,
        })
      }
    })
  })

  test('with --keep-keys they go on, and it says so plainly', async () => {
    const { orgId, keys } = await opened((service) => service.createOrg({ kinds: ['admin'] }))
    await run('backup', 'monday.db')
    const { status, out } = await run('restore-backup', '--keep-keys', 'monday.db')
    expect(status).toBe(0)
    expect(out).toMatch(
      /\nWhen the control plane starts, every org is disabled\.\nKeys that were burned after the backup WORK AGAIN\. Burn each of them before anything else/,
    )
    expect(readdirSync(join(dir, 'data')).filter((name) => name.endsWith('.json'))).toEqual([])
    await opened(async (service) => {
      expect(await service.findKey(keys.admin ?? '')).toMatchObject({ endedAs: null })
      expect((await service.usage(orgId)).org.disabled).toBe(true)
    })
  })

  test('the files of npm start get a new key for each that the restore has ended; one that was burned before stays so', async () => {
    const { orgId, keys } = await opened((service) =>
      service.createOrg({ kinds: ['viewer', 'stop', 'operator', 'admin'] }),
    )
    const bindings = ['openai-agent:prod:*']
    const runtime = await opened((service) =>
      service.issueKey({ orgId, kind: 'runtime', bindings, name: 'tools' }),
    )
    const write = (name: string, value: object) => writeFileSync(data(name), JSON.stringify(value))
    const read = (name: string) => JSON.parse(readFileSync(data(name), 'utf8')) as Record<string, string>
    write('operator.json', {
      orgId,
      ...keys,
      platformToken: 'hpp_x',
      consoleUrl: 'http://ops',
      added: 'by hand',
    })
    write('tool-server.json', { orgId, runtime: runtime.key, callerToken: 'hpc_x' })
    await opened((service) => service.burnKey(LOCAL, orgId, { keyId: keyIdOf(keys.stop ?? '') ?? '' }))
    await run('backup', 'monday.db')

    const { out } = await run('restore-backup', 'monday.db')
    expect(out).toContain(
      `New keys of ${orgId}, for npx holdpoint start, are in ${data('operator.json')} and `,
    )
    const operator = read('operator.json')
    const toolServer = read('tool-server.json')
    expect(operator).toMatchObject({
      orgId,
      platformToken: 'hpp_x',
      consoleUrl: 'http://ops',
      added: 'by hand',
    })
    expect(toolServer).toMatchObject({ orgId, callerToken: 'hpc_x' })
    for (const name of ['operator.json', 'tool-server.json'])
      expect(statSync(data(name)).mode & 0o777).toBe(0o600)
    expect(operator['stop']).toBe(keys.stop)
    await opened(async (service) => {
      for (const kind of ['viewer', 'operator', 'admin'] as const) {
        expect(await service.findKey(keys[kind] ?? '')).toMatchObject({ endedAs: 'burned' })
        expect(await service.findKey(operator[kind] ?? '')).toMatchObject({ kind, orgId, endedAs: null })
      }
      expect(await service.findKey(toolServer['runtime'] ?? '')).toMatchObject({
        kind: 'runtime',
        bindings,
        name: 'tools',
        endedAs: null,
      })
    })
  })

  test.skipIf(!isRoot)(
    "restored by root, all of it belongs to the data folder's owner, as before",
    async () => {
      const SERVICE = 12_345
      await opened((service) => service.createOrg({ kinds: ['admin'] }))
      await run('backup', 'monday.db')
      rmSync(join(dir, 'data'), { recursive: true })
      mkdirSync(join(dir, 'data'))
      chownSync(join(dir, 'data'), SERVICE, SERVICE)
      for (const times of ['nothing there', 'all there']) {
        expect((await run('restore-backup', 'monday.db')).status).toBe(0)
        const names = readdirSync(join(dir, 'data'))
        expect(names, times).toEqual(
          expect.arrayContaining(['control-plane.db', 'operator.json', 'tool-server.json']),
        )
        const owners = names.map((name) => [name, statSync(data(name)).uid, statSync(data(name)).gid])
        expect(owners, times).toEqual(names.map((name) => [name, SERVICE, SERVICE]))
      }
    },
  )

  test('nothing is moved when a file of npm start could not be written anew', async () => {
    await run('backup', 'monday.db')
    writeFileSync(data('operator.json'), '{')
    const before = readdirSync(join(dir, 'data'))
    expect(await run('restore-backup', 'monday.db')).toMatchObject({
      status: 1,
      out: '',
      err: expect.stringMatching(
        /operator\.json is not what holdpoint wrote there.*\(SECRETS_UNREADABLE\)\n$/,
      ),
    })
    expect(readdirSync(join(dir, 'data'))).toEqual(before)
  })

  test('what went wrong is one line with the next step, and status 1', async () => {
    writeFileSync(join(dir, 'monday.db'), '')
    expect(await run('backup', 'monday.db')).toEqual({
      status: 1,
      out: '',
      err: 'monday.db exists and is not overwritten. Give another file name. (BACKUP_EXISTS)\n',
    })
    expect(await run('restore-backup', 'monday.db')).toMatchObject({
      status: 1,
      err: expect.stringMatching(/^monday\.db is not marked as a backup.*\(BACKUP_NOT_MARKED\)\n$/),
    })
    expect(await run('restore-backup', 'tuesday.db')).toMatchObject({
      status: 1,
      err: expect.stringMatching(/^There is no file .*tuesday\.db\. .*\(STORE_MISSING\)\n$/),
    })
  })

  test.each([
    ['backup', []],
    ['backup', ['a', 'b']],
    ['restore-backup', []],
    ['restore-backup', ['a', 'b']],
    ['restore-backup', ['--keep-keys']],
    ['restore-backup', ['monday.db', '--keep']],
  ])('%s with %j tells how it is used, does nothing, and ends with status 2', async (command, args) => {
    expect(await run(command, ...args)).toEqual({
      status: 2,
      out: '',
      err: expect.stringMatching(
        new RegExp(`^Usage: npx holdpoint ${command} FILE(?: \\[--keep-keys\\])?\n`),
      ),
    })
    expect(readdirSync(dir)).toEqual(['data'])
    expect(existsSync(join(dir, 'data', 'control-plane.db'))).toBe(true)
  })
})
