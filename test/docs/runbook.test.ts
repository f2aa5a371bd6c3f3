import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'

import { spawnProgram } from '../../src/programs/supervisor.ts'
import { runMain } from '../fixtures/program.ts'
import { hasCurl } from '../fixtures/readme-programs.ts'
import { PROJECT, readPage } from './markdown.ts'
import { player, wordsOf, type Play } from './play.ts'
import { secretsIn, startWorld, type World } from './world.ts'

const PAGE = readPage('docs/runbook.md', readFileSync(join(PROJECT, 'docs/runbook.md'), 'utf8'))
const canPlay = hasCurl('the runbook, whose commands are played')

let world: World
let play: Play
beforeAll(async () => {
  world = await startWorld()
  play = player(world)
}, 60_000)
afterAll(() => world.close(), 60_000)

describe.skipIf(!canPlay)('docs/runbook.md, played against what npm start runs', () => {
  test('stop, see, restore: the surface, then everything, then all of it again', async () => {
    const [surface = '', everything = ''] = commandsOf('Stop')
    expect((await play(surface)).join()).toContain('Acked')
    expect(await pay()).toBe('DEVICE_LOCKED')
    expect((await play(everything)).join()).toContain('STOPPED EVERYTHING')
    expect(await pay()).toBe('ORG_DISABLED')
    const [status, stops] = await play(commandsOf('See').join(''))
    expect(status).toContain('wrong prices')
    expect(stops).toContain('confirmed')
    await play(commandsOf('Restore').join(''))
    expect(await pay()).toBe('done')
  }, 30_000)

  test('rotate and burn: the keys in the list are found by their ids, and the new ones work', async () => {
    const keyId = (secretsIn(world.dataDir)['stop'] ?? '').split('_')[2] ?? ''
    await play(commandsOf('Rotate a key').join('').replace('gdgxl7bgui3tvnyk', keyId))
    const rotated = readFileSync(join(world.dir, 'data/rotated.key'), 'utf8').trim()
    expect(rotated).toMatch(/^org_stop_/)
    const burn = commandsOf('A key leaked').join('').replace('mfzwizltoq2gc3tu', keyId)
    const [listed, burned] = await play(burn)
    expect(listed).toContain(keyId)
    expect(burned).toContain(keyId)
    expect(readFileSync(join(world.dir, 'data/agents.key'), 'utf8')).toMatch(/^org_runtime_/)
  }, 30_000)

  test('the admin key is lost: an owner gets a link, which makes a new one', async () => {
    const [recover = '', owner = ''] = commandsOf('The admin key is lost')
    await play(owner)
    await play(recover)
    const outbox = join(world.dataDir, 'operator-outbox')
    const token = await vi.waitFor(
      () => {
        const mails = readdirSync(outbox).map((name) => readFileSync(join(outbox, name), 'utf8'))
        const found = mails.flatMap((mail) => /#token=3D([\w=\r\n-]+)|#token=([\w-]+)/.exec(mail) ?? [])
        expect(found).not.toEqual([])
        return (found[1] ?? found[2] ?? '').replaceAll(/=\r?\n/g, '').split(/\s/)[0]
      },
      { timeout: 10_000, interval: 50 },
    )
    const response = await fetch(`${secretsIn(world.dataDir)['consoleUrl']}/api/v1/org/recover/confirm`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ token }),
    })
    expect(await response.json()).toMatchObject({ status: 'ok' })
  }, 30_000)

  test('outcomes that nobody knows, and a look before the night', async () => {
    const [unknown, ready] = await play(commandsOf('Outcomes that nobody knows').join(''))
    expect(JSON.parse(unknown ?? '')).toMatchObject({ runs: [] })
    expect(JSON.parse(ready ?? '')).toMatchObject({ unknown_outcomes: 0 })
    expect((await play(commandsOf('Postgres fails over').join(''))).join()).not.toMatch(/^fail/im)
  }, 30_000)

  test('back up, lose the disk, restore on another: everything is stopped, until the new admin key enables it', async () => {
    const [backUp = '', audit = '', verify = ''] = commandsOf('Back up').join('').trim().split('\n')
    await byMain(backUp, world.dataDir)
    await play(audit.replace('/backups', world.dir))
    await byMain(verify, world.dataDir)
    const [restore = '', enable = ''] = commandsOf('Restore a backup')
    const elsewhere = join(world.dir, 'elsewhere')
    mkdirSync(elsewhere)
    await byMain(restore.trim(), elsewhere)
    expect(readdirSync(elsewhere).some((name) => name.startsWith('restored-admin-keys-'))).toBe(true)
    const controlPlane = await spawnProgram({
      program: 'control-plane',
      logDir: join(elsewhere, 'logs'),
      env: { PATH: process.env['PATH'], DATA_DIR: elsewhere, CONTROL_PLANE_PORT: '0', OPERATOR_PORT: '0' },
    })
    onTestFinished(() => controlPlane.stop())
    const there = player({ dir: world.dir, urls: {}, env: { DATA_DIR: elsewhere } })
    expect((await there('npx holdpoint org usage')).join()).toMatch(/disabled/i)
    await there(enable)
    expect((await there('npx holdpoint org usage')).join()).not.toMatch(/disabled by/i)
  }, 60_000)
})

/** The blocks for the shell of a section. */
function commandsOf(heading: string): readonly string[] {
  const section = PAGE.text.split(`## ${heading}\n`)[1]?.split('\n## ')[0]
  if (section === undefined) throw new Error(`docs/runbook.md has no section ${heading}.`)
  return readPage(PAGE.file, section)
    .blocks.filter(({ language }) => language === 'sh')
    .map(({ text }) => text)
}

async function pay(): Promise<unknown> {
  const body = `{"arguments":{"invoiceId":"INV-1003","amountCents":98000}}`
  const [printed = ''] = await play(
    `curl -s -K data/caller.curl http://127.0.0.1:4200/tools/send_payment -d '${body}'`,
  )
  const { code, output } = JSON.parse(printed) as Record<string, unknown>
  return code ?? (typeof output === 'string' ? 'done' : printed)
}

/** What the command line hands to a program of its own. */
async function byMain(line: string, dataDir: string): Promise<void> {
  const [npx, holdpoint, ...words] = wordsOf(line)
  expect([npx, holdpoint]).toEqual(['npx', 'holdpoint'])
  const args = words.map((word) => word.replace('/backups', world.dir))
  const program = runMain(args, { DATA_DIR: dataDir })
  expect([await program.ended, program.errors()]).toEqual([0, expect.any(String)])
}
