import { expect, onTestFinished, test } from 'vitest'

import { MachineID } from '../../src/machineid/client.ts'
import type { Profile } from '../../src/machineid/options.ts'
import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'
import { ask, codeOf } from './harness.ts'

const SERVER_DEVICE = 'openai-agent:test:tool-server:01'
const PAYMENTS = 'openai-agent:test:payments:01'

async function controlPlane(options = {}): Promise<TestControlPlane> {
  const authority = await startTestControlPlane(options)
  onTestFinished(() => authority.close())
  return authority
}

function clientOf(authority: TestControlPlane, orgKey: string, profile: Profile = 'holdpoint'): MachineID {
  const client = new MachineID({ orgKey, baseUrl: authority.url, profile })
  onTestFinished(() => client.close())
  return client
}

test.each(['holdpoint', 'machineid'] as const)(
  'G1: against our control plane: register, validate, stop, restore (%s)',
  async (profile) => {
    const authority = await controlPlane()
    const agent = clientOf(authority, authority.keys.runtime, profile)
    const operator = clientOf(authority, authority.keys.operator, profile)
    const question = { deviceIds: [SERVER_DEVICE, PAYMENTS], timeoutMs: 2000 }

    expect(codeOf(await ask(agent, question))).toBe('DEVICE_NOT_REGISTERED')
    expect(await agent.register(SERVER_DEVICE)).toMatchObject({ ok: true, value: { status: 'ok' } })
    expect(await agent.register(PAYMENTS)).toMatchObject({ ok: true, value: { status: 'ok' } })
    expect(await agent.register(PAYMENTS)).toMatchObject({ ok: true, value: { status: 'exists' } })
    expect(codeOf(await ask(agent, question))).toBe('ALLOW')

    const stop = await operator.revoke(PAYMENTS, { reason: 'test' })
    if (!stop.ok) throw new Error(stop.code)
    expect(codeOf(await ask(agent, question))).toBe('DEVICE_REVOKED')
    expect(codeOf(await ask(agent, { ...question, deviceIds: [SERVER_DEVICE] }))).toBe('ALLOW')
    expect(await agent.registerDevice(PAYMENTS, { timeoutMs: 2000 })).toMatchObject({
      answered: true,
      registered: false,
      code: 'DEVICE_REVOKED',
    })

    // G6: a stopped agent cannot release itself, and an older form cannot undo a newer stop.
    expect(await agent.unrevoke(PAYMENTS, { ifEpoch: stop.value.epoch })).toMatchObject({
      ok: false,
      code: 'AUTHORITY_UNAUTHORIZED',
    })
    const again = await operator.revoke(PAYMENTS)
    if (!again.ok) throw new Error(again.code)
    expect(await operator.unrevoke(PAYMENTS, { ifEpoch: stop.value.epoch })).toMatchObject({
      ok: false,
      answered: true,
      epoch: again.value.epoch,
    })
    expect(await operator.unrevoke(PAYMENTS)).toMatchObject({
      ok: false,
      answered: true,
      epoch: again.value.epoch,
    })
    expect(await operator.restore(PAYMENTS, { ifEpoch: again.value.epoch })).toMatchObject({ ok: true })
    expect(codeOf(await ask(agent, question))).toBe('ALLOW')
  },
)

test('the org switch, list, usage and remove', async () => {
  const authority = await controlPlane()
  const admin = clientOf(authority, authority.keys.full)
  await admin.register(PAYMENTS)
  const off = await admin.disableOrg({ reason: 'test' })
  if (!off.ok) throw new Error(off.code)
  expect(await admin.validate(PAYMENTS)).toMatchObject({ allowed: false, code: 'ORG_DISABLED' })
  expect(await admin.usage()).toMatchObject({
    ok: true,
    value: { org: { disabled: true, epoch: off.value.epoch } },
  })
  expect(await admin.enableOrg({ ifEpoch: off.value.epoch })).toMatchObject({ ok: true })
  expect(await admin.validate(PAYMENTS)).toMatchObject({
    allowed: true,
    code: 'ALLOW',
    deviceId: PAYMENTS,
    orgId: authority.orgId,
    orgEpoch: expect.any(Number),
  })
  const list = await admin.listDevices()
  expect(list.ok && list.value.devices.map(({ deviceId }) => deviceId)).toEqual([PAYMENTS])
  expect(await admin.remove(PAYMENTS)).toMatchObject({ ok: true })
  expect(await admin.validate(PAYMENTS)).toMatchObject({ allowed: false, code: 'DEVICE_REMOVED' })
})

test('G7: over the cap the refusal is DEVICE_LIMIT_REACHED', async () => {
  const authority = await controlPlane({ plan: { limit: 1 } })
  const agent = clientOf(authority, authority.keys.runtime)
  expect(await agent.registerDevice(SERVER_DEVICE, { timeoutMs: 2000 })).toMatchObject({ registered: true })
  expect(await agent.registerDevice(PAYMENTS, { timeoutMs: 2000 })).toMatchObject({
    answered: true,
    registered: false,
    code: 'DEVICE_LIMIT_REACHED',
  })
})

test('G4: an authority that is down is a denial, and one that is back is asked again', async () => {
  const authority = await controlPlane()
  const agent = clientOf(authority, authority.keys.runtime)
  await agent.register(PAYMENTS)
  expect(await agent.validate(PAYMENTS)).toMatchObject({ allowed: true })
  await authority.kill()
  expect(await agent.validate(PAYMENTS)).toMatchObject({ allowed: false, code: 'AUTHORITY_UNREACHABLE' })
  await authority.restart()
  expect(await agent.validate(PAYMENTS)).toMatchObject({ allowed: true })
})

test('an unknown key is AUTHORITY_UNAUTHORIZED', async () => {
  const authority = await controlPlane()
  const stranger = clientOf(authority, `${authority.keys.runtime.slice(0, -1)}x`)
  expect(codeOf(await ask(stranger, { timeoutMs: 2000 }))).toBe('AUTHORITY_UNAUTHORIZED')
  expect(await stranger.revoke(PAYMENTS)).toMatchObject({ ok: false, code: 'AUTHORITY_UNAUTHORIZED' })
})
