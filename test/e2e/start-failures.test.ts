import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { runMain, takenPort, temporaryDirectory } from '../fixtures/program.ts'

const PORTS = { CONTROL_PLANE_PORT: '0', OPERATOR_PORT: '0', TOOL_SERVER_PORT: '0' }

/** Status 1 and one message that says what to do, without a stack. */
async function fails(env: Record<string, string>, args: readonly string[] = []): Promise<string> {
  const program = runMain(args, { ...PORTS, ...env })
  expect(await program.ended).toBe(1)
  const said = program.output() + program.errors()
  expect(said).not.toMatch(/^ {4}at /m)
  return said
}

describe('a start that cannot work: one message with the next step, status 1, no stack trace', () => {
  test.each(['CONTROL_PLANE_PORT', 'OPERATOR_PORT', 'TOOL_SERVER_PORT'])('%s is taken', async (variable) => {
    await using dir = await temporaryDirectory()
    await using taken = await takenPort()
    const said = await fails({ DATA_DIR: dir.path, [variable]: String(taken.port) })
    expect(said).toContain(`Cannot listen on 127.0.0.1:${taken.port}. Another program has it`)
    expect(said).toContain(`The port is ${variable}`)
  })

  test('DATA_DIR cannot be written', async () => {
    await using dir = await temporaryDirectory()
    const file = join(dir.path, 'a-file')
    writeFileSync(file, '')
    expect(await fails({ DATA_DIR: file })).toMatch(
      /a-file\/logs cannot be written .* Check DATA_DIR, its owner and mode/,
    )
  })

  test('the database is damaged; it is left as it was', async () => {
    await using dir = await temporaryDirectory()
    const file = join(dir.path, 'control-plane.db')
    const damaged = randomBytes(9000)
    writeFileSync(file, damaged)
    const said = await fails({ DATA_DIR: dir.path })
    expect(said).toMatch(
      /control-plane\.db is not a SQLite database.* Restore it from a backup, or use another file/,
    )
    expect(readFileSync(file).equals(damaged)).toBe(true)
  })

  test("the database has an org, but the tool server's key is gone", async () => {
    await using dir = await temporaryDirectory()
    await startOnce(dir.path)
    rmSync(join(dir.path, 'tool-server.json'))
    expect(await fails({ DATA_DIR: dir.path })).toMatch(
      /tool-server\.json is not there or holds no keys. Put the file back/,
    )
    rmSync(join(dir.path, 'operator.json'))
    expect(await fails({ DATA_DIR: dir.path })).toMatch(
      /tool-server\.json has no key of it: that was moved away, .* set MACHINEID_ORG_KEY_FILE/,
    )
  })

  test('the secrets belong to another database', async () => {
    await using dir = await temporaryDirectory()
    await startOnce(dir.path)
    for (const suffix of ['', '-wal', '-shm'])
      rmSync(join(dir.path, `control-plane.db${suffix}`), { force: true })
    expect(await fails({ DATA_DIR: dir.path })).toMatch(/hold keys that the database in .* does not know/)
  })

  test('a secrets file is not what was written there', async () => {
    await using dir = await temporaryDirectory()
    mkdirSync(dir.path, { recursive: true })
    writeFileSync(join(dir.path, 'operator.json'), '{"admin": "org_admin_secretsecret"')
    const said = await fails({ DATA_DIR: dir.path })
    expect(said).toContain('operator.json is not what holdpoint wrote there')
    expect(said).not.toContain('secretsecret')
  })

  test('two control planes on one file', async () => {
    await using dir = await temporaryDirectory()
    const first = runMain(['control-plane'], { ...PORTS, DATA_DIR: dir.path })
    await first.printed('control plane is listening')
    expect(await fails({ DATA_DIR: dir.path }, ['control-plane'])).toMatch(/control-plane\.db/)
    first.process.kill('SIGTERM')
    expect(await first.ended).toBe(0)
  })

  test('every problem of the environment is told at once', async () => {
    const said = await fails({
      MACHINEID_DEVICE_ID: 'two words',
      VALIDATE_TIMEOUT_MS: '5',
      TOOL_SERVER_PORT: '99999',
      MACHINEID_SURFACES: 'payments=a:b:c:d,email',
      TLS_CERT_FILE: '/nowhere.pem',
      STRIPE_API_KEY: 'sk_live_notARealKey',
      RUN_STATE_KEY: 'notARealKeyEither',
      SMTP_URL: 'smtp://127.0.0.1:1',
      MACHINEID_ORG_KEY: 'org_x',
      MACHINEID_ORG_KEY_FILE: 'y',
    })
    for (const name of [
      'MACHINEID_DEVICE_ID',
      'VALIDATE_TIMEOUT_MS',
      'TOOL_SERVER_PORT',
      'MACHINEID_SURFACES',
      'TLS_CERT_FILE',
      'STRIPE_PAYMENT_METHOD',
      'RUN_STATE_KEY',
      'MAIL_FROM',
      'MACHINEID_ORG_KEY ',
    ]) {
      expect(said).toContain(`  ${name}`)
    }
    expect(said).not.toMatch(/notARealKey/)
  })

  test('off loopback without callers', async () => {
    await using dir = await temporaryDirectory()
    expect(await fails({ DATA_DIR: dir.path, HOST: '0.0.0.0' })).toContain('Set CALLER_TOKENS_FILE')
  })

  test('an address of another machine, and no key for it: the key of this one is not sent there', async () => {
    await using dir = await temporaryDirectory()
    await startOnce(dir.path)
    const env = { DATA_DIR: dir.path, MACHINEID_BASE_URL: 'https://elsewhere.invalid:4100' }
    const asked =
      /MACHINEID_BASE_URL is https:\/\/elsewhere\.invalid:4100, .* set MACHINEID_ORG_KEY_FILE .*GUARD_MISCONFIGURED/
    expect(await fails(env, ['tool-server'])).toMatch(asked)
    expect(await fails(env)).toMatch(asked)
    const named = { ...env, MACHINEID_ORG_KEY_FILE: join(dir.path, 'tool-server.json') }
    expect(await fails(named, ['tool-server'])).toContain('was denied: AUTHORITY_UNREACHABLE')
  })

  test('a program that does not exist: status 2 and the names of those that do', async () => {
    const program = runMain(['bogus'], {})
    expect(await program.ended).toBe(2)
    expect(program.errors()).toMatch(/^error: unknown command 'bogus'\n/)
  })
})

