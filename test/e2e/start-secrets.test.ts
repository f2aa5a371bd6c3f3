import { createHash } from 'node:crypto'
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

import { PATHS } from '../../src/machineid/paths.ts'
import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'
import { runMain, temporaryDirectory, type Program } from '../fixtures/program.ts'

const READY = 'npm run demo'
const PORTS = { CONTROL_PLANE_PORT: '0', OPERATOR_PORT: '0', TOOL_SERVER_PORT: '0' }

interface Secrets {
  readonly approverToken?: string
  readonly approverSha256?: string
  readonly runStateKey?: string
  readonly callerToken?: string
}

const read = (dir: string, name: string) => JSON.parse(readFileSync(join(dir, name), 'utf8')) as Secrets
const write = (dir: string, name: string, value: object) =>
  writeFileSync(join(dir, name), JSON.stringify(value))
const sha256 = (text = '') => createHash('sha256').update(text).digest('hex')

async function startAndStop(dir: string, env: Record<string, string> = {}): Promise<void> {
  const program = runMain([], { ...PORTS, DATA_DIR: dir, ...env })
  await program.printed(READY)
  program.process.kill('SIGTERM')
  expect(await program.ended).toBe(0)
}

test('the approver is the operator: the token lies in operator.json, where the tool server has only its hash', async () => {
  await using dir = await temporaryDirectory()
  await startAndStop(dir.path)
  const [operator, toolServer] = [read(dir.path, 'operator.json'), read(dir.path, 'tool-server.json')]
  expect(operator.approverToken).toMatch(/^hpc_[\w-]{43}$/)
  expect(toolServer.approverSha256).toBe(sha256(operator.approverToken))
  expect(JSON.stringify(toolServer)).not.toContain(operator.approverToken)
  expect(Buffer.from(toolServer.runStateKey ?? '', 'base64url')).toHaveLength(32)
  expect(existsSync(join(dir.path, 'approver.json'))).toBe(false)
})

test('files of an earlier version get what is new, and keep the rest', async () => {
  await using dir = await temporaryDirectory()
  await startAndStop(dir.path)
  const { approverToken: _1, ...operator } = read(dir.path, 'operator.json')
  const { approverSha256: _2, runStateKey: _3, ...toolServer } = read(dir.path, 'tool-server.json')
  write(dir.path, 'operator.json', operator)
  write(dir.path, 'tool-server.json', { ...toolServer, added: 'by hand' })

  await startAndStop(dir.path)
  const upgraded = [read(dir.path, 'operator.json'), read(dir.path, 'tool-server.json')] as const
  expect(upgraded[0]).toEqual({
    ...operator,
    consoleUrl: expect.any(String),
    approverToken: expect.any(String),
  })
  expect(upgraded[1]).toEqual({
    ...toolServer,
    added: 'by hand',
    approverSha256: sha256(upgraded[0].approverToken),
    runStateKey: expect.any(String),
  })
  for (const name of ['operator.json', 'tool-server.json'])
    expect(statSync(join(dir.path, name)).mode & 0o777).toBe(0o600)

  await startAndStop(dir.path)
  expect(read(dir.path, 'tool-server.json')).toEqual(upgraded[1])
})

test('an approver token that was taken out of operator.json is replaced, and the old one is refused', async () => {
  await using dir = await temporaryDirectory()
  await startAndStop(dir.path)
  const { approverToken: old, ...operator } = read(dir.path, 'operator.json')
  write(dir.path, 'operator.json', operator)
  await startAndStop(dir.path)
  const { approverToken } = read(dir.path, 'operator.json')
  expect(approverToken).not.toBe(old)
  expect(read(dir.path, 'tool-server.json').approverSha256).toBe(sha256(approverToken))
})

test('with operator.json moved away it starts again: same org and keys, and none of its secrets left behind', async () => {
  await using dir = await temporaryDirectory()
  await startAndStop(dir.path)
  const operator = read(dir.path, 'operator.json') as Record<string, string>
  const toolServerSecrets = read(dir.path, 'tool-server.json')
  rmSync(join(dir.path, 'operator.json'))

  const again = runMain([], { ...PORTS, DATA_DIR: dir.path, PLATFORM_TOKEN: operator['platformToken'] ?? '' })
  await again.printed(READY)
  const said = again.output()
  expect(said).toContain(`the operator's secrets, which are not in ${dir.path}`)
  expect(said).not.toMatch(/approver\.curl|holdpoint devices/)
  for (const name of ['operator', 'approver', 'stop', 'admin'])
    expect(existsSync(join(dir.path, `${name}.curl`)), name).toBe(false)
  expect(existsSync(join(dir.path, 'operator.json'))).toBe(false)
  expect(read(dir.path, 'tool-server.json')).toEqual(toolServerSecrets)

  const [controlPlane = '', tools = ''] = [...said.matchAll(/^\S+ +(http:\S+)/gm)].map(([, url]) => url ?? '')
  const operators = /for operators (http:\S+)/.exec(said)?.[1] ?? ''
  expect(controlPlane).not.toBe('')
  const usage = await fetch(`${operators}${PATHS.usage}`, {
    headers: { 'x-org-key': operator['admin'] ?? '' },
  })
  expect(usage.status).toBe(200)
  const approvals = { authorization: `Bearer ${operator['approverToken']}` }
  expect((await fetch(`${tools}/approvals`, { headers: approvals })).status).toBe(200)
  again.process.kill('SIGTERM')
  expect(await again.ended).toBe(0)
})

