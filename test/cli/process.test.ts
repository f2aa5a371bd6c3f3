import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'

import { PATHS } from '../../src/machineid/paths.ts'
import { startTestLanes, type TestControlPlane } from '../fixtures/control-plane.ts'
import { startRelay } from './relay.ts'
import { operatorFiles, run } from './run.ts'

// The program as it is called: a process of its own, its real streams, signals and status.

const ROOT = join(import.meta.dirname, '../..')
const HOLDPOINT = join(ROOT, 'bin/holdpoint.js')
const DEVICE = 'openai-agent:prod:payments:01'

let authority: TestControlPlane
beforeAll(async () => {
  authority = await startTestLanes()
  await authority.register(DEVICE)
})
afterAll(() => authority.close())

const envOf = (more: Record<string, string> = {}) => ({
  PATH: process.env['PATH'] ?? '',
  DATA_DIR: operatorFiles(authority),
  CONSOLE_URL: authority.operatorUrl,
  ...more,
})

const holdpointIn = (cwd: string, args: readonly string[], env: Record<string, string>) =>
  started(args, cwd, env).ended

function holdpoint(args: readonly string[], env: Record<string, string> = {}) {
  return started(args, authority.dir, envOf(env))
}

function started(args: readonly string[], cwd: string, env: Record<string, string>) {
  const child = spawn(process.execPath, [HOLDPOINT, ...args], {
    cwd,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  const ended = once(child, 'close').then(([status]) => ({ status: status as number | null, stdout, stderr }))
  return { child, ended }
}

/** On a pseudo-terminal, where somebody types. */
async function onTerminal(args: string, typed?: { readonly at: string; readonly type: string }) {
  const child = spawn('script', ['-qefc', `${process.execPath} ${HOLDPOINT} ${args}`, '/dev/null'], {
    env: envOf({ TERM: 'xterm', SHELL: '/bin/sh' }),
    cwd: authority.dir,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  let output = ''
  let left = typed
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString()
    if (left === undefined || !output.includes(left.at)) return
    child.stdin.write(left.type)
    left = undefined
  })
  const [status] = await once(child, 'close')
  return { status: status as number, output }
}

describe('holdpoint as a process', () => {
  test('answers in a pipe without colour, and has its status', async () => {
    const { status, stdout, stderr } = await holdpoint(['devices', 'ls']).ended
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout.split('\n')[1]).toMatch(new RegExp(`^${DEVICE}\tactive\t`))
    expect((await holdpoint(['devices', 'bogus']).ended).status).toBe(2)
    await authority.revoke(DEVICE)
    expect(
      (await holdpoint(['devices', 'restore', DEVICE], { HOLDPOINT_KEY: authority.keys.stop }).ended).status,
    ).toBe(3)
    await authority.restore(DEVICE)
  })

  test('without a command it says what there is', async () => {
    const { status, stdout } = await holdpoint([]).ended
    expect(status).toBe(0)
    for (const group of ['Stop and restore:', 'Look:', 'Prove:', 'Who may:', 'Run:'])
      expect(stdout).toContain(`\n${group}\n`)
  })

  test('reads .env of the folder where it is called', async () => {
    writeFileSync(join(authority.dir, '.env'), `HOLDPOINT_KEY=${authority.keys.viewer}\n`)
    const { status, stderr } = await holdpoint(['devices', 'revoke', DEVICE]).ended
    writeFileSync(join(authority.dir, '.env'), '')
    expect(status).toBe(3)
    expect(stderr).toContain('A viewer key may not do this.')
  })

  test.each(['CONSOLE_URL', 'MACHINEID_CA_FILE', 'TOOL_SERVER_URL', 'DATA_DIR'])(
    'a key of the environment goes to no address, and with no CA, that only .env of a foreign folder says: %s',
    async (name) => {
      await using relay = await startRelay(authority.operatorUrl)
      const folder = join(authority.dir, `foreign-${name}`)
      mkdirSync(folder)
      writeFileSync(join(folder, 'operator.json'), JSON.stringify({ consoleUrl: relay.url }))
      const values: Record<string, string> = { MACHINEID_CA_FILE: 'operator.json', DATA_DIR: '.' }
      writeFileSync(join(folder, '.env'), `${name}=${values[name] ?? relay.url}\n`)
      const isTool = name === 'TOOL_SERVER_URL'
      const secret = isTool ? 'HOLDPOINT_TOKEN' : 'HOLDPOINT_KEY'
      const env = {
        PATH: process.env['PATH'] ?? '',
        [secret]: authority.keys.viewer,
        ...(name === 'MACHINEID_CA_FILE' && { CONSOLE_URL: relay.url }),
      }
      const args = isTool ? ['runs', 'ls'] : ['devices', 'ls']
      const { status, stderr } = await holdpointIn(folder, args, env)
      expect({ status, asked: relay.asked }).toEqual({ status: 2, asked: [] })
      expect(stderr).toContain(`${secret} is set in the environment, but ${name} stands only in .env`)
    },
  )

  test('an address in .env is good for a key beside it, and a default there is for every key', async () => {
    const folder = join(authority.dir, 'own')
    mkdirSync(folder)
    const lines = [`HOLDPOINT_KEY=${authority.keys.viewer}`, `CONSOLE_URL=${authority.operatorUrl}`]
    writeFileSync(join(folder, '.env'), lines.join('\n'))
    const call = (env: Record<string, string>) =>
      holdpointIn(folder, ['devices', 'ls'], { PATH: process.env['PATH'] ?? '', ...env })
    expect(await call({})).toMatchObject({ status: 0, stderr: '' })
    writeFileSync(join(folder, '.env'), 'DATA_DIR=./data\nOPERATOR_PORT=4101\nTLS_CERT_FILE=\n')
    const { keys, operatorUrl: CONSOLE_URL } = authority
    expect(await call({ HOLDPOINT_KEY: keys.viewer, CONSOLE_URL })).toMatchObject({ status: 0, stderr: '' })
  })

  test('keys of a DATA_DIR of the environment go to no address of .env, nor a key of it to one found here', async () => {
    const folder = join(authority.dir, 'found')
    mkdirSync(join(folder, 'data'), { recursive: true })
    writeFileSync(join(folder, '.env'), `CONSOLE_URL=${authority.operatorUrl}\n`)
    const path = { PATH: process.env['PATH'] ?? '' }
    const named = await holdpointIn(folder, ['devices', 'ls'], {
      ...path,
      DATA_DIR: operatorFiles(authority),
    })
    expect(named.status).toBe(2)
    expect(named.stderr).toContain('DATA_DIR, with its keys, is set in the environment, but CONSOLE_URL')
    writeFileSync(join(folder, '.env'), '')
    const away = JSON.stringify({ consoleUrl: 'https://console.invalid' })
    writeFileSync(join(folder, 'data/operator.json'), away)
    const found = await holdpointIn(folder, ['devices', 'ls'], {
      ...path,
      HOLDPOINT_KEY: authority.keys.viewer,
    })
    expect(found.status).toBe(2)
    expect(found.stderr).toContain('(ADDRESS_NOT_TRUSTED)')
  })

  test('on a terminal it has colour and spans', async () => {
    const { status, output } = await onTerminal('devices ls')
    expect(output).toContain('\u001B[32mactive\u001B[39m')
    expect(output).toMatch(/(\d+ s ago|now)/)
    expect(status).toBe(0)
  })

  test('a reader that closes the pipe early, as head does, is no error', async () => {
    const command = `${process.execPath} ${HOLDPOINT} --help | head -1; echo "$?"`
    const stdout = await new Promise<string>((resolve, reject) =>
      execFile('/bin/sh', ['-c', command], { env: envOf(), cwd: authority.dir }, (error, out, err) =>
        error === null && err === '' ? resolve(out) : reject(new Error(err, { cause: error })),
      ),
    )
    expect(stdout).toBe('Usage: holdpoint [options] <command>\n0\n')
  })

  test.each(['2>&1 | true', '2>&1 | (read line; exit)'])(
    'panic goes on until it is acked, whoever has ended to read what it says: %s',
    async (reader) => {
      let tries = 0
      await using relay = await startRelay(authority.operatorUrl, (asked) =>
        asked.endsWith(PATHS.orgDisable) ? ++tries > 3 : true,
      )
      // Only the third answer comes through; by then nobody reads the notes about the first two.
      const command = `${process.execPath} ${HOLDPOINT} panic --yes --wait 5 ${reader}`
      await new Promise((resolve) =>
        execFile(
          '/bin/sh',
          ['-c', command],
          { env: envOf({ CONSOLE_URL: relay.url }), cwd: authority.dir },
          resolve,
        ),
      )
      await vi.waitFor(() => expect(tries).toBeGreaterThan(3), { timeout: 5000 })
      const { org } = (await authority.get(PATHS.usage, authority.keys.viewer)).body
      await authority.post(PATHS.orgEnable, { ifEpoch: org.epoch }, authority.keys.admin)
    },
  )

  test('a terminal that is closed is as Ctrl-C: what is on its way ends in order', async () => {
    const arrived = Promise.withResolvers<void>()
    await using relay = await startRelay(authority.operatorUrl, () => {
      arrived.resolve()
      return new Promise<boolean>(() => {})
    })
    const { child, ended } = holdpoint(['devices', 'ls'], { CONSOLE_URL: relay.url })
    await arrived.promise
    child.kill('SIGHUP')
    expect((await ended).status).toBe(130)
  })

  test('Ctrl-C while a stop is on its way: status 130, and that it may have been made', async () => {
    const arrived = Promise.withResolvers<void>()
    await using relay = await startRelay(authority.operatorUrl, () => {
      arrived.resolve()
      return new Promise<boolean>(() => {})
    })
    const { child, ended } = holdpoint(['devices', 'revoke', DEVICE], { CONSOLE_URL: relay.url })
    await arrived.promise
    child.kill('SIGINT')
    const { status, stdout, stderr } = await ended
    expect({ status, stdout }).toEqual({ status: 130, stdout: '' })
    expect(stderr).toBe(
      'Interrupted. The stop may or may not have been made: repeat it, a stop is idempotent. (INTERRUPTED)\n',
    )
    // As it says: here it had been.
    expect((await authority.get(PATHS.list, authority.keys.viewer)).body.devices[0].revoked).toBe(true)
    await authority.restore(DEVICE)
  })

  test('Ctrl-C while it asks changes nothing', async () => {
    const { status, output } = await onTerminal("devices revoke --pattern '*'", {
      at: '[y/N]',
      type: '\u0003',
    })
    expect(output).toContain('Interrupted. Nothing was changed.')
    expect(status).toBe(130)
    expect((await authority.get(PATHS.list, authority.keys.viewer)).body.devices[0].revoked).toBe(false)
  })

  test('no key stands in what it prints, or in the arguments of a process', async () => {
    await using relay = await startRelay(authority.operatorUrl, async () => {
      const commands = readdirSync('/proc')
        .filter((name) => /^\d+$/.test(name))
        .map((pid) => {
          try {
            return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
          } catch {
            return ''
          }
        })
      expect(commands.some((command) => command.includes(HOLDPOINT) || command.includes('main.ts'))).toBe(
        true,
      )
      for (const key of Object.values(authority.keys))
        expect(commands.filter((command) => command.includes(key))).toEqual([])
    })
    for (const args of [
      ['devices', 'ls'],
      ['keys', 'ls', '--json'],
      ['org', 'usage'],
      ['lock', 'ls'],
    ]) {
      const { status, stdout, stderr } = await holdpoint(args, { CONSOLE_URL: relay.url }).ended
      expect(status).toBe(0)
      for (const key of Object.values(authority.keys)) expect(stdout + stderr).not.toContain(key)
    }
  })

  test('an old Node is told in one line', () => {
    // Only what it looks at is old.
    const preload = `data:text/javascript,Object.defineProperty(process.versions,'node',{value:'18.20.0'})`
    const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', preload, HOLDPOINT], {
      encoding: 'utf8',
    })
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    expect(stderr).toMatch(/^holdpoint needs Node 22\.19 or newer; this is 18\.20\.0\..*\n$/)
  })
})

