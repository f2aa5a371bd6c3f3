// npm run release: refuses what must not be published, runs every check, packs once, and says how to publish that very
// file. With --publish it does so, where npm can prove where it was built (docs/releasing.md).

import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')
const publishes = process.argv.includes('--publish')
// oxlint-disable-next-line node/no-process-env -- where npm publish --provenance looks too
const { ACTIONS_ID_TOKEN_REQUEST_URL: github, SIGSTORE_ID_TOKEN: gitlab } = process.env

const say = (text) => process.stdout.write(`${text}\n`)
const read = (name) => readFileSync(join(root, name), 'utf8')
const git = (...args) => spawnSync('git', args, { cwd: root, encoding: 'utf8' })
const run = (command, ...args) => {
  say(`> ${[command, ...args].join(' ')}`)
  return spawnSync(command, args, { cwd: root, stdio: 'inherit' }).status === 0
}

const { name, version, repository } = JSON.parse(read('package.json'))
const tarball = join('.package', `${name}-${version}.tgz`)

const problems = refusals()
if (problems.length > 0) {
  process.stderr.write(`Not released:\n${problems.map((problem) => `  ${problem}\n`).join('')}`)
  process.exit(1)
}
for (const script of ['check', 'check:lockfile', 'test', 'check:package', 'sbom']) {
  if (run('npm', 'run', script)) continue
  process.stderr.write(`Not released: npm run ${script} failed.\n`)
  process.exit(1)
}

const publish = ['publish', tarball, '--provenance', '--access', 'public']
if (publishes) {
  process.exitCode = run('npm', ...publish) ? 0 : 1
} else {
  for (const missing of provenance()) say(`Before that: ${missing}`)
  say(`${name} ${version} is ready: npm ${publish.join(' ')}, then git tag v${version}`)
}

function refusals() {
  const found = []
  const { status, stdout } = git('status', '--porcelain')
  if (status !== 0) found.push('This is no git repository: a release is a commit. Take a clone.')
  else if (stdout !== '') found.push(`The tree is not clean. Commit or drop first:\n${stdout.trimEnd()}`)

  const [, head, when] = /^## (\S+) \((.*)\)$/m.exec(read('CHANGELOG.md')) ?? []
  if (head !== version)
    found.push(`CHANGELOG.md begins with ${head}, package.json says ${version}. Make them one version.`)
  else if (!/^\d{4}-\d\d-\d\d$/.test(when))
    found.push(`CHANGELOG.md says ${version} (${when}). Put the date of the release there: (YYYY-MM-DD).`)

  const locked = JSON.parse(read('package-lock.json')).version
  if (locked !== version)
    found.push(
      `package-lock.json says ${locked}, package.json ${version}. Bump both: npm version X.Y.Z --no-git-tag-version`,
    )

  const latest = versions(git('tag', '--list', 'v*').stdout).at(-1)
  if (latest !== undefined && byVersion(version, latest) <= 0)
    found.push(`v${latest} is tagged already, and ${version} does not come after it. Bump the version.`)
  return publishes ? [...found, ...provenance()] : found
}

/** What npm needs to prove which commit the package was built from, and where. */
function provenance() {
  const found = []
  if (repository === undefined)
    found.push('package.json names no "repository", without which npm refuses provenance. Add it.')
  if (github === undefined && gitlab === undefined)
    found.push(
      'Provenance is proven by a CI: publish in GitHub Actions (id-token: write) or GitLab (SIGSTORE_ID_TOKEN).',
    )
  return found
}

function versions(tags) {
  return tags
    .split('\n')
    .flatMap((tag) => /^v(\d+\.\d+\.\d+)$/.exec(tag)?.[1] ?? [])
    .sort(byVersion)
}

function byVersion(a, b) {
  const [left, right] = [a, b].map((one) => one.split(/[.-]/).slice(0, 3).map(Number))
  return left.map((part, index) => part - right[index]).find((difference) => difference !== 0) ?? 0
}