test('without operator.json the control plane says what that turns off, and starts', async () => {
  await using dir = await temporaryDirectory()
  await startAndStop(dir.path)
  rmSync(join(dir.path, 'operator.json'))
  const DRILL_TOOL_SERVER_URL = 'http://127.0.0.1:9'
  const program = runMain(['control-plane'], { ...PORTS, DATA_DIR: dir.path, DRILL_TOOL_SERVER_URL })
  await program.printed('control plane is listening')
  expect(program.output()).toMatch(/operator\.json is not there: nobody makes new keys/)
  expect(program.output()).toMatch(/set PLATFORM_TOKEN .*set DRILL_TOKEN_FILE and DRILL_ORG_ID/)
  const [, url = ''] = /"url":"([^"]+)"/.exec(program.output()) ?? []
  const made = await fetch(`${url}/api/v1/org/create`, {
    method: 'POST',
    body: '{}',
    headers: { 'content-type': 'application/json' },
  })
  expect(await made.json()).toMatchObject({ code: 'PLATFORM_TOKEN_INVALID' })
  program.process.kill('SIGTERM')
  expect(await program.ended).toBe(0)
})

test('where only a tool server is started, the token is in approver.json once, and works', async () => {
  await using authority = await startTestControlPlane()
  await using dir = await temporaryDirectory()
  const { ask, program } = await toolServer(dir.path, authority)
  const { approverToken = '' } = read(dir.path, 'approver.json')
  expect(statSync(join(dir.path, 'approver.json')).mode & 0o777).toBe(0o600)
  expect(await ask('/approvals', approverToken)).toBe(200)
  expect(await ask('/approvals', read(dir.path, 'tool-server.json').callerToken)).toBe(403)
  program.process.kill('SIGTERM')
  await program.ended

  rmSync(join(dir.path, 'approver.json'))
  const again = await toolServer(dir.path, authority)
  expect(existsSync(join(dir.path, 'approver.json'))).toBe(false)
  expect(await again.ask('/approvals', approverToken)).toBe(200)
})

test('with CALLER_TOKENS_FILE the approver is an entry of that file, and the made tokens do not count', async () => {
  await using authority = await startTestControlPlane()
  await using dir = await temporaryDirectory()
  const file = join(dir.path, 'callers.json')
  const lead = { id: 'lead', name: 'Team lead', scopes: ['runs:approve'], sha256: sha256('hpc_lead') }
  write(dir.path, 'callers.json', { callers: [lead] })
  const { ask } = await toolServer(dir.path, authority, { CALLER_TOKENS_FILE: file })
  expect(await ask('/approvals', 'hpc_lead')).toBe(200)
  expect(await ask('/approvals', read(dir.path, 'tool-server.json').callerToken)).toBe(401)
  expect(existsSync(join(dir.path, 'approver.json'))).toBe(false)
  expect(read(dir.path, 'tool-server.json')).not.toHaveProperty('approverSha256')
})

test('RUN_STATE_KEY seals with its first key and opens with all: a paused run outlives a rotation, and not a lost key', async () => {
  await using authority = await startTestControlPlane()
  await using dir = await temporaryDirectory()
  const [old, next, other] = ['a', 'b', 'c'].map((digit) => digit.repeat(64)) as [string, string, string]
  const withKey = (keys: string) => toolServer(dir.path, authority, { RUN_STATE_KEY: keys })

  const first = await withKey(old)
  const input = { agent: 'accounts-assistant', runId: 'r1', input: 'Pay INV-1001' }
  expect((await first.post('/runs', input)).body).toMatchObject({ status: 'interrupted' })
  await first.stop()

  const lost = await withKey(other)
  expect(await lost.post('/runs/r1/resume', {})).toMatchObject({
    status: 409,
    body: { code: 'RUN_STATE_REFUSED' },
  })
  await lost.stop()

  const rotated = await withKey(`${next},${Buffer.from(old, 'hex').toString('base64url')}`)
  const [approval] = (await rotated.get('/runs/r1')).body.approvals
  const decisions = [{ callId: approval.callId, digest: approval.digest, approve: true }]
  const { approverToken = '' } = read(dir.path, 'approver.json')
  expect((await rotated.post('/runs/r1/decisions', { decisions }, approverToken)).status).toBe(200)
  expect((await rotated.post('/runs/r1/resume', {})).body).toMatchObject({
    status: 'completed',
    output: expect.stringContaining('INV-1001: paid'),
  })
})

/** The tool server as a process of its own, asking `authority`. */
async function toolServer(dir: string, authority: TestControlPlane, env: Record<string, string> = {}) {
  const program: Program = runMain(['tool-server'], {
    DATA_DIR: dir,
    TOOL_SERVER_PORT: '0',
    MACHINEID_BASE_URL: authority.url,
    MACHINEID_ORG_KEY: authority.keys.runtime,
    ...env,
  })
  await program.printed('tool server is listening')
  const line = program
    .output()
    .split('\n')
    .find((text) => text.includes('is listening'))
  const { url } = JSON.parse(line ?? '') as { url: string }
  const own = () => read(dir, 'tool-server.json').callerToken ?? ''
  const send = async (path: string, token: string, body?: unknown) => {
    const response = await fetch(`${url}${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    // oxlint-disable-next-line typescript/no-explicit-any -- tests look into bodies of every shape
    return { status: response.status, body: (await response.json()) as any }
  }
  return {
    program,
    post: (path: string, body: unknown, token = own()) => send(path, token, body),
    get: (path: string) => send(path, own()),
    ask: async (path: string, token = '') => (await send(path, token)).status,
    stop: async () => {
      program.process.kill('SIGTERM')
      expect(await program.ended).toBe(0)
    },
  }
}