describe('completion', () => {
  const scripts = new Map<string, string>()
  const script = (shell: string) => scripts.get(shell) ?? ''
  beforeAll(async () => {
    for (const shell of ['bash', 'zsh', 'fish'])
      scripts.set(shell, (await run(['completion', shell], { authority })).stdout)
  })

  test.each([
    [
      ['holdpoint', ''],
      ['devices', 'panic', 'drill', 'doctor', '--json'],
    ],
    [
      ['holdpoint', 'devices', 're'],
      ['register', 'revoke', 'restore'],
    ],
    [
      ['holdpoint', 'devices', 'revoke', '--re'],
      ['--reason', '--remind-after'],
    ],
    [['holdpoint', '--json', 'org', 'plan', 'f'], ['free']],
  ])('bash: %j', (words, expected) => {
    const program = `${script('bash')}
COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _holdpoint; printf '%s\\n' "\${COMPREPLY[@]}"`
    const { stdout, stderr } = spawnSync('bash', ['-c', program], { encoding: 'utf8' })
    expect(stderr).toBe('')
    expect(stdout.trim().split('\n')).toEqual(expect.arrayContaining(expected))
  })

  test('every shell gets every command, and others are refused', async () => {
    expect((await run(['completion', 'dos'], { authority })).status).toBe(2)
    for (const shell of ['bash', 'zsh', 'fish'])
      for (const command of ['panic', 'callers', 'completion', 'restore-backup'])
        expect(script(shell)).toContain(command)
  })
})