describe('startup denied', () => {
  test('no control plane: the denial is logged, then status 1, and nothing listens', async () => {
    await using dir = await temporaryDirectory()
    const said = await fails(
      { DATA_DIR: dir.path, MACHINEID_BASE_URL: 'http://127.0.0.1:9', MACHINEID_ORG_KEY: 'org_nobody' },
      ['tool-server'],
    )
    expect(said).toMatch(/"boundary":"startup","allowed":false,"code":"AUTHORITY_UNREACHABLE"/)
    expect(said).toMatch(
      /Startup of openai-agent:dev:tool-server:01 was denied: AUTHORITY_UNREACHABLE .* Without that variable npx holdpoint start runs one here/,
    )
    expect(said).not.toContain('listening')
  })

  test('the server device is revoked: DEVICE_REVOKED, status 1', async () => {
    await using dir = await temporaryDirectory()
    await startOnce(dir.path)
    const controlPlane = runMain(['control-plane'], { ...PORTS, DATA_DIR: dir.path })
    await controlPlane.printed('control plane is listening')
    const { url } = JSON.parse(controlPlane.output().split('\n')[0] ?? '') as { url: string }
    const { stop } = JSON.parse(readFileSync(join(dir.path, 'operator.json'), 'utf8')) as { stop: string }
    await fetch(`${url}/api/v1/devices/revoke`, {
      method: 'POST',
      headers: { 'x-org-key': stop, 'content-type': 'application/json' },
      body: JSON.stringify({ deviceId: 'openai-agent:dev:tool-server:01' }),
    })
    const said = await fails({ DATA_DIR: dir.path, MACHINEID_BASE_URL: url }, ['tool-server'])
    expect(said).toMatch(/was denied: DEVICE_REVOKED .* a stopped process cannot release itself/)

    const waiting = runMain(['tool-server'], {
      ...PORTS,
      DATA_DIR: dir.path,
      MACHINEID_BASE_URL: url,
      ON_STARTUP_DENIED: 'wait',
    })
    await waiting.printed('startup denied, asking again')
    waiting.process.kill('SIGKILL')
    controlPlane.process.kill('SIGTERM')
    expect(await controlPlane.ended).toBe(0)
  })
})

async function startOnce(dataDir: string): Promise<void> {
  const program = runMain([], { ...PORTS, DATA_DIR: dataDir })
  await program.printed('npm run demo')
  program.process.kill('SIGTERM')
  expect(await program.ended).toBe(0)
}
