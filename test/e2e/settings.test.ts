import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'
import { startRawServer } from '../fixtures/raw-server.ts'
import { runMain, temporaryDirectory, type Program } from '../fixtures/program.ts'

const SERVER = 'openai-agent:dev:tool-server:01'

interface RunningToolServer {
  readonly program: Program
  readonly url: string
  readonly lookup: (
    headers?: Record<string, string>,
  ) => Promise<{ readonly status: number; readonly code: unknown }>
}

/** The tool server as a process of its own, asking `authority`, with these settings on top. */
async function toolServer(
  dir: string,
  authority: TestControlPlane,
  settings: Record<string, string>,
): Promise<RunningToolServer> {
  const program = runMain(['tool-server'], {
    DATA_DIR: dir,
    TOOL_SERVER_PORT: '0',
    MACHINEID_BASE_URL: authority.url,
    MACHINEID_ORG_KEY: authority.keys.runtime,
    ...settings,
  })
  await program.printed('tool server is listening')
  const line =
    program
      .output()
      .split('\n')
      .find((text) => text.includes('is listening')) ?? ''
  const { url } = JSON.parse(line) as { url: string }
  const { callerToken } = JSON.parse(readFileSync(join(dir, 'tool-server.json'), 'utf8')) as {
    callerToken: string
  }
  const lookup = (headers: Record<string, string> = {}) =>
    post(
      `${url}/tools/lookup_invoice`,
      { authorization: `Bearer ${callerToken}`, ...headers },
      { arguments: { invoiceId: 'INV-1001' } },
    )
  return { program, url, lookup }
}

const theirs = { authorization: 'Bearer hpc_theirs' }

function callersFile(token: string): string {
  const sha256 = createHash('sha256').update(token).digest('hex')
  return JSON.stringify({ callers: [{ id: 'bot', name: 'Bot', scopes: ['tools:call'], sha256 }] })
}

/** With node:http, because fetch does not let a Host header be chosen. */
function post(
  url: string,
  headers: Record<string, string>,
  body: unknown,
): Promise<{ status: number; code: unknown }> {
  return new Promise((resolve, reject) => {
    const sent = request(
      url,
      { method: 'POST', headers: { 'content-type': 'application/json', ...headers } },
      (response) => {
        let text = ''
        response.on('data', (chunk: Buffer) => (text += chunk.toString()))
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, code: (JSON.parse(text) as { code?: unknown }).code }),
        )
      },
    )
    sent.on('error', reject).end(JSON.stringify(body))
  })
}

