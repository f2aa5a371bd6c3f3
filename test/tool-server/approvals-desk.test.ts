// Both programs as they are started, with the time of day: the shipped agent asks to pay, a person with an operator key
// approves at the control plane, and the console's calls tell of the run.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, onTestFinished, test } from 'vitest'
import { readControlPlaneConfig, readToolServerConfig } from '../../src/config.ts'
import { createLogger } from '../../src/log.ts'
import { startControlPlane } from '../../src/programs/control-plane.ts'
import { startToolServer } from '../../src/programs/tool-server.ts'

const dir = mkdtempSync(join(tmpdir(), 'holdpoint-desk-'))
const log = createLogger({ level: 'silent' })
const base = { DATA_DIR: dir, CONTROL_PLANE_PORT: '0', OPERATOR_PORT: '0', TOOL_SERVER_PORT: '0' }
const plane = await startControlPlane(readControlPlaneConfig(base), log)
afterAll(async () => {
  await plane.close()
  rmSync(dir, { recursive: true, force: true })
})
const { operator } = JSON.parse(readFileSync(join(dir, 'operator.json'), 'utf8')) as { operator: string }

async function startServer(settings: Record<string, string> = {}) {
  const env = { ...base, ...settings, MACHINEID_BASE_URL: plane.url }
  const server = await startToolServer(readToolServerConfig(env), log)
  onTestFinished(() => server.close())
  return server
}

// oxlint-disable-next-line typescript/no-explicit-any -- tests look into bodies of every shape
async function call(url: string, headers: Record<string, string>, body?: object): Promise<any> {
  const response = await fetch(url, {
    headers: { 'content-type': 'application/json', ...headers },
    ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
  })
  return response.json()
}

const atPlane = (path: string, body?: object) =>
  call(`${plane.operatorUrl}/api/v1${path}`, { 'x-org-key': operator }, body)

function atServer(url: string, path: string, body?: object) {
  const { callerToken } = JSON.parse(readFileSync(join(dir, 'tool-server.json'), 'utf8')) as {
    callerToken: string
  }
  return call(url + path, { authorization: `Bearer ${callerToken}` }, body)
}

const pay = (runId: string, invoiceId: string) => ({
  agent: 'accounts-assistant',
  runId,
  input: `Pay ${invoiceId}`,
})

test('a payment that was approved at the control plane is made without anybody resuming the run, and both are seen there', async () => {
  const { url } = await startServer()
  expect(await atServer(url, '/runs', pay('june-1', 'INV-1003'))).toMatchObject({ status: 'interrupted' })
  const { approvals } = await atPlane('/approvals?state=waiting')
  expect(approvals).toMatchObject([{ runId: 'june-1', agent: 'accounts-assistant', tool: 'send_payment' }])
  const { approvalId, digest } = approvals[0]
  await atPlane(`/approvals/${approvalId}/decide`, { digest, approve: true })
  const run = async () => (await atServer(url, '/runs/june-1')) as { status: string; effects: object[] }
  await expect.poll(async () => (await run()).status, { timeout: 8_000, interval: 200 }).toBe('completed')
  expect((await run()).effects).toMatchObject([{ kind: 'payment', state: 'done' }])
  await expect
    .poll(async () => (await atPlane('/runs/june-1')).run?.status, { timeout: 5_000, interval: 200 })
    .toBe('completed')
  const { steps } = await atPlane('/runs/june-1')
  const types = (steps as { type: string }[]).map(({ type }) => type)
  expect(types.filter((type) => /^(?:run_|approval)/.test(type))).toEqual([
    'run_started',
    'approval_asked',
    'run_ended',
    'run_resumed',
    'run_ended',
  ])
})

test('APPROVAL_DESK=off: no arguments leave the tool server, and the run is seen all the same', async () => {
  const { url } = await startServer({ APPROVAL_DESK: 'off' })
  expect(await atServer(url, '/runs', pay('june-2', 'INV-1004'))).toMatchObject({ status: 'interrupted' })
  await expect
    .poll(async () => (await atPlane('/runs/june-2')).run?.status, { timeout: 5_000, interval: 200 })
    .toBe('interrupted')
  expect(await atPlane('/approvals?state=waiting')).toMatchObject({ approvals: [], waiting: 0 })
})
