import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'

import { PATHS } from '../../src/machineid/wire.ts'
import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'

const DEVICE = 'openai-agent:test:payments:01'

function rowsOf({ file, orgId }: TestControlPlane) {
  const db = new DatabaseSync(file, { readOnly: true })
  const rows = db.prepare('SELECT * FROM audit WHERE org_id = ? ORDER BY id').all(orgId)
  db.close()
  return rows.map((row) => ({ ...row, before: parsed(row['before']), after: parsed(row['after']) }))
}
const parsed = (text: unknown) => (typeof text === 'string' ? (JSON.parse(text) as object) : null)
const keyIdOf = (key: string) => key.split('_')[2]

test('each change of state is kept with who, what, why, before and after', async () => {
  await using authority = await startTestControlPlane()
  const { keys } = authority
  await authority.register(DEVICE)
  await authority.post(PATHS.revoke, { deviceId: DEVICE, reason: 'leaked key' }, keys.stop)
  await authority.post(PATHS.unrevoke, { deviceId: DEVICE, ifEpoch: 1, reason: 'rotated' }, keys.operator)
  await authority.post(PATHS.orgDisable, { reason: 'drill' }, keys.admin)
  const rows = rowsOf(authority)
  expect(rows).toMatchObject([
    { action: 'org.create', actor: 'local' },
    { action: 'org.plan', before: { limit: 3 }, after: { limit: 25, planTier: 'pro' } },
    {
      action: 'device.register',
      actor: keyIdOf(keys.full),
      device_id: DEVICE,
      before: null,
      after: { slot: 1 },
    },
    {
      action: 'device.revoke',
      actor: keyIdOf(keys.stop),
      device_id: DEVICE,
      reason: 'leaked key',
      before: { revoked: false, epoch: 0 },
      after: { revoked: true, epoch: 1 },
    },
    {
      action: 'device.unrevoke',
      actor: keyIdOf(keys.operator),
      reason: 'rotated',
      after: { revoked: false, epoch: 2 },
    },
    { action: 'org.disable', actor: keyIdOf(keys.admin), reason: 'drill', before: { disabled: false } },
  ])
  for (const row of rows) expect(JSON.stringify(row)).not.toMatch(/org_[a-z]+_/)
})

test('what was refused, and what changed nothing, leaves no row', async () => {
  await using authority = await startTestControlPlane()
  await authority.register(DEVICE)
  await authority.revoke(DEVICE)
  const before = rowsOf(authority).length
  await authority.post(PATHS.unrevoke, { deviceId: DEVICE, ifEpoch: 7 }, authority.keys.operator)
  await authority.post(PATHS.register, { deviceId: DEVICE }, authority.keys.runtime)
  await authority.post(PATHS.revoke, { deviceId: 'a:b:unknown' }, authority.keys.operator)
  await authority.post(PATHS.revoke, { deviceId: DEVICE }, authority.keys.viewer)
  await authority.post(PATHS.validate, { deviceId: DEVICE }, authority.keys.runtime)
  expect(rowsOf(authority)).toHaveLength(before)
})
