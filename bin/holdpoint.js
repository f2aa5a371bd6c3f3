#!/usr/bin/env node
// Plain JavaScript, and all of it is loaded later, so that an old Node can read it and say one clear line.
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
const { existsSync } = await import('node:fs')
const main = new URL('../src/main.ts', import.meta.url)
if (major < 22 || (major === 22 && minor < 19)) {
  const next = existsSync(main)
    ? 'In a checkout npm ci brings Node 24: use npm run -s holdpoint -- ARGUMENTS.'
    : 'Install a newer one, or only for this project: npm install --save-dev node@24, then npx holdpoint ARGUMENTS.'
  process.stderr.write(`holdpoint needs Node 22.19 or newer; this is ${process.versions.node}. ${next}\n`)
  process.exit(1)
}

if (process.argv.length === 2) process.argv.push('--help')
// A published package has no sources: Node strips no types below node_modules.
if (existsSync(main)) await runSource()
else await import('../dist/src/main.js')

/** In the place of this process, so that signals, terminal and status are its own. */
async function runSource() {
  const { fileURLToPath } = await import('node:url')
  const command = ['--conditions=holdpoint-source', fileURLToPath(main), ...process.argv.slice(2)]
  if (typeof process.execve === 'function' && process.platform !== 'win32') {
    process.execve(process.execPath, [process.execPath, ...command])
  }
  const { spawn } = await import('node:child_process')
  const child = spawn(process.execPath, command, { stdio: 'inherit' })
  // Ctrl-C reaches both: the child decides how it ends.
  process.on('SIGINT', () => {})
  process.on('SIGTERM', () => child.kill('SIGTERM'))
  child.on('exit', (status, signal) => {
    process.exitCode = status ?? (signal === 'SIGINT' ? 130 : 1)
  })
}
