import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { validate } from 'dockerfile-utils'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { freePort } from '../../demo/free-port.ts'
import { readControlPlaneConfig, readToolServerConfig } from '../../src/config.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { PROJECT } from '../docs/markdown.ts'
import { CONTAINERFILE, copies, inImage, INSTRUCTIONS } from './containerfile.ts'

// No image is built here: this checks what can be checked without, and runs what the image would hold.

const PACKAGE = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8')) as {
  version: string
  devDependencies: Record<string, string>
}

describe('Containerfile', () => {
  test('has nothing that a linter complains of', () => {
    expect(validate(CONTAINERFILE)).toEqual([])
    expect(validate('FROM node:24\nCOPPY a b\n')).not.toEqual([])
  })

  test('stands on the Node that the tests run on, pinned, and on this version', () => {
    const froms = INSTRUCTIONS.filter(({ name }) => name === 'FROM').map(({ text }) => text.split(' ')[0])
    expect(new Set(froms)).toEqual(new Set(['node:${NODE_VERSION}-bookworm-slim']))
    expect(CONTAINERFILE).toContain(`ARG NODE_VERSION=${PACKAGE.devDependencies['node']}\n`)
    expect(CONTAINERFILE).toContain(`ARG VERSION=${PACKAGE.version}\n`)
  })

  test('copies what there is, and nothing else of the project reaches the build', () => {
    const sources = copies('all').map(([source]) => source)
    expect(sources.filter((path) => !existsSync(join(PROJECT, path)))).toEqual([])
    const lines = readFileSync(join(PROJECT, '.dockerignore'), 'utf8').split('\n')
    const rules = lines.filter((line) => line !== '' && !line.startsWith('#'))
    expect(rules[0]).toBe('*')
    expect(rules.slice(1).sort()).toEqual([...new Set(sources)].map((path) => `!${path}`).sort())
  })

  test('runs node itself, as a user by number, who owns the data alone', () => {
    expect(inImage('USER')).toEqual(['1000:1000'])
    expect(inImage('VOLUME')).toEqual(['/data'])
    expect(inImage('RUN')).toEqual(['install --directory --owner=1000 --group=1000 --mode=0700 /data'])
    expect(JSON.parse(inImage('ENTRYPOINT')[0] ?? '')).toEqual([
      'node',
      '--conditions=holdpoint-source',
      '/holdpoint/src/main.ts',
    ])
    expect(JSON.parse(inImage('HEALTHCHECK')[0]?.replace('CMD ', '') ?? '')).toEqual([
      'node',
      '/holdpoint/deploy/container/healthcheck.js',
    ])
  })

  test('exposes the ports that the programs take by default', () => {
    const { CONTROL_PLANE_PORT, OPERATOR_PORT } = readControlPlaneConfig({})
    expect(inImage('EXPOSE')).toEqual([
      `${CONTROL_PLANE_PORT} ${OPERATOR_PORT} ${readToolServerConfig({}).TOOL_SERVER_PORT}`,
    ])
  })
})

const isRoot = process.getuid?.() === 0
/** Of a user that can write nothing of the tree. */
const USER = isRoot ? { uid: 1000, gid: 1000 } : {}
const unreachable = whyUnreachable()
if (unreachable !== undefined) console.warn(`skipped: what the image would hold is not run: ${unreachable}`)

