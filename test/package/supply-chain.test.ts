import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { PROJECT } from '../docs/markdown.ts'

interface Locked {
  readonly version?: string
  readonly integrity?: string
  readonly resolved?: string
  readonly link?: boolean
  readonly dev?: boolean
  readonly devOptional?: boolean
}
interface Manifest {
  readonly version: string
  readonly scripts: Readonly<Record<string, string>>
  readonly dependencies: Readonly<Record<string, string>>
  readonly peerDependencies: Readonly<Record<string, string>>
}

const json = <T>(file: string) => JSON.parse(readFileSync(file, 'utf8')) as T
const MANIFEST = json<Manifest>(join(PROJECT, 'package.json'))
const LOCK = json<{ packages: Record<string, Locked> }>(join(PROJECT, 'package-lock.json'))
const INSTALLED = Object.entries(LOCK.packages).filter(([path]) => path !== '')

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'holdpoint-supply-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

describe('the lockfile', () => {
  /** What lockfile-lint does not look at: a package without a hash, and one that is a folder of this machine. */
  test('has a sha512 for every package, and each comes from a registry', () => {
    expect(INSTALLED.length).toBeGreaterThan(100)
    const without = INSTALLED.filter(([, { integrity }]) => !/^sha512-[\w+/]{86}==$/.test(integrity ?? ''))
    expect(without).toEqual([])
    expect(INSTALLED.filter(([, { link, resolved }]) => link === true || resolved !== undefined)).toEqual([])
  })

  test.each<[string, string, Locked]>([
    ['as it is', 'No issues', {}],
    ['a weaker hash', 'integrity', { integrity: 'sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=' }],
    ['a git source', 'protocol', { resolved: 'git+ssh://git@github.com/nodejs/undici.git#1' }],
    ['another host', 'host', { resolved: 'https://registry.example/undici/-/undici-8.12.4.tgz' }],
    ['another package', 'different name', { resolved: 'https://registry.npmjs.org/x/-/x-8.12.4.tgz' }],
  ])('%s: npm run check:lockfile says so', (_what, said, change) => {
    const undici = { ...LOCK.packages['node_modules/undici'], ...change }
    const packages = { ...LOCK.packages, 'node_modules/undici': undici }
    writeFileSync(join(dir, 'package-lock.json'), JSON.stringify({ ...LOCK, packages }))
    const [command = '', ...args] = MANIFEST.scripts['check:lockfile']?.split(' ') ?? []
    const program = join(PROJECT, 'node_modules/.bin', command)
    const { status, stdout, stderr } = spawnSync(program, args, { cwd: dir, encoding: 'utf8' })
    expect(stdout + stderr).toContain(said)
    expect(status).toBe(said === 'No issues' ? 0 : 1)
  })
})

test('npm run sbom names exactly what a user installs, and nothing that is only for developers', () => {
  const file = join(dir, 'sbom.json')
  const { status, stderr } = spawnSync(process.execPath, [join(PROJECT, 'scripts/sbom.js'), file], {
    encoding: 'utf8',
  })
  expect(stderr).toBe('')
  expect(status).toBe(0)
  const bill = json<{
    bomFormat: string
    metadata: { component: { name: string; version: string } }
    components: readonly { name: string; version: string; hashes: readonly { alg: string }[] }[]
  }>(file)
  expect(bill.bomFormat).toBe('CycloneDX')
  expect(bill.metadata.component).toMatchObject({ name: 'holdpoint', version: MANIFEST.version })
  const named = bill.components.map(({ name, version }) => `${name}@${version}`)
  const used = INSTALLED.filter(([, { dev, devOptional }]) => dev !== true && devOptional !== true)
  const nameOf = (path: string) => path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)
  expect(named.sort()).toEqual(used.map(([path, { version }]) => `${nameOf(path)}@${version}`).sort())
  const names = bill.components.map(({ name }) => name)
  const { dependencies, peerDependencies } = MANIFEST
  expect(names).toEqual(expect.arrayContaining(Object.keys({ ...dependencies, ...peerDependencies })))
  expect(names).not.toContain('vitest')
  expect(bill.components.filter(({ hashes }) => hashes[0]?.alg !== 'SHA-512')).toEqual([])
})

