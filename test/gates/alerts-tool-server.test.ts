// Both programs as they are started: an operator stops payments, and whoever ALERT_WEBHOOK_URL names is told.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Webhook } from 'standardwebhooks'
import { afterAll, expect, test, vi } from 'vitest'

import { readControlPlaneConfig, readToolServerConfig } from '../../src/config.ts'
import { createLogger } from '../../src/log.ts'
import { MachineID } from '../../src/machineid/client.ts'
import { startControlPlane } from '../../src/programs/control-plane.ts'
import { startToolServer } from '../../src/programs/tool-server.ts'
import { startSink } from './sink.ts'

const SECRET = `whsec_${Buffer.alloc(32, 5).toString('base64')}`
const PAYMENTS = 'openai-agent:dev:payments:01'
const SERVER = 'openai-agent:dev:tool-server:01'

const dir = mkdtempSync(join(tmpdir(), 'holdpoint-alerts-'))
const log = createLogger({ level: 'silent' })
const base = { DATA_DIR: dir, CONTROL_PLANE_PORT: '0', OPERATOR_PORT: '0', TOOL_SERVER_PORT: '0' }
const plane = await startControlPlane(readControlPlaneConfig(base), log)
const sink = await startSink()
const secretFile = join(dir, 'alert-secret')
writeFileSync(secretFile, `${SECRET}\n`)
const config = readToolServerConfig({
  ...base,
  VALIDATE_TIMEOUT_MS: '3000',
  MACHINEID_BASE_URL: plane.url,
  ALERT_WEBHOOK_URL: sink.url,
  ALERT_WEBHOOK_SECRET_FILE: secretFile,
})
const secrets = (file: string) =>
  JSON.parse(readFileSync(join(dir, file), 'utf8')) as Record<'operator' | 'callerToken', string>
const operator = new MachineID({
  baseUrl: plane.operatorUrl,
  orgKey: secrets('operator.json').operator,
})
afterAll(async () => {
  await operator.close()
  await plane.close()
  await sink.close()
  rmSync(dir, { recursive: true, force: true })
})

const told = () => {
  const { headers, text } = sink.received.at(-1) as (typeof sink.received)[number]
  return new Webhook(SECRET).verify(text, headers as Record<string, string>)
}

test('with ALERT_WEBHOOK_URL a denial at the tool server is told, signed, with the command to type; a drill is not', async () => {
  const server = await startToolServer(config, log)
  const post = (path: string, body: object) =>
    fetch(server.url + path, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        authorization: `Bearer ${secrets('tool-server.json').callerToken}`,
      },
      body: JSON.stringify(body),
    })
  expect(await operator.revoke(PAYMENTS, { reason: 'looks wrong' })).toMatchObject({ ok: true })
  expect(await (await post('/canary/payments', { holdMs: 1 })).json()).toMatchObject({ started: false })
  const call = { call_id: 'c1', arguments: { invoiceId: 'INV-1001', amountCents: 100 } }
  const denied = await post('/tools/send_payment', call)
  const { request_id: requestId } = (await denied.json()) as { request_id: string }
  expect(denied.status).toBe(403)
  await vi.waitFor(() => expect(sink.received).toHaveLength(1), { timeout: 5000 })
  expect(told()).toMatchObject({
    type: 'holdpoint.denied',
    data: {
      device_id: PAYMENTS,
      code: 'DEVICE_REVOKED',
      tool: 'send_payment',
      count: 1,
      request_id: requestId,
      next: `holdpoint explain ${requestId}`,
    },
  })
  await post('/tools/send_payment', call)
  await server.close()
  expect(told()).toMatchObject({ data: { count: 2 } })
})

test('a tool server that is denied at its start tells that before it ends', async () => {
  expect(await operator.revoke(SERVER, { reason: 'looks wrong' })).toMatchObject({ ok: true })
  const before = sink.received.length
  await expect(startToolServer(config, log)).rejects.toThrow(`Startup of ${SERVER}`)
  expect(sink.received).toHaveLength(before + 1)
  expect(told()).toMatchObject({ data: { device_id: SERVER, boundary: 'startup', code: 'DEVICE_REVOKED' } })
})

test.each([
  [{ ALERT_WEBHOOK_URL: 'https://sink.example' }],
  [{ ALERT_WEBHOOK_SECRET: SECRET }],
  [
    {
      ALERT_WEBHOOK_URL: 'https://sink.example',
      ALERT_WEBHOOK_SECRET: SECRET,
      ALERT_WEBHOOK_SECRET_FILE: 'f',
    },
  ],
  [{ ALERT_WEBHOOK_URL: 'https://sink.example', ALERT_WEBHOOK_SECRET_FILE: join(dir, 'none') }],
  [{ ALERT_WEBHOOK_URL: 'sink', ALERT_WEBHOOK_SECRET: SECRET }],
])('settings that cannot work are told with their names, and without the secret: case %#', (env) => {
  expect(() => readToolServerConfig(env)).toThrow(/ALERT_WEBHOOK/)
  expect(() => readToolServerConfig(env)).toThrow(/^(?![^]*whsec_B)/)
})