describe('settings of the tool server do what .env.example says', () => {
  test('CALLER_TOKENS_FILE replaces the first token, and a caller taken out of it is refused at once', async () => {
    await using authority = await startTestControlPlane()
    await using dir = await temporaryDirectory()
    const file = join(dir.path, 'callers.json')
    writeFileSync(file, callersFile('hpc_theirs'))
    const { lookup } = await toolServer(dir.path, authority, { CALLER_TOKENS_FILE: file })
    expect(await lookup()).toEqual({ status: 401, code: 'CALLER_UNAUTHENTICATED' })
    expect(await lookup(theirs)).toMatchObject({ status: 200 })
    writeFileSync(file, JSON.stringify({ callers: [] }))
    expect(await lookup(theirs)).toMatchObject({ status: 401 })
  })

  test('ALLOWED_HOSTS and PUBLIC_URL are the names it answers to', async () => {
    await using authority = await startTestControlPlane()
    await using dir = await temporaryDirectory()
    const file = join(dir.path, 'callers.json')
    writeFileSync(file, callersFile('hpc_theirs'))
    const { lookup } = await toolServer(dir.path, authority, {
      ALLOWED_HOSTS: 'tools.internal, other.internal',
      PUBLIC_URL: 'https://tools.example.com',
      CALLER_TOKENS_FILE: file,
    })
    expect(await lookup({ ...theirs, host: 'other.internal:8080' })).toMatchObject({ status: 200 })
    expect(await lookup({ ...theirs, host: 'tools.example.com' })).toMatchObject({ status: 200 })
    expect(await lookup({ ...theirs, host: 'evil.example' })).toEqual({
      status: 403,
      code: 'HOST_NOT_ALLOWED',
    })
  })

  test('MACHINEID_DEVICE_ID and MACHINEID_SURFACES name the devices that are asked about', async () => {
    await using authority = await startTestControlPlane()
    await using dir = await temporaryDirectory()
    const { lookup } = await toolServer(dir.path, authority, {
      MACHINEID_DEVICE_ID: 'bot:prod:tool-server:07',
      MACHINEID_SURFACES: 'payments=bot:prod:money:01,email=tool-server,records=tool-server',
    })
    const { body } = await authority.get('/api/v1/devices/list', authority.keys.viewer)
    const ids = (body as { devices: { deviceId: string }[] }).devices.map((device) => device.deviceId)
    expect(ids.toSorted()).toEqual(['bot:prod:money:01', 'bot:prod:tool-server:07'])
    await authority.revoke('bot:prod:tool-server:07')
    expect(await lookup()).toEqual({ status: 403, code: 'DEVICE_REVOKED' })
  })

  test('ON_SERVER_DENIED=exit ends it with status 1 when its server device is denied; the default stays', async () => {
    await using authority = await startTestControlPlane()
    await using dir = await temporaryDirectory()
    await using dirOfExit = await temporaryDirectory()
    const staying = await toolServer(dir.path, authority, {})
    const exiting = await toolServer(dirOfExit.path, authority, { ON_SERVER_DENIED: 'exit' })
    await authority.revoke(SERVER)
    await exiting.lookup().catch(() => undefined)
    expect(await exiting.program.ended).toBe(1)
    expect(exiting.program.output()).toContain('the server device is denied, exiting')
    expect(await staying.lookup()).toEqual({ status: 403, code: 'DEVICE_REVOKED' })
    expect(await staying.lookup()).toEqual({ status: 403, code: 'DEVICE_REVOKED' })
  })

  test('VALIDATE_TIMEOUT_MS is the budget of a question: past it no answer means no', async () => {
    await using dir = await temporaryDirectory()
    const silent = await startRawServer(() => {})
    onTestFinished(() => silent.close())
    const program = runMain(['tool-server'], {
      DATA_DIR: dir.path,
      TOOL_SERVER_PORT: '0',
      MACHINEID_BASE_URL: silent.url,
      MACHINEID_ORG_KEY: 'org_nobody',
      VALIDATE_TIMEOUT_MS: '100',
    })
    expect(await program.ended).toBe(1)
    expect(program.errors()).toContain('AUTHORITY_TIMEOUT')
    expect(program.output()).toContain('No complete answer within 100 ms')
  })

  test('LOG_LEVEL=warn leaves out what is allowed and keeps what is denied', async () => {
    await using authority = await startTestControlPlane()
    await using dir = await temporaryDirectory()
    const program = runMain(['tool-server'], {
      DATA_DIR: dir.path,
      TOOL_SERVER_PORT: '0',
      MACHINEID_BASE_URL: authority.url,
      MACHINEID_ORG_KEY: 'org_wrong',
      LOG_LEVEL: 'warn',
    })
    expect(await program.ended).toBe(1)
    const levels = program
      .output()
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { level: string }).level)
    expect(new Set(levels)).toEqual(new Set(['warn']))
  })
})