describe('npm run release', () => {
  const READY = { name: 'holdpoint', version: '1.2.0', type: 'module' }
  /** A project that is ready: each of its checks is done at once. */
  beforeEach(() => {
    const did = (what: string) => `node -e "console.log('did ${what}')"`
    const checks = ['check', 'check:lockfile', 'test', 'check:package', 'sbom']
    const scripts = Object.fromEntries(checks.map((name) => [name, did(name)]))
    write('package.json', { ...READY, scripts })
    write('package-lock.json', { name: 'holdpoint', version: '1.2.0' })
    writeFileSync(
      join(dir, 'CHANGELOG.md'),
      '# Changelog\n\n## 1.2.0 (2026-11-22)\n\n## 1.1.0 (2026-10-01)\n',
    )
    mkdirSync(join(dir, 'scripts'))
    cpSync(join(PROJECT, 'scripts/release.js'), join(dir, 'scripts/release.js'))
    git('init', '--quiet')
    commit()
    git('tag', 'v1.1.0')
  })

  test('a project that is ready: runs every check, says how to publish, and publishes nothing', () => {
    const { status, stdout, stderr } = release()
    expect(stderr).toBe('')
    expect(status).toBe(0)
    const done = [...stdout.matchAll(/^did (.*)$/gm)].map(([, name]) => name)
    expect(done).toEqual(['check', 'check:lockfile', 'test', 'check:package', 'sbom'])
    expect(stdout).toContain(
      'is ready: npm publish .package/holdpoint-1.2.0.tgz --provenance --access public, then git tag v1.2.0',
    )
    expect(stdout).toContain('package.json names no "repository"')
    expect(stdout).not.toContain('> npm publish')
  })

  test.each<[string, () => void, string]>([
    ['a change that is not committed', () => writeFileSync(join(dir, 'new.txt'), ''), 'not clean'],
    [
      'a version that is not the head of the changelog',
      () => changelog('## 1.3.0 (2026-11-22)'),
      'begins with 1.3.0, package.json says 1.2.0',
    ],
    ['a head without a date', () => changelog('## 1.2.0 (unreleased)'), '1.2.0 (unreleased)'],
    [
      'a lockfile of another version',
      () => commit(() => write('package-lock.json', { version: '1.1.0' })),
      'package-lock.json says 1.1.0',
    ],
    ['a version that is tagged', () => git('tag', 'v1.2.0'), 'v1.2.0 is tagged already'],
    ['a version below one that is tagged', () => git('tag', 'v1.10.0'), 'v1.10.0 is tagged already'],
    [
      'a check that fails',
      () => commit(() => write('package.json', { ...READY, scripts: { check: 'exit 1' } })),
      'npm run check failed',
    ],
  ])('%s is refused', (_what, spoil, said) => {
    spoil()
    const { status, stdout, stderr } = release()
    expect(stderr).toContain('Not released')
    expect(stderr).toContain(said)
    expect(status).toBe(1)
    expect(stdout).not.toContain('is ready')
  })

  test('--publish where nothing can prove the build is refused before anything runs', () => {
    const { status, stdout, stderr } = release('--publish')
    expect(stderr).toContain('Provenance is proven by a CI')
    expect(stderr).toContain('names no "repository"')
    expect(stdout).toBe('')
    expect(status).toBe(1)
  })

  function release(...args: string[]) {
    return spawnSync(process.execPath, ['scripts/release.js', ...args], {
      cwd: dir,
      encoding: 'utf8',
      env: { PATH: process.env['PATH'], HOME: dir, npm_config_update_notifier: 'false' },
    })
  }
  function changelog(head: string) {
    commit(() => writeFileSync(join(dir, 'CHANGELOG.md'), `# Changelog\n\n${head}\n`))
  }
  function commit(change?: () => void) {
    change?.()
    git('add', '--all')
    git('-c', 'user.name=a', '-c', 'user.email=a@example.com', 'commit', '--quiet', '--message=x')
  }
  function git(...args: string[]) {
    const { status, stderr } = spawnSync('git', args, { cwd: dir, encoding: 'utf8' })
    if (status !== 0) throw new Error(`git ${args.join(' ')}: ${stderr}`)
  }
  function write(name: string, value: object) {
    writeFileSync(join(dir, name), JSON.stringify(value))
  }
})
