import { spawn, spawnSync, type SpawnSyncReturns } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  existsSync,
  globSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { publint, type Result } from 'publint'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { compile } from '../docs/compile.ts'
import { pages, PROJECT } from '../docs/markdown.ts'

/** Everything that building and packing takes. */
const NEEDED = [
  'src',
  'tools',
  'bin',
  'docs',
  'scripts',
  'package.json',
  'tsconfig.json',
  'tsconfig.build.json',
  'README.md',
  'CHANGELOG.md',
  'GUARANTEE.md',
  'LICENSE',
  'SECURITY.md',
  'THREAT_MODEL.md',
  '.env.example',
]

const PATHS = ['.', './client', './gates', './tool-server', './control-plane']
const ATTW = join(PROJECT, 'node_modules/@arethetypeswrong/cli/dist/index.js')
const BIN = join('node_modules', 'holdpoint', 'bin', 'holdpoint.js')
const SHORT = { encoding: 'utf8', timeout: 50_000, maxBuffer: 64 * 1024 * 1024 } as const

const CONSUMER = readFileSync(join(import.meta.dirname, 'child-consumer.ts'), 'utf8')

let packed: { readonly publint: Result; readonly attw: SpawnSyncReturns<string> }
/** A project of somebody who has installed the package and nothing else. */
let consumer: string

/** Whether npm's registry cannot be asked, what an install without a lockfile does. */
const offline =
  spawnSync('npm', ['view', 'zod', 'version', '--fetch-retries=0', '--fetch-timeout=10000'], SHORT).status !==
  0
if (offline) console.warn("Skipping what installs the package: npm's registry cannot be reached.")

