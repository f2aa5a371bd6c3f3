// Builds the console into dist/console, or into the directory it is given. It is built beside and swapped in, since a
// control plane may be serving it. Where vite is absent (npm ci --omit=dev), whoever installed has it built already.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url))
const vite = at('node_modules/vite/bin/vite.js')
const run = (...args) => {
  const { status } = spawnSync(process.execPath, args, {
    stdio: 'inherit',
    cwd: at('.'),
    // A test that builds it would get React's half for developers, which is larger and slower than what users have.
    // oxlint-disable-next-line node/no-process-env -- handed on, and one of it fixed
    env: { ...process.env, NODE_ENV: 'production' },
  })
  return status ?? 1
}

if (existsSync(vite)) {
  const target = resolve(process.argv[2] ?? at('dist/console'))
  const built = at(`.build-console-${process.pid}`)
  const config = at('src/console/vite.config.ts')
  process.exitCode =
    run(vite, 'build', '--config', config, '--outDir', built, '--emptyOutDir', '--logLevel', 'warn') ||
    run(at('scripts/swap.js'), built, target)
} else {
  process.stdout.write('The console is not built: vite is absent.\n')
}
