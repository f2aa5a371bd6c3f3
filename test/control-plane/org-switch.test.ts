import { describe, expect, test } from 'vitest'

import { PATHS } from '../../src/machineid/paths.ts'
import { ListResponse } from '../../src/machineid/wire-devices.ts'
import { UsageResponse } from '../../src/machineid/wire-orgs.ts'
import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'

const DEVICES = ['a:test:x:1', 'a:test:x:2', 'a:test:x:3'] as const

const codes = async (authority: TestControlPlane) => {
  const body = { deviceIds: DEVICES, nonce: 'n'.repeat(22) }
  const answer = await authority.post(PATHS.validateBatch, body, authority.keys.runtime)
  return (answer.body.decisions as { code: string }[]).map(({ code }) => code)
}

describe('disabling an org', () => {
  test('denies every device, registered or not, and leaves the states of all as they were', async () => {
    await using authority = await startTestControlPlane()
    const { keys, get, post } = authority
    for (const deviceId of DEVICES) await authority.register(deviceId)
    await authority.revoke(DEVICES[1])
    const list = async () => ListResponse.parse((await get(PATHS.list, keys.viewer)).body).devices
    const before = await list()

    const disabled = await post(PATHS.orgDisable, { reason: 'incident 7' }, keys.stop)
    expect(await codes(authority)).toEqual(['ORG_DISABLED', 'ORG_DISABLED', 'ORG_DISABLED'])
    const unknown = await post(PATHS.validate, { deviceId: 'a:test:x:9' }, keys.runtime)
    expect(unknown.body).toMatchObject({ allowed: false, code: 'ORG_DISABLED' })
    expect(await list()).toEqual(before)
    const { org } = UsageResponse.parse((await get(PATHS.usage, keys.viewer)).body)
    expect(org).toMatchObject({ disabled: true, epoch: disabled.body.epoch, reason: 'incident 7' })
    expect(keys.stop).toContain(`_${org.by}_`)
    expect(Date.parse(org.since ?? '')).toBeGreaterThan(Date.now() - 60_000)

    const enabled = await post(PATHS.orgEnable, { ifEpoch: disabled.body.epoch }, keys.admin)
    expect(enabled.status).toBe(200)
    expect(await codes(authority)).toEqual(['ALLOW', 'DEVICE_REVOKED', 'ALLOW'])
    expect(await list()).toEqual(before)
  })

  test('G1: takes hold of the next question, over connections that were open before', async () => {
    await using authority = await startTestControlPlane()
    await authority.register(DEVICES[0])
    for (let round = 0; round < 20; round++) {
      const epoch = await authority.revoke(DEVICES[0])
      expect((await codes(authority))[0]).toBe('DEVICE_REVOKED')
      await authority.post(PATHS.unrevoke, { deviceId: DEVICES[0], ifEpoch: epoch }, authority.keys.operator)
      expect((await codes(authority))[0]).toBe('ALLOW')
    }
  })
})
