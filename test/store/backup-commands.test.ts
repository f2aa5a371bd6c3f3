import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { openControlPlaneStore } from '../../src/store/sqlite/control-plane.ts'
import { ORG } from '../contract/control-plane-records.ts'

const MAIN = join(import.meta.dirname, '../../src/main.ts')

let dir: string
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'holdpoint-backup-commands-'))
  const store = open()
  await store.change(ORG.orgId, {}, () => ({ result: undefined, org: ORG }))
  await store.close()
})
afterEach(() => rmSync(dir, { recursive: true }))

const open = () => openControlPlaneStore({ file: join(dir, 'data', 'control-plane.db') })

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
        /^Restored .*\nThe database that was there is now .*before-restore-.*\n.*every org is disabled\..*burn again.*\n$/,
      ),
      err: '',
    })
    const restored = open()
    expect((await restored.findUsage(ORG.orgId, 0))?.org.disabled).toBe(true)
    await restored.close()
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
  ])('%s with %j tells how it is used, does nothing, and ends with status 2', async (command, args) => {
    expect(await run(command, ...args)).toEqual({
      status: 2,
      out: '',
      err: expect.stringMatching(new RegExp(`^Usage: npm run ${command} -- FILE\n`)),
    })
    expect(readdirSync(dir)).toEqual(['data'])
    expect(existsSync(join(dir, 'data', 'control-plane.db'))).toBe(true)
  })
})
