import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, onTestFinished, test } from 'vitest'

import { createControlPlane } from '../../src/control-plane/control-plane.ts'
import { listen } from '../../src/http.ts'
import { createLogger } from '../../src/log.ts'
import { KEY_KINDS, PATHS, type KeyKind } from '../../src/machineid/wire.ts'
import { openControlPlaneStore } from '../../src/store/sqlite/control-plane.ts'

const DEVICE = 'openai-agent:test:payments:01'
const PLATFORM = { authorization: 'Bearer platform' }

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
    return (await response.json()) as { status: string; request_id: string; orgId?: string }
  }
  const actor = (kind: KeyKind) => `${kind}:${keys[kind]?.split('_')[2]}`
  return { orgId, lines, durable, post, actor }
}

test('G5: each acknowledged change is one line, after it is durable: what, where, by whom, why', async () => {
  const { orgId, lines, durable, post, actor } = await loggedControlPlane()
  expect(lines).toEqual([{ level: 'info', org_id: orgId, epoch: 0, actor: 'local', msg: 'org created' }])

  const steps: [string, object, KeyKind, string, number][] = [
    [PATHS.revoke, { deviceId: DEVICE, reason: 'leaked key' }, 'stop', 'device revoked', 1],
    [PATHS.unrevoke, { deviceId: DEVICE, ifEpoch: 1, reason: 'rotated' }, 'operator', 'device restored', 2],
    [PATHS.remove, { deviceId: DEVICE }, 'admin', 'device removed', 3],
    [
      PATHS.register,
      { deviceId: DEVICE, restoreRemoved: true, ifEpoch: 3 },
      'operator',
      'device restored',
      4,
    ],
    [PATHS.orgDisable, { reason: 'drill' }, 'stop', 'org disabled', 5],
    [PATHS.orgEnable, { ifEpoch: 5 }, 'full', 'org enabled', 6],
  ]
  await post(PATHS.register, { deviceId: DEVICE }, 'runtime')
  for (const [path, body, kind, msg, epoch] of steps) {
    const answer = await post(path, body, kind)
    expect(answer.status).toBe('ok')
    const { deviceId, reason } = body as { deviceId?: string; reason?: string }
    expect(lines.at(-1)).toEqual({
      level: 'info',
      ...(deviceId !== undefined && { device_id: deviceId }),
      org_id: orgId,
      epoch,
      actor: actor(kind),
      ...(reason !== undefined && { reason }),
      request_id: answer.request_id,
      msg,
    })
  }
  const plan = await post(PATHS.orgPlan, { orgId, tier: 'pro' }, 'full', PLATFORM)
  const created = await post(PATHS.orgCreate, {}, 'full', PLATFORM)
  expect(lines.slice(-2)).toEqual([
    {
      level: 'info',
      org_id: orgId,
      epoch: 6,
      actor: 'platform',
      request_id: plan.request_id,
      msg: 'plan changed',
    },
    {
      level: 'info',
      org_id: created.orgId,
      epoch: 0,
      actor: 'platform',
      request_id: created.request_id,
      msg: 'org created',
    },
  ])
  expect(lines).toHaveLength(1 + steps.length + 2)
  // Its audit row was there before each line; the register in between has a row only.
  expect(durable).toEqual([1, 3, 4, 5, 6, 7, 8, 9, 10])
  expect(JSON.stringify(lines)).not.toMatch(/org_[a-z]+_/)
})

test('what was refused, or changed nothing that is allowed, is no line', async () => {
  const { lines, post } = await loggedControlPlane()
  await post(PATHS.register, { deviceId: DEVICE }, 'runtime')
  await post(PATHS.register, { deviceId: DEVICE, labels: { version: '2' } }, 'runtime')
  await post(PATHS.revoke, { deviceId: DEVICE }, 'viewer')
  await post(PATHS.revoke, { deviceId: 'a:b:unknown' }, 'stop')
  await post(PATHS.unrevoke, { deviceId: DEVICE, ifEpoch: 7 }, 'operator')
  await post(PATHS.orgEnable, { ifEpoch: 7 }, 'admin')
  await post(PATHS.validate, { deviceId: DEVICE }, 'runtime')
  expect(lines.map(({ msg }) => msg)).toEqual(['org created'])
})