describe('settings of the control plane do what .env.example says', () => {
  test('VALIDATES_PER_SECOND_PER_KEY, DECISION_LOG, VALIDATE_WORKERS and CONSOLE_URL', async () => {
    await using dir = await temporaryDirectory()
    const { url, operatorUrl, keys, program } = await controlPlane(dir.path, {
      VALIDATES_PER_SECOND_PER_KEY: '2',
      DECISION_LOG: 'all',
      VALIDATE_WORKERS: process.platform === 'linux' ? '2' : '1',
      CONSOLE_URL: 'https://console.example.com/',
    })
    expect(keys.consoleUrl).toBe('https://console.example.com/')
    const key = { 'x-org-key': keys.runtime }
    await post(`${url}/api/v1/devices/register`, key, { deviceId: SERVER })
    const statuses = []
    for (let turn = 0; turn < 8; turn++) {
      statuses.push((await post(`${url}/api/v1/devices/validate`, key, { deviceId: SERVER })).status)
    }
    expect(statuses[0]).toBe(200)
    expect(statuses).toContain(429)
    await expect
      .poll(async () => {
        const answer = await fetch(`${operatorUrl}/api/v1/decisions`, {
          headers: { 'x-org-key': keys.viewer },
        })
        return ((await answer.json()) as { decisions: { code: string }[] }).decisions.map(({ code }) => code)
      })
      .toContain('ALLOW')
    program.process.kill('SIGTERM')
    expect(await program.ended).toBe(0)
  })

  test('VALIDATES_PER_SECOND_PER_ORG, and TRUST_PROXY as in an audit row', async () => {
    await using dir = await temporaryDirectory()
    const { url, operatorUrl, keys } = await controlPlane(dir.path, {
      VALIDATES_PER_SECOND_PER_ORG: '1',
      TRUST_PROXY: '1',
    })
    const key = { 'x-org-key': keys.runtime }
    const validate = () => post(`${url}/api/v1/devices/validate`, key, { deviceId: SERVER })
    const statuses = [await validate(), await validate(), await validate()].map(({ status }) => status)
    expect(statuses).toContain(429)
    const from = { 'x-org-key': keys.stop, 'x-forwarded-for': '9.9.9.9' }
    expect(await post(`${operatorUrl}/api/v1/org/disable`, from, {})).toMatchObject({ status: 200 })
    const audit = await fetch(`${operatorUrl}/api/v1/audit`, { headers: { 'x-org-key': keys.admin } })
    const { rows } = (await audit.json()) as { rows: { action: string; origin: string }[] }
    expect(rows.find(({ action }) => action === 'org.disable')).toMatchObject({ origin: '9.9.9.9' })
  })
})

interface Keys {
  readonly runtime: string
  readonly viewer: string
  readonly stop: string
  readonly admin: string
  readonly consoleUrl: string
}

/** The control plane as a process of its own, with these settings on top. */
async function controlPlane(dir: string, settings: Record<string, string>) {
  const program = runMain(['control-plane'], {
    DATA_DIR: dir,
    CONTROL_PLANE_PORT: '0',
    OPERATOR_PORT: '0',
    ...settings,
  })
  await program.printed('control plane is listening')
  const line = program
    .output()
    .split('\n')
    .find((text) => text.includes('is listening'))
  const { url, operator_url: operatorUrl } = JSON.parse(line ?? '') as { url: string; operator_url: string }
  const read = (name: string) => JSON.parse(readFileSync(join(dir, name), 'utf8')) as object
  const keys = { ...read('tool-server.json'), ...read('operator.json') } as Keys
  return { program, url, operatorUrl, keys }
}

test('PLATFORM_TOKEN of the control plane: orgs are made only with it', async () => {
  await using dir = await temporaryDirectory()
  const token = 'hpp_a-platform-token-of-32-characters'
  const program = runMain(['control-plane'], {
    DATA_DIR: dir.path,
    CONTROL_PLANE_PORT: '0',
    OPERATOR_PORT: '0',
    PLATFORM_TOKEN: token,
  })
  await program.printed('control plane is listening')
  const { url } = JSON.parse(program.output().split('\n')[0] ?? '') as { url: string }
  const create = `${url}/api/v1/org/create`
  expect(await post(create, {}, {})).toMatchObject({ status: 401, code: 'PLATFORM_TOKEN_INVALID' })
  expect(await post(create, { authorization: `Bearer ${token}` }, {})).toMatchObject({ status: 200 })
})

test('METRICS_TOKEN of either server: figures to another machine, and nothing else', async () => {
  await using dir = await temporaryDirectory()
  await using dirOfTools = await temporaryDirectory()
  await using authority = await startTestControlPlane()
  const METRICS_TOKEN = 'a-token-for-figures-of-32-characters'
  const { url, operatorUrl } = await controlPlane(dir.path, { METRICS_TOKEN })
  const tools = await toolServer(dirOfTools.path, authority, { METRICS_TOKEN })
  const relayed = { 'x-forwarded-for': '203.0.113.9' }
  const headers = { ...relayed, authorization: `Bearer ${METRICS_TOKEN}` }
  for (const server of [url, operatorUrl, tools.url]) {
    const strangers = await fetch(`${server}/metrics`, { headers: relayed })
    expect([strangers.status, await strangers.json()]).toMatchObject([403, { code: 'INSUFFICIENT_SCOPE' }])
    expect((await fetch(`${server}/metrics`, { headers })).status).toBe(200)
  }
  expect((await fetch(`${tools.url}/tools`, { headers })).status).toBe(401)
})
