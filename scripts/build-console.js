// Builds the console into dist/console. Where vite is absent (npm ci --omit=dev), whoever installed has it built already.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url))
const vite = at('node_modules/vite/bin/vite.js')
if (existsSync(vite)) {
  const config = at('src/console/vite.config.ts')
  const { status } = spawnSync(process.execPath, [vite, 'build', '--config', config, '--logLevel', 'warn'], {
    stdio: 'inherit',
    cwd: at('.'),
    // A test that builds it would get React's half for developers, which is larger and slower than what users have.
    // oxlint-disable-next-line node/no-process-env -- handed on, and one of it fixed
    env: { ...process.env, NODE_ENV: 'production' },
  })
  process.exitCode = status ?? 1
} else {
  process.stdout.write('The console is not built: vite is absent.\n')
}
