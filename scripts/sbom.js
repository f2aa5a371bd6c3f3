// Writes the bill of what a user installs with holdpoint, as CycloneDX: sbom.cdx.json, or the file that is named.

import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const root = join(import.meta.dirname, '..')
const read = (name) => JSON.parse(readFileSync(join(root, name), 'utf8'))

// npm sbom --omit=dev leaves out whatever something for developers needs too, zod and pg among it (npm 11.19): what is
// only for developers is taken out beforehand instead.
const { devDependencies: _dev, overrides: _overrides, ...manifest } = read('package.json')
const lock = read('package-lock.json')
const { devDependencies: _locked, ...own } = lock.packages['']
const used = Object.entries(lock.packages).filter(
  ([path, { dev, devOptional }]) => path !== '' && dev !== true && devOptional !== true,
)

const temporary = mkdtempSync(join(tmpdir(), 'holdpoint-sbom-'))
try {
  // npm names the bill after the folder.
  const folder = join(temporary, manifest.name)
  mkdirSync(folder)
  const write = (name, value) => writeFileSync(join(folder, name), JSON.stringify(value))
  write('package.json', manifest)
  write('package-lock.json', { ...lock, packages: { '': own, ...Object.fromEntries(used) } })
  const args = ['sbom', '--package-lock-only', '--sbom-format=cyclonedx', '--sbom-type=library']
  const { status, stdout, stderr } = spawnSync('npm', args, { cwd: folder, encoding: 'utf8' })
  if (status !== 0) throw new Error(`npm sbom: ${stderr}`)
  const file = resolve(process.argv[2] ?? join(root, 'sbom.cdx.json'))
  writeFileSync(file, stdout)
  process.stdout.write(`${JSON.parse(stdout).components.length} packages: ${file}\n`)
} finally {
  rmSync(temporary, { recursive: true, force: true })
}
