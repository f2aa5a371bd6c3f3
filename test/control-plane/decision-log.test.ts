import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'

import type { Decision, LaneBatch } from '../../src/control-plane/decision-batch.ts'
import { createDecisionLog } from '../../src/control-plane/decision-log.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { openControlPlaneStore } from '../../src/store/sqlite/control-plane.ts'
import { startTestControlPlane, startTestLanes, type TestControlPlane } from '../fixtures/control-plane.ts'

const DEVICE = 'openai-agent:test:payments:01'
const NONCE = 'n'.repeat(22)

/** What a control plane that was closed has kept. */
async function kept(authority: TestControlPlane, requestId: string) {
  await authority.kill()
  const store = openControlPlaneStore({ file: authority.file })
  const decisions = await store.listDecisions(authority.orgId, { requestId }, { limit: 100 })
  await store.close()
  return decisions
}

describe.each([
  ['in this thread', startTestControlPlane],
  ['in a worker', startTestLanes],
])('the decisions of a lane %s', (_, start) => {
  test('G8: a denied question is stored with its device, code and context, under the request_id that was told', async () => {
    await using authority = await start()
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
    const decisions = await kept(authority, answer.body.request_id)
    expect(decisions.toSorted((a, b) => a.ordinal - b.ordinal)).toEqual([
      { ...denial, ordinal: 0, deviceId: 'openai-agent:test:tool-server:01', code: 'DEVICE_NOT_REGISTERED' },
      { ...denial, ordinal: 1, deviceId: DEVICE, code: 'DEVICE_REVOKED' },
    ])
  })

  test('G8: an allow is stored with DECISION_LOG=all, and only then', async () => {
    for (const recordAllows of [false, true]) {
      await using authority = await start({ recordAllows })
      await authority.register(DEVICE)
      const { body } = await authority.post(PATHS.validate, { deviceId: DEVICE }, authority.keys.runtime)
      expect(body.allowed).toBe(true)
      const decisions = await kept(authority, body.request_id)
      expect(decisions.map(({ code }) => code)).toEqual(recordAllows ? ['ALLOW'] : [])
    }
  })

  test('G8: denials are on disk within 250 ms, without a close', async () => {
    await using authority = await start()
    const { body } = await authority.post(PATHS.validate, { deviceId: DEVICE }, authority.keys.runtime)
    await delay(250)
    const { DatabaseSync } = await import('node:sqlite')
    const db = new DatabaseSync(authority.file, { readOnly: true })
    const rows = db.prepare('SELECT code FROM decisions WHERE request_id = ?').all(body.request_id)
    db.close()
    expect(rows).toEqual([{ code: 'DEVICE_NOT_REGISTERED' }])
  })

  test('when a key was last used and what a device was last told are noted, for operators', async () => {
    await using authority = await start()
    await authority.register(DEVICE)
    const { body } = await authority.post(PATHS.validate, { deviceId: DEVICE }, authority.keys.runtime)
    expect(body.allowed).toBe(true)
    await authority.kill(1000)
    await authority.restart()
    const [, , keyId] = authority.keys.runtime.split('_')
    const list = await authority.get(PATHS.list, authority.keys.viewer)
    expect(list.body.devices).toMatchObject([{ lastSeen: { code: 'ALLOW', keyId, at: expect.any(String) } }])
    const keys = await authority.get(PATHS.keys, authority.keys.admin)
    expect(keys.body.keys.find((key: { keyId: string }) => key.keyId === keyId).lastUsedAt).toEqual(
      list.body.devices[0].lastSeen.at,
    )
  })
})

