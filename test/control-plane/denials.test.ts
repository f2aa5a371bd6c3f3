import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'

import { createDenialLog, type Denial } from '../../src/control-plane/denials.ts'
import { PATHS } from '../../src/machineid/wire.ts'
import { openControlPlaneStore } from '../../src/store/sqlite/control-plane.ts'
import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'

const DEVICE = 'openai-agent:test:payments:01'
const NONCE = 'n'.repeat(22)

/** What a control plane that was closed has kept. */
async function kept(authority: TestControlPlane, requestId: string) {
  await authority.kill()
  const store = openControlPlaneStore({ file: authority.file })
  const denials = await store.findDenials(requestId)
  await store.close()
  return denials
}

test('G8: a denied question is stored with its device, code and context, under the request_id that was told', async () => {
  await using authority = await startTestControlPlane()
  await authority.register(DEVICE)
  await authority.revoke(DEVICE)
  const context = {
    boundary: 'side_effect',
    tool: 'send_payment',
    callId: 'call_1',
    runId: 'run_1',
    replica: 'r1',
  }
  const body = { deviceIds: ['openai-agent:test:tool-server:01', DEVICE], nonce: NONCE, context }
  const answer = await authority.post(PATHS.validateBatch, body, authority.keys.runtime)
  const [, , keyId] = authority.keys.runtime.split('_')
  const denial = {
    requestId: answer.body.request_id,
    orgId: authority.orgId,
    keyId,
    asked: 'validate',
    ...context,
    atMs: expect.any(Number),
  }
  expect(await kept(authority, answer.body.request_id)).toEqual([
    { ...denial, ordinal: 0, deviceId: 'openai-agent:test:tool-server:01', code: 'DEVICE_NOT_REGISTERED' },
    { ...denial, ordinal: 1, deviceId: DEVICE, code: 'DEVICE_REVOKED' },
  ])
})

test('G8: a refused register is stored too, an allow and a refused key are not', async () => {
  await using authority = await startTestControlPlane()
  await authority.register(DEVICE)
  const allowed = await authority.post(PATHS.validate, { deviceId: DEVICE }, authority.keys.runtime)
  const scope = await authority.post(PATHS.validate, { deviceId: DEVICE }, authority.keys.viewer)
  await authority.revoke(DEVICE)
  const context = { boundary: 'startup' }
  const refused = await authority.post(PATHS.register, { deviceId: DEVICE, context }, authority.keys.runtime)
  expect(refused.body.error).toBe('device_revoked')
  expect(await kept(authority, refused.body.request_id)).toMatchObject([
    { code: 'DEVICE_REVOKED', asked: 'register', boundary: 'startup', tool: null },
  ])
  expect(await kept(authority, allowed.body.request_id)).toEqual([])
  expect(await kept(authority, scope.body.request_id)).toEqual([])
})

test('G8: denials are on disk within 250 ms, without a close', async () => {
  await using authority = await startTestControlPlane()
  const { body } = await authority.post(PATHS.validate, { deviceId: DEVICE }, authority.keys.runtime)
  await delay(250)
  const { DatabaseSync } = await import('node:sqlite')
  const db = new DatabaseSync(authority.file, { readOnly: true })
  const rows = db.prepare('SELECT code FROM decisions WHERE request_id = ?').all(body.request_id)
  db.close()
  expect(rows).toEqual([{ code: 'DEVICE_NOT_REGISTERED' }])
})

test('ids of stored denials grow with time, so that their rows are written one after the other', async () => {
  await using authority = await startTestControlPlane()
  const ids: string[] = []
  for (let times = 0; times < 10; times++) {
    const { body } = await authority.post(PATHS.validate, { deviceId: DEVICE }, authority.keys.runtime)
    ids.push(body.request_id)
    await delay(2)
  }
  expect(ids).toEqual(ids.toSorted())
})

const denial = (requestId: string): Denial => ({
  requestId,
  ordinal: 0,
  orgId: 'o',
  keyId: 'k',
  deviceId: 'd',
  code: 'DEVICE_REVOKED',
  asked: 'validate',
  boundary: null,
  tool: null,
  callId: null,
  runId: null,
  replica: null,
})

test('a denial log writes in batches, in order, each once', async () => {
  const batches: string[][] = []
  const write = async (rows: readonly Denial[]) => void batches.push(rows.map(({ requestId }) => requestId))
  const log = createDenialLog({ write, nowMs: () => 1, onLost: () => expect.unreachable() })
  const ids = Array.from({ length: 1200 }, (_, index) => `r${index}`)
  for (const id of ids) log.record(denial(id))
  await log.flush()
  await log.flush()
  expect(batches.flat()).toEqual(ids)
  expect(batches.length).toBeLessThan(5)
})

test('denials that cannot be written are reported, and do not reject', async () => {
  const lost: unknown[] = []
  const log = createDenialLog({
    write: () => Promise.reject(new Error('disk')),
    nowMs: () => 1,
    onLost: (error, denials) => lost.push(String(error), denials),
  })
  log.record(denial('r'))
  await log.flush()
  expect(lost).toEqual(['Error: disk', 1])
})
