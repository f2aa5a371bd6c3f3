import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs' // prettier-ignore
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')
const NEEDED = ['src', 'tools', 'scripts', 'package.json', 'tsconfig.json', 'tsconfig.build.json']

test('a build leaves the console of a control plane that runs where it is, until the new one is whole', async () => {
  const copy = mkdtempSync(join(tmpdir(), 'holdpoint-rebuild-'))
  onTestFinished(() => rmSync(copy, { recursive: true, force: true }))
  for (const name of NEEDED) cpSync(join(ROOT, name), join(copy, name), { recursive: true })
  symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'))
  const page = join(copy, 'dist/console/index.html')
  mkdirSync(join(copy, 'dist/console'), { recursive: true })
  writeFileSync(page, 'old')

  const build = spawn('npm', ['run', 'build'], { cwd: copy, stdio: 'ignore' })
  let looks = 0
  let absent = 0
  const looking = setInterval(() => {
    looks++
    if (!existsSync(page)) absent++
  }, 5)
  const [status] = (await once(build, 'exit')) as [number | null]
  clearInterval(looking)
  expect(status).toBe(0)
  expect(looks).toBeGreaterThan(10)
  expect(absent).toBeLessThan(2)
  expect(readFileSync(page, 'utf8')).not.toBe('old')
  expect(existsSync(join(copy, 'dist/src/control-plane/recover-page/index.html'))).toBe(true)
}, 100_000)

test('whoever installs the package has nothing to run, and what npm pack makes is not committed', () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: object }
  for (const name of [
    'preinstall',
    'install',
    'postinstall',
    'prepublish',
    'preprepare',
    'prepare',
    'postprepare',
  ])
    expect(scripts).not.toHaveProperty(name)
  expect(readFileSync(join(ROOT, '.gitignore'), 'utf8').split('\n')).toContain('holdpoint-*.tgz')
})

test('on an old Node the command says what helps: in a checkout, and where the package is installed', () => {
  const old =
    "Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.19.0' } })"
  const said = (bin: string) =>
    spawnSync(process.execPath, [`--import=data:text/javascript,${encodeURIComponent(old)}`, bin], {
      encoding: 'utf8',
    }).stderr
  const installed = mkdtempSync(join(tmpdir(), 'holdpoint-installed-'))
  onTestFinished(() => rmSync(installed, { recursive: true, force: true }))
  cpSync(join(ROOT, 'bin'), join(installed, 'bin'), { recursive: true })
  writeFileSync(join(installed, 'package.json'), '{"type":"module"}')
  expect(said(join(ROOT, 'bin/holdpoint.js'))).toMatch(
    /this is 20\.19\.0\. In a checkout npm ci brings Node 24/,
  )
  expect(said(join(installed, 'bin/holdpoint.js'))).toMatch(
    /this is 20\.19\.0\. Install a newer one, .* node@24/,
  )
})
