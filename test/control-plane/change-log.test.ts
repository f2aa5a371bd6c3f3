import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, onTestFinished, test } from 'vitest'

import { createControlPlane } from '../../src/control-plane/control-plane.ts'
import { listen } from '../../src/http.ts'
import { createLogger } from '../../src/log.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { KEY_KINDS, type KeyKind } from '../../src/machineid/wire.ts'
import { openControlPlaneStore } from '../../src/store/sqlite/control-plane.ts'

const DEVICE = 'openai-agent:test:payments:01'
const PLATFORM = { authorization: 'Bearer platform' }

interface Answer {
  readonly status: string
  readonly request_id: string
  readonly orgId?: string
  readonly lockId?: string
  readonly keyId?: string
}

/** A control plane whose log is kept, with an org that has a key of each kind. */
async function loggedControlPlane() {
  const dir = await mkdtemp(join(tmpdir(), 'holdpoint-change-log-'))
  const file = join(dir, 'control-plane.db')
  const lines: Record<string, unknown>[] = []
  let stored: () => unknown = () => undefined
  const controlPlane = createControlPlane({
    store: openControlPlaneStore({ file }),
    log: createLogger({
      destination: {
        write: (line) => {
          const { time: _t, pid: _p, hostname: _h, ...entry } = JSON.parse(line) as Record<string, unknown>
          lines.push(entry)
          durable.push(stored())
        },
      },
    }),
    loopback: true,
    platformToken: 'platform',
    // What becomes of mails has lines of its own.
    mailer: { send: async () => {}, close: () => {} },
  })
  const durable: unknown[] = []
  const { url } = await listen(controlPlane.operatorServer, { host: '127.0.0.1', port: 0 })
  const other = new DatabaseSync(file, { readOnly: true })
  // Another connection sees only what is committed.
  stored = () => other.prepare('SELECT count(*) AS rows FROM audit').get()?.['rows']
  onTestFinished(async () => {
    other.close()
    await controlPlane.close({ graceMs: 0 })
    await rm(dir, { recursive: true })
  })
  const { orgId, keys } = await controlPlane.service.createOrg({ kinds: KEY_KINDS })
  const post = async (path: string, body: unknown, kind: KeyKind, headers = {}) => {
    const response = await fetch(`${url}${path}`, {
      method: 'POST',
      headers: { 'x-org-key': keys[kind] ?? '', 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    })
    return (await response.json()) as Answer
  }
  /** As a line names it. */
  const rowAt = (org: string, seq: number) => {
    const row = other.prepare('SELECT hash FROM audit WHERE org_id = ? AND seq = ?').get(org, seq)
    return `${seq}:${String(row?.['hash']).slice(0, 16)}`
  }
  const actor = (kind: KeyKind) => `${kind}:${keys[kind]?.split('_')[2]}`
  return { orgId, lines, durable, rowAt, post, actor }
}

test('G5: each acknowledged change is one line, after it is durable: what, where, by whom, why', async () => {
  const { orgId, lines, durable, rowAt, post, actor } = await loggedControlPlane()
  expect(lines).toEqual([
    { level: 'info', org_id: orgId, actor: 'local', audit: rowAt(orgId, 1), msg: 'org created' },
  ])
  const PATTERN = 'openai-agent:test:*'
  const keyId = expect.stringMatching(/^[a-z2-7]{16}$/) as string
  let lock = ''
  let key = ''
  type Step = readonly [path: string, body: object, kind: KeyKind, msg: string, line: object]
  const steps: (() => Step)[] = [
    () => [PATHS.revoke, { deviceId: DEVICE, reason: 'leaked key' }, 'stop', 'device revoked', { epoch: 1 }],
    () => [PATHS.unrevoke, { deviceId: DEVICE, ifEpoch: 1 }, 'operator', 'device restored', { epoch: 2 }],
    () => [PATHS.remove, { deviceId: DEVICE }, 'admin', 'device removed', { epoch: 3 }],
    () => [
      PATHS.register,
      { deviceId: DEVICE, restoreRemoved: true, ifEpoch: 3 },
      'operator',
      'device restored',
      { epoch: 4 },
    ],
    () => [PATHS.orgDisable, { reason: 'drill' }, 'stop', 'org disabled', { epoch: 5 }],
    () => [PATHS.orgEnable, { ifEpoch: 5 }, 'full', 'org enabled', { epoch: 6 }],
    () => [
      PATHS.locks,
      { pattern: PATTERN, reason: 'drill' },
      'stop',
      'lock added',
      { pattern: PATTERN, epoch: 7 },
    ],
    () => [
      PATHS.lockRelease.replace(':id', lock),
      { ifEpoch: 7 },
      'operator',
      'lock released',
      { pattern: PATTERN, epoch: 8 },
    ],
    () => [PATHS.keys, { kind: 'runtime', bindings: ['*'] }, 'admin', 'key issued', { key_id: keyId }],
    () => [PATHS.keyRotate.replace(':id', key), {}, 'admin', 'key rotated', { key_id: key }],
    () => [PATHS.keyBurn.replace(':id', key), {}, 'full', 'key burned', { key_id: key, epoch: 9 }],
    () => [PATHS.orgOwners, { add: ['ops@example.org'] }, 'admin', 'owners changed', {}],
  ]
  await post(PATHS.register, { deviceId: DEVICE }, 'runtime')
  for (const [index, step] of steps.entries()) {
    const [path, body, kind, msg, line] = step()
    const answer = await post(path, body, kind)
    expect(answer).toMatchObject({ status: 'ok' })
    lock = answer.lockId ?? lock
    key = key === '' ? (answer.keyId ?? '') : key
    const { deviceId, reason } = body as { deviceId?: string; reason?: string }
    expect(lines.at(-1)).toEqual({
      level: 'info',
      ...(deviceId !== undefined && { device_id: deviceId }),
      org_id: orgId,
      actor: actor(kind),
      origin: '127.0.0.1',
      ...(reason !== undefined && { reason }),
      request_id: answer.request_id,
      // The row that a copy of the chain must still have.
      audit: rowAt(orgId, 3 + index),
      msg,
      ...line,
    })
  }
  const plan = await post(PATHS.orgPlan, { orgId, tier: 'pro' }, 'full', PLATFORM)
  const created = await post(PATHS.orgCreate, {}, 'full', PLATFORM)
  const byPlatform = { level: 'info', actor: 'platform', origin: '127.0.0.1' }
  expect(lines.slice(-2)).toEqual([
    {
      ...byPlatform,
      org_id: orgId,
      request_id: plan.request_id,
      audit: rowAt(orgId, 3 + steps.length),
      msg: 'plan changed',
    },
    {
      ...byPlatform,
      org_id: created.orgId,
      request_id: created.request_id,
      audit: rowAt(created.orgId ?? '', 1),
      msg: 'org created',
    },
  ])
  expect(lines).toHaveLength(1 + steps.length + 2)
  // Its audit row was there before each line; the register in between has a row only.
  expect(durable).toEqual([1, ...Array.from({ length: steps.length + 2 }, (_, index) => 3 + index)])
  expect(JSON.stringify(lines)).not.toMatch(/org_[a-z]+_/)
})

test('many devices in one call: a line for each that was changed', async () => {
  const { lines, post } = await loggedControlPlane()
  const other = 'openai-agent:test:email:01'
  for (const deviceId of [DEVICE, other]) await post(PATHS.register, { deviceId }, 'runtime')
  await post(PATHS.revokeBatch, { deviceIds: [DEVICE, 'a:b:unknown', other], reason: 'drill' }, 'stop')
  expect(lines.slice(1)).toMatchObject(
    [DEVICE, other].map((device_id) => ({ device_id, epoch: 1, reason: 'drill', msg: 'device revoked' })),
  )
})

test('what was refused, or changed nothing that is allowed, is no line', async () => {
  const { lines, post } = await loggedControlPlane()
  await post(PATHS.register, { deviceId: DEVICE }, 'runtime')
  await post(PATHS.register, { deviceId: DEVICE, labels: { version: '2' } }, 'runtime')
  await post(PATHS.revoke, { deviceId: DEVICE }, 'viewer')
  await post(PATHS.revoke, { deviceId: 'a:b:unknown' }, 'stop')
  await post(PATHS.unrevoke, { deviceId: DEVICE, ifEpoch: 7 }, 'operator')
  await post(PATHS.orgEnable, { ifEpoch: 7 }, 'admin')
  await post(`${PATHS.revoke}?preview=true`, { deviceId: DEVICE }, 'stop')
  await post(PATHS.revokeBatch, { deviceIds: ['a:b:unknown'] }, 'stop')
  expect(lines.map(({ msg }) => msg)).toEqual(['org created'])
})
