import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, globSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { compile } from '../docs/compile.ts'
import { pages, PROJECT } from '../docs/markdown.ts'
import { createUserProject, type UserProject } from '../docs/user-project.ts'

/** Everything that building and packing takes. */
const NEEDED = [
  'src',
  'bin',
  'scripts',
  'package.json',
  'tsconfig.json',
  'tsconfig.build.json',
  'README.md',
  'LICENSE',
]

let user: UserProject

/** Packs a copy of the project, so that a `dist/` in it stays as it is, and installs that into a user's project. */
beforeAll(() => {
  const copy = mkdtempSync(join(tmpdir(), 'holdpoint-pack-'))
  try {
    for (const name of NEEDED) cpSync(join(PROJECT, name), join(copy, name), { recursive: true })
    symlinkSync(join(PROJECT, 'node_modules'), join(copy, 'node_modules'))
    const packed = spawnSync('npm', ['pack'], { cwd: copy, encoding: 'utf8', timeout: 50_000 })
    if (packed.status !== 0) throw new Error(`npm pack: ${packed.stdout}${packed.stderr}`)
    const [tarball = ''] = globSync('*.tgz', { cwd: copy })
    user = createUserProject((target) => {
      mkdirSync(target)
      execFileSync('tar', ['-xzf', join(copy, tarball), '--strip-components=1', '-C', target])
    })
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
}, 60_000)
afterAll(() => user?.[Symbol.dispose]())

describe('the package as npm pack makes it', () => {
  test('holds what was built, and neither sources nor tests', () => {
    const files = globSync('**/*', { cwd: join(user.dir, 'node_modules/holdpoint') })
    const outside = files.filter(
      (file) =>
        !/^dist(?:[/\\][\w/\\-]+(?:\.js|\.d\.ts|\.js\.map)?)?$/.test(file) &&
        !/^dist[/\\]console[/\\](?:assets[/\\][\w-]+\.(?:css|svg)|(?:index|stop)\.html)$/.test(file),
    )
    expect(outside.sort()).toEqual([
      'LICENSE',
      'README.md',
      'bin',
      join('bin', 'holdpoint.js'),
      'package.json',
    ])
    expect(files).toContain(join('dist', 'index.js'))
    expect(files).toContain(join('dist', 'index.d.ts'))
  })

  test('plain Node imports both entries from it, with the same names', async () => {
    const program = `
      const entries = [await import('holdpoint'), await import('holdpoint/tool-server')]
      process.stdout.write(JSON.stringify(entries.map((entry) => Object.keys(entry).sort())))`
    const { stdout, stderr } = node('--input-type=module', '--eval', program)
    expect(stderr).toBe('')
    const entries = [await import('holdpoint'), await import('holdpoint/tool-server')]
    expect(JSON.parse(stdout)).toEqual(entries.map((entry) => Object.keys(entry).sort()))
  })

  test('a user’s strict compiler takes every program of the docs with it, and finds what is wrong', () => {
    const programs = pages().flatMap(({ blocks }) => blocks.filter(({ language }) => language === 'ts'))
    const wrong = {
      at: 'wrong',
      language: 'ts',
      text: "import { startGuard } from 'holdpoint'\nexport const wrong: string = await startGuard()\n",
    }
    const compilerOptions = {
      strict: true,
      module: 'nodenext',
      target: 'es2024',
      types: ['node'],
      skipLibCheck: true,
    }
    const complaints = compile(user, [...programs, wrong], { compilerOptions })
    expect(Object.fromEntries(complaints)).toEqual({
      wrong: [expect.stringContaining("Type 'Guard' is not assignable to type 'string'")],
    })
  }, 60_000)

  test('its command line asks servers, and says what only a checkout has', () => {
    const holdpoint = (...args: string[]) =>
      node(join('node_modules', 'holdpoint', 'bin', 'holdpoint.js'), ...args)
    expect(holdpoint('--version')).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
    })
    const listed = holdpoint('devices', 'ls')
    expect(listed.stderr).toContain('Set HOLDPOINT_KEY')
    expect(listed.status).toBe(2)
    expect(holdpoint('start')).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('CHECKOUT_NEEDED'),
    })
  })

  test('the README’s first program starts with it, and says what it needs', () => {
    user.write('readme.ts', pages()[0]?.blocks[0]?.text ?? '')
    const { status, stderr } = node('readme.ts')
    expect(stderr).toContain('MACHINEID_BASE_URL is required')
    expect(status).toBe(1)
  })
})

function node(...args: string[]) {
  const options = { cwd: user.dir, env: { PATH: process.env['PATH'] }, timeout: 20_000 } as const
  return spawnSync(process.execPath, args, { ...options, encoding: 'utf8' })
}
