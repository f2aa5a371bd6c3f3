import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { afterAll, describe, expect, test } from 'vitest'

import { PROJECT } from '../docs/markdown.ts'

const NAMES = ['holdpoint-control-plane', 'holdpoint-tool-server'] as const
const EXAMPLE = parseEnv(readFileSync(join(PROJECT, '.env.example'), 'utf8'))
/** Where the units expect the project. */
const INSTALLED = '/opt/holdpoint/'
/** Of ten: 1.3 when this was written. */
const MAX_EXPOSURE = 1.5

const noSystemd =
  spawnSync('systemd-analyze', ['--version']).error && 'systemd-analyze is not on this machine'
if (noSystemd) console.warn(`skipped: systemd's own check of the units: ${noSystemd}`)

const dir = mkdtempSync(join(tmpdir(), 'holdpoint-units-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

describe.each(NAMES)('deploy/systemd/%s.service', (name) => {
  const text = readFileSync(join(PROJECT, `deploy/systemd/${name}.service`), 'utf8')
  const values = (key: string) =>
    [...text.matchAll(new RegExp(`^${key}=(.*)$`, 'gm'))].map(([, value = '']) => value)
  const environment = Object.fromEntries(
    values('Environment').flatMap((line) => line.split(' ').map((one) => one.split('=') as [string, string])),
  )

  test('starts a program that there is, with the Node that npm ci brings', () => {
    const [node = '', condition, main = '', program] = (values('ExecStart')[0] ?? '').split(' ')
    expect([condition, program]).toEqual(['--conditions=holdpoint-source', name.replace('holdpoint-', '')])
    expect(node.startsWith(INSTALLED) && existsSync(join(PROJECT, node.slice(INSTALLED.length)))).toBe(true)
    expect(existsSync(join(PROJECT, main))).toBe(true)
  })

  test('sets variables that there are, each file of a secret one that it loads, and holds none', () => {
    const { NODE_ENV, ...ours } = environment
    expect([NODE_ENV, Object.keys(ours).filter((key) => !(key in EXAMPLE))]).toEqual(['production', []])
    const loaded = values('LoadCredential').map((value) => value.split(':')[0])
    const used = Object.values(ours)
      .filter((value) => value.startsWith('%d/'))
      .map((value) => value.slice(3))
    expect(used.sort()).toEqual(loaded.sort())
    expect(ours['DATA_DIR']).toBe(`%S/${values('StateDirectory')[0]}`)
    expect(text).not.toMatch(/hpp_|hpc_|org_|:\/\/[^/\s]+:[^/\s]+@/)
  })

  test('gives it time to end, starts it until its database is back, and lets it write to its own folder alone', () => {
    // A guard gives bodies 10 seconds, hosted runs 30 more, a server its answers 5.
    expect(Number(values('TimeoutStopSec')[0])).toBeGreaterThan(name === 'holdpoint-tool-server' ? 45 : 5)
    expect([values('StartLimitIntervalSec'), values('Restart')]).toEqual([['0'], ['always']])
    expect(
      ['DynamicUser', 'ProtectSystem', 'StateDirectoryMode', 'NoNewPrivileges'].map((key) => values(key)[0]),
    ).toEqual(['yes', 'strict', '0700', 'yes'])
    expect(text).not.toMatch(/ReadWritePaths|ReadWriteDirectories/)
  })

  test.skipIf(noSystemd)('is what systemd takes without a warning, and rates as little exposed', () => {
    const file = join(dir, `${name}.service`)
    // Executables must be where a unit names them.
    writeFileSync(file, text.replace(/^ExecStart=\S+/m, `ExecStart=${process.execPath}`))
    const { status, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', file], {
      encoding: 'utf8',
    })
    expect([status, stderr]).toEqual([0, ''])
    const rating = spawnSync(
      'systemd-analyze',
      ['security', '--offline=true', '--no-pager', `--threshold=${MAX_EXPOSURE * 10}`, file],
      { encoding: 'utf8' },
    )
    expect([rating.status, rating.stderr]).toEqual([0, ''])
    writeFileSync(file, text.replace('ProtectSystem=strict', 'ProtectSistem=strict'))
    expect(spawnSync('systemd-analyze', ['verify', '--man=no', file], { encoding: 'utf8' }).stderr).toContain(
      'ProtectSistem',
    )
    rmSync(file)
  })
})