/** Packs a copy of the project, so that a `dist/` in it stays as it is, and installs that into an empty project. */
beforeAll(async () => {
  if (offline) return
  consumer = mkdtempSync(join(tmpdir(), 'holdpoint-consumer-'))
  const copy = mkdtempSync(join(tmpdir(), 'holdpoint-pack-'))
  try {
    for (const name of NEEDED) cpSync(join(PROJECT, name), join(copy, name), { recursive: true })
    symlinkSync(join(PROJECT, 'node_modules'), join(copy, 'node_modules'))
    const npm = (cwd: string, ...args: string[]) => {
      const done = spawnSync('npm', args, { cwd, encoding: 'utf8', timeout: 100_000 })
      if (done.status !== 0) throw new Error(`npm ${args.join(' ')}: ${done.stdout}${done.stderr}`)
    }
    npm(copy, 'pack')
    const [tarball = ''] = globSync('*.tgz', { cwd: copy }).map((name) => join(copy, name))
    packed = {
      publint: await publint({ pack: { tarball: readFileSync(tarball).buffer }, strict: true }),
      attw: spawnSync(process.execPath, [ATTW, tarball, '--profile=esm-only', '--format=json'], SHORT),
    }
    writeFileSync(join(consumer, 'package.json'), '{"name":"consumer","private":true,"type":"module"}')
    // Without a lockfile, so that each range means what it says today; what is in npm's cache is taken from there.
    npm(consumer, 'install', tarball, '--prefer-offline', '--ignore-scripts', '--no-audit', '--no-fund')
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
}, 240_000)
afterAll(() => {
  if (!offline) rmSync(consumer, { recursive: true, force: true })
})

describe.skipIf(offline)('the package as npm pack makes it', () => {
  test('holds what was built, and neither sources nor tests', () => {
    const files = globSync('**/*', { cwd: join(consumer, 'node_modules/holdpoint') })
    const outside = files.filter(
      (file) =>
        !/^dist(?:[/\\](?:src|tools)(?:[/\\][\w/\\-]+(?:\.js|\.d\.ts)?)?)?$/.test(file) &&
        !/^dist[/\\]console(?:[/\\]assets(?:[/\\][\w-]+\.(?:css|svg|js))?|[/\\](?:index|stop)\.html)?$/.test(
          file,
        ) &&
        !/^node_modules(?:$|[/\\])/.test(file) &&
        !/^docs(?:[/\\][\w/\\-]+(?:\.md)?)?$/.test(file),
    )
    const page = join('dist', 'src', 'control-plane', 'recover-page')
    expect(outside.sort()).toEqual([
      'CHANGELOG.md',
      'GUARANTEE.md',
      'LICENSE',
      'README.md',
      'SECURITY.md',
      'THREAT_MODEL.md',
      'bin',
      join('bin', 'holdpoint.js'),
      join(page, 'index.html'),
      join(page, 'page.css'),
      'package.json',
    ])
    expect(files).toContain(join('dist', 'src', 'index.d.ts'))
  })

  test('publint and attw find nothing wrong with it', () => {
    expect(packed.publint.messages).toEqual([])
    expect(packed.attw.status, packed.attw.stdout).toBe(0)
    const { problems, analysis } = JSON.parse(packed.attw.stdout) as {
      readonly problems: object
      readonly analysis: { readonly entrypoints: object }
    }
    expect(Object.keys(analysis.entrypoints)).toEqual([...PATHS, './package.json'])
    // The two that esm-only leaves aside, by name.
    expect(Object.keys(problems).sort()).toEqual(['CJSResolvesToESM', 'NoResolution'])
  })

  test('plain Node imports all entries from it, with the same names', async () => {
    const names = PATHS.map((path) => path.replace('.', 'holdpoint'))
    const program = `
      const entries = await Promise.all(${JSON.stringify(names)}.map((name) => import(name)))
      process.stdout.write(JSON.stringify(entries.map((entry) => Object.keys(entry).sort())))`
    const { stdout, stderr } = node('--input-type=module', '--eval', program)
    expect(stderr).toBe('')
    const entries = await Promise.all(names.map((name) => import(name) as Promise<object>))
    expect(JSON.parse(stdout)).toEqual(entries.map((entry) => Object.keys(entry).sort()))
  })

  test('its command line asks servers', () => {
    const holdpoint = (...args: string[]) => node(BIN, ...args)
    expect(holdpoint('--version')).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
    })
    expect(holdpoint()).toMatchObject({ status: 0, stdout: expect.stringContaining('devices') })
    const listed = holdpoint('devices', 'ls')
    expect(listed.stderr).toContain('Set HOLDPOINT_KEY')
    expect(listed.status).toBe(2)
  })

  test('the README’s first program starts with it, in a project of CommonJS too, and says what it needs', () => {
    write('readme.mts', pages()[0]?.blocks[0]?.text ?? '')
    write('package.json', '{"name":"consumer","private":true,"type":"commonjs"}')
    const { status, stderr } = node('readme.mts')
    const required = node('--eval', "process.stdout.write(String(Object.keys(require('holdpoint')).length))")
    write('package.json', '{"name":"consumer","private":true,"type":"module"}')
    expect(stderr).toContain('MACHINEID_BASE_URL is required')
    expect(status).toBe(1)
    expect([required.stderr, Number(required.stdout) > 20]).toEqual(['', true])
  })

  test('what its messages say to type is there: it has no scripts of npm in somebody else’s project', () => {
    const env = { CONSOLE_URL: 'http://127.0.0.1:9', HOLDPOINT_KEY: `org_${'a'.repeat(32)}` }
    const { status, stderr } = nodeIn(env, BIN, 'devices', 'ls')
    expect(stderr).toContain('Is it running? Try: npx holdpoint start')
    expect(status).toBe(1)
    const usage = node(BIN, 'backup')
    expect(usage.stderr).toContain('Usage: npx holdpoint backup FILE')
    const built = globSync('node_modules/holdpoint/dist/{src,tools}/**/*.js', { cwd: consumer }).sort()
    const told = built.flatMap((file) =>
      readFileSync(join(consumer, file), 'utf8')
        .split('\n')
        .filter((line) => /npm (?:start|run )/.test(line) && !/^\s*(?:\*|\/[*/])/.test(line))
        .map((line) => `${file}: ${line.trim()}`),
    )
    // Each is said in a checkout alone.
    expect(told).toEqual([
      expect.stringMatching(/console-files\.js: .*npm run build:console/),
      expect.stringMatching(/banner\.js: const ALL_IN_ONE = isSource\(\)/),
    ])
  })

  test('a guarded tool of it runs, is stopped, and runs again, with a control plane of the package in its process', () => {
    write('consumer.ts', CONSUMER)
    const { stdout, stderr, status } = node('consumer.ts')
    expect(stderr).toBe('')
    expect(JSON.parse(stdout)).toEqual({
      allowed: { refunded: 'INV-1' },
      stopped: expect.objectContaining({
        error: 'permission_denied',
        code: 'DEVICE_REVOKED',
        boundary: 'tool',
        executed: false,
      }),
      restored: { refunded: 'INV-3' },
      sent: ['INV-1', 'INV-3'],
    })
    expect(status).toBe(0)
  }, 30_000)

  test('holdpoint start: both servers, the console, the page of a recovery, a tool; SIGTERM ends all', async () => {
    const dataDir = join(consumer, 'started')
    const child = spawn(process.execPath, [BIN, 'start'], {
      cwd: consumer,
      env: {
        PATH: process.env['PATH'],
        DATA_DIR: dataDir,
        CONTROL_PLANE_PORT: '0',
        OPERATOR_PORT: '0',
        TOOL_SERVER_PORT: '0',
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const ended = once(child, 'close')
    try {
      let said = ''
      for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
        said += chunk.toString()
        if (said.includes('devices restore')) break
      }
      const [, operators = ''] = /for operators (\S+)/.exec(said) ?? []
      const [, toolServer = ''] = /^tool-server +(\S+)/m.exec(said) ?? []
      const found = await Promise.all(
        ['/console', '/console/stop', '/recover', '/recover/page.js', '/openapi.json'].map(
          async (path) => (await fetch(new URL(path, operators))).status,
        ),
      )
      expect(found).toEqual([200, 200, 200, 200, 200])
      const { callerToken } = JSON.parse(readFileSync(join(dataDir, 'tool-server.json'), 'utf8')) as {
        callerToken: string
      }
      const paid = await fetch(new URL('/tools/lookup_invoice', toolServer), {
        method: 'POST',
        headers: { authorization: `Bearer ${callerToken}`, 'content-type': 'application/json' },
        body: JSON.stringify({ call_id: 'call_1', arguments: { invoiceId: 'INV-1001' } }),
      })
      expect(await paid.json()).toMatchObject({ output: expect.stringContaining('INV-1001') })
    } finally {
      child.stdout.resume()
      child.kill('SIGTERM')
    }
    expect(await ended).toEqual([0, null])
  }, 60_000)

  test('a strict compiler takes every program of the docs with it and every declaration of it, and finds what is wrong', () => {
    const programs = pages().flatMap(({ blocks }) => blocks.filter(({ language }) => language === 'ts'))
    const text = "import { startGuard } from 'holdpoint'\nexport const wrong: string = await startGuard()\n"
    const blocks = [
      ...programs,
      { at: 'consumer', language: 'ts', text: CONSUMER },
      { at: 'wrong', language: 'ts', text },
    ]
    linkImported(blocks.map((block) => block.text))
    const compilerOptions = {
      strict: true,
      module: 'nodenext',
      target: 'es2024',
      types: ['node'],
      skipLibCheck: false,
    }
    const complaints = compile({ dir: consumer, write }, blocks, { compilerOptions })
    // The declarations of others are theirs: those of the SDK do not pass with each release of @types/node.
    const elsewhere = complaints.get('elsewhere') ?? []
    expect(elsewhere.filter((complaint) => !/^node_modules\/(?!holdpoint\/)/.test(complaint))).toEqual([])
    complaints.delete('elsewhere')
    expect(Object.fromEntries(complaints)).toEqual({
      wrong: [expect.stringContaining("Type 'Guard' is not assignable to type 'string'")],
    })
  }, 90_000)
})

/** What programs of the docs import beside this package, as their reader would install it. */
function linkImported(programs: readonly string[]): void {
  const names = programs.flatMap((text) => [...text.matchAll(/from '((?:@[\w-]+\/)?[a-z][\w-]*)/g)])
  for (const [, name = ''] of names) {
    const source = join(PROJECT, 'node_modules', name)
    const target = join(consumer, 'node_modules', name)
    if (!existsSync(target) && existsSync(source)) symlinkSync(source, target)
  }
}

function write(name: string, text: string): string {
  const file = join(consumer, name)
  writeFileSync(file, text)
  return file
}

function node(...args: string[]) {
  return nodeIn({}, ...args)
}

function nodeIn(env: Record<string, string>, ...args: string[]) {
  const PATH = process.env['PATH']
  return spawnSync(process.execPath, args, { ...SHORT, cwd: consumer, env: { PATH, ...env } })
}