describe.skipIf(unreachable !== undefined)('what the image would hold', { timeout: 60_000 }, () => {
  let root: string
  const running: ChildProcess[] = []
  const at = (path: string) => join(root, path)
  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), 'holdpoint-image-'))
    chmodSync(root, 0o755)
    for (const [source, target] of copies('image')) {
      mkdirSync(dirname(at(`holdpoint/${target}`)), { recursive: true })
      cpSync(join(PROJECT, source), at(`holdpoint/${target}`), { recursive: true })
    }
    linkRuntimeDependencies(at('holdpoint/node_modules'))
    mkdirSync(at('data'), { mode: 0o700 })
    if (isRoot) chownSync(at('data'), 1000, 1000)
  })
  afterAll(() => {
    for (const child of running) child.kill('SIGKILL')
    rmSync(root, { recursive: true, force: true })
  })

  test('starts both servers as that user, who writes to the data alone; is healthy; ends by SIGTERM with status 0', async () => {
    const [controlPlane, operators, tools, none] = await Promise.all([
      freePort(),
      freePort(),
      freePort(),
      freePort(),
    ])
    const env = {
      NODE_ENV: 'production',
      DATA_DIR: at('data'),
      CONTROL_PLANE_PORT: String(controlPlane),
      OPERATOR_PORT: String(operators),
      TOOL_SERVER_PORT: String(none),
    }
    const before = filesOf(at('holdpoint'))
    const health = (path: string, of: object = {}) =>
      spawnSync(process.execPath, [at('holdpoint/deploy/container/healthcheck.js'), path], {
        ...USER,
        env: { ...env, ...of },
      }).status
    expect(health(PATHS.healthz)).toBe(1)
    const authority = start(['control-plane'], env)
    await authority.said('control plane is listening')
    expect([health(PATHS.healthz), health(PATHS.readyz), health('/nowhere')]).toEqual([0, 0, 1])

    const toolServer = start(['tool-server'], { ...env, TOOL_SERVER_PORT: String(tools) })
    await toolServer.said('tool server is listening')
    expect(health(PATHS.healthz, { CONTROL_PLANE_PORT: none, TOOL_SERVER_PORT: tools })).toBe(0)
    const { callerToken } = JSON.parse(readFileSync(at('data/tool-server.json'), 'utf8')) as {
      callerToken: string
    }
    const answer = await fetch(`http://127.0.0.1:${tools}/tools/lookup_invoice`, {
      method: 'POST',
      headers: { authorization: `Bearer ${callerToken}`, 'content-type': 'application/json' },
      body: JSON.stringify({ call_id: 'call_1', arguments: { invoiceId: 'INV-1001' } }),
    })
    expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining('INV-1001')])

    expect([await toolServer.end(), await authority.end()]).toEqual([0, 0])
    expect(filesOf(at('holdpoint'))).toEqual(before)
    expect(readdirSync(at('data'))).toContain('control-plane.db')
  })

  function start(args: readonly string[], env: NodeJS.ProcessEnv) {
    const command = [
      '--preserve-symlinks',
      '--conditions=holdpoint-source',
      at('holdpoint/src/main.ts'),
      ...args,
    ]
    const child = spawn(process.execPath, command, {
      ...USER,
      cwd: at('holdpoint'),
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    running.push(child)
    let log = ''
    const ended = once(child, 'close').then(([status]) => status as number | null)
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => (log += chunk.toString()))
    return {
      said: (text: string) =>
        new Promise<void>((resolve, reject) => {
          child.stdout.on('data', () => log.includes(text) && resolve())
          void ended.then((status) => reject(new Error(`ended with ${status}: ${log}`)))
        }),
      end: () => {
        child.kill('SIGTERM')
        return ended
      },
    }
  }
})

/** What npm prune --omit=dev leaves: a package that only development needs is not found. */
function linkRuntimeDependencies(target: string): void {
  const { packages } = JSON.parse(readFileSync(join(PROJECT, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { dev?: boolean }>
  }
  for (const [path, { dev = false }] of Object.entries(packages)) {
    const [, name] = /^node_modules\/((?:@[^/]+\/)?[^/]+)$/.exec(path) ?? []
    const installed = join(PROJECT, path)
    if (name === undefined || dev || !existsSync(installed)) continue
    mkdirSync(dirname(join(target, name)), { recursive: true })
    symlinkSync(installed, join(target, name))
  }
}

function filesOf(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true }).map(String).sort()
}

function whyUnreachable(): string | undefined {
  if (!existsSync(join(PROJECT, 'dist/console'))) return 'the console is not built'
  const { status } = spawnSync(
    process.execPath,
    ['--eval', `require('fs').readdirSync(${JSON.stringify(PROJECT)})`],
    USER,
  )
  return status === 0 ? undefined : 'another user of this machine cannot read the project'
}