test('G8: a refused register is stored too, a refused key is not', async () => {
  await using authority = await startTestControlPlane()
  await authority.register(DEVICE)
  const scope = await authority.post(PATHS.validate, { deviceId: DEVICE }, authority.keys.viewer)
  await authority.revoke(DEVICE)
  const context = { boundary: 'startup' }
  const refused = await authority.post(PATHS.register, { deviceId: DEVICE, context }, authority.keys.runtime)
  expect(refused.body.error).toBe('device_revoked')
  expect(await kept(authority, refused.body.request_id)).toMatchObject([
    { code: 'DEVICE_REVOKED', asked: 'register', boundary: 'startup', tool: null },
  ])
  expect(await kept(authority, scope.body.request_id)).toEqual([])
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

const decision = (requestId: string, fields: Partial<Decision> = {}): Decision => ({
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
  ...fields,
})

/** A log whose disk does what the test says. */
function loggingTo(
  write: (batch: LaneBatch) => Promise<void>,
  options: Partial<Parameters<typeof createDecisionLog>[0]> = {},
) {
  const lost: unknown[] = []
  const onLost = (error: unknown, decisions: number) => void lost.push(String(error), decisions)
  return { lost, log: createDecisionLog({ write, nowMs: () => 1, onLost, ...options }) }
}

describe('a decision log', () => {
  test('writes in batches, in order, each once', async () => {
    const batches: string[][] = []
    const { log, lost } = loggingTo(
      async ({ decisions }) => void batches.push(decisions.map(({ requestId }) => requestId)),
    )
    const ids = Array.from({ length: 1200 }, (_, index) => `r${index}`)
    for (const id of ids) log.record(decision(id))
    await log.flush()
    await log.flush()
    expect(batches.flat()).toEqual(ids)
    expect(batches.length).toBeLessThan(6)
    expect(lost).toEqual([])
  })

  test('notes each key and device once in a batch, with the last that happened, and never one that is not registered', async () => {
    let nowMs = 0
    const batches: LaneBatch[] = []
    const { log } = loggingTo(async (batch) => void batches.push(batch), { nowMs: () => ++nowMs })
    log.record(decision('1', { code: 'ALLOW' }), true)
    log.record(decision('2', { code: 'ORG_DISABLED', deviceId: 'unknown' }), false)
    log.record(decision('2', { code: 'DEVICE_LIMIT_REACHED', deviceId: 'new', asked: 'register' }))
    log.keyUsed('other')
    log.record(decision('3', { keyId: 'k2' }), true)
    await log.flush()
    const seen = batches.filter(({ keysUsed }) => keysUsed.size > 0)
    expect(seen).toMatchObject([
      {
        keysUsed: new Map([
          ['k', 3],
          ['other', 4],
          ['k2', 5],
        ]),
        devicesSeen: new Map([['o', new Map([['d', { atMs: 5, code: 'DEVICE_REVOKED', keyId: 'k2' }]])]]),
        counts: new Map([
          ['ALLOW', 1],
          ['ORG_DISABLED', 1],
          ['DEVICE_LIMIT_REACHED', 1],
          ['DEVICE_REVOKED', 1],
        ]),
      },
    ])
  })

  test('writes no more than 500 rows at once, of whatever kind and of however many orgs, so that no stop waits for long', async () => {
    const batches: LaneBatch[] = []
    const { log } = loggingTo(async (batch) => void batches.push(batch))
    for (let org = 0; org < 40; org++) {
      for (let device = 0; device < 30; device++) {
        log.record(
          decision('r', { code: 'ALLOW', orgId: `o${org}`, deviceId: `d${device}`, keyId: `k${org}` }),
          true,
        )
      }
    }
    await log.flush()
    const rows = batches.map(
      ({ decisions, keysUsed, devicesSeen }) =>
        decisions.length + keysUsed.size + [...devicesSeen.values()].reduce((sum, { size }) => sum + size, 0),
    )
    expect(rows).toEqual([500, 500, 240])
  })

  test('lets whatever came in meanwhile go first between two writes', async () => {
    const happened: string[] = []
    const { log } = loggingTo(async () => void happened.push('write'))
    const turn = () => {
      happened.push('turn')
      if (happened.length < 40) setImmediate(turn)
    }
    for (let times = 0; times < 2000; times++) log.record(decision('r'))
    setImmediate(turn)
    await log.flush()
    expect(happened.filter((what) => what === 'write').length).toBeGreaterThan(3)
    expect(happened.join(' ')).not.toContain('write write')
  })

  test('reports what cannot be written, and does not reject', async () => {
    const { log, lost } = loggingTo(() => Promise.reject(new Error('disk')))
    log.record(decision('r'))
    await log.flush()
    expect(lost.slice(0, 2)).toEqual(['Error: disk', 1])
  })

  test('with a disk that does not keep up drops allows first, then denials, and counts both', async () => {
    const disk = Promise.withResolvers<void>()
    const written: string[] = []
    const counts: number[] = []
    const { log, lost } = loggingTo(
      async (batch) => {
        await disk.promise
        written.push(...batch.decisions.map(({ code }) => code))
        counts.push(batch.lost)
      },
      { recordAllows: true, maxWaiting: { allows: 10, denials: 14 } },
    )
    for (let turn = 0; turn < 20; turn++) log.record(decision('r', { code: 'ALLOW' }))
    for (let turn = 0; turn < 20; turn++) log.record(decision('r'))
    const flushed = log.flush()
    disk.resolve()
    await flushed
    expect(written.filter((code) => code === 'ALLOW')).toHaveLength(10)
    expect(written.filter((code) => code === 'DEVICE_REVOKED')).toHaveLength(4)
    expect(counts.reduce((sum, count) => sum + count)).toBe(26)
    expect(lost).toEqual([expect.stringContaining('More decisions were made than the disk could store'), 26])
    // What was dropped is dropped: there is room again.
    log.record(decision('later'))
    await log.flush()
    expect(written).toHaveLength(15)
  })

  test('in a thread that never gets to its timers hands over all the same, 100 ms after the first', () => {
    let nowMs = 0
    const batches: LaneBatch[] = []
    const hand = async (batch: LaneBatch) => void batches.push(batch)
    const { log } = loggingTo(hand, { handsOver: true, nowMs: () => nowMs })
    log.record(decision('denied'))
    for (nowMs = 0; nowMs < 100; nowMs += 10) log.record(decision('allowed', { code: 'ALLOW' }))
    expect(batches).toEqual([])
    log.record(decision('allowed', { code: 'ALLOW' }))
    expect(batches).toMatchObject([{ decisions: [{ requestId: 'denied' }] }])
    nowMs = 1000
    log.record(decision('allowed', { code: 'ALLOW' }))
    expect(batches[1]).toMatchObject({
      decisions: [],
      counts: new Map([
        ['DEVICE_REVOKED', 1],
        ['ALLOW', 12],
      ]),
    })
  })

  test('hands over what another thread has noted, and resolves when that is written', async () => {
    const disk = Promise.withResolvers<void>()
    const batches: LaneBatch[] = []
    const { log, lost } = loggingTo(async (batch) => {
      await disk.promise
      batches.push(batch)
    })
    const decisions = [{ ...decision('r'), atMs: 7 }]
    const batch = {
      decisions,
      keysUsed: new Map(),
      devicesSeen: new Map(),
      counts: new Map(),
      lost: 3,
      rates: new Map(),
    }
    let accepted = false
    const done = log.accept(batch).then(() => (accepted = true))
    await delay(10)
    expect(accepted).toBe(false)
    disk.resolve()
    await done
    expect(batches).toMatchObject([{ decisions }])
    expect(lost).toEqual([expect.any(String), 3])
  })
})

test('a device that nobody registered leaves no trace but its denial, whatever it was denied for', async () => {
  await using authority = await startTestControlPlane()
  await authority.register(DEVICE)
  await authority.post(PATHS.orgDisable, {}, authority.keys.stop)
  for (const deviceId of [DEVICE, 'nobody:knows:this:one']) {
    const { body } = await authority.post(PATHS.validate, { deviceId }, authority.keys.runtime)
    expect(body.code).toBe('ORG_DISABLED')
  }
  await authority.kill(1000)
  const { DatabaseSync } = await import('node:sqlite')
  const db = new DatabaseSync(authority.file, { readOnly: true })
  const seen = db.prepare('SELECT device_id FROM devices_seen').all()
  db.close()
  expect(seen).toEqual([{ device_id: DEVICE }])
})
