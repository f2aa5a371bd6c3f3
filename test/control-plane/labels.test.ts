import { expect, test } from 'vitest'

import { PATHS } from '../../src/machineid/paths.ts'
import { startTestControlPlane } from '../fixtures/control-plane.ts'

const DEVICE = 'openai-agent:test:payments:01'

test('an agent cannot slip out of a stop by label: a runtime key labels a device once (G1)', async () => {
  await using authority = await startTestControlPlane()
  const { runtime, stop, operator, viewer } = authority.keys
  const register = (labels: object, key: string) =>
    authority.post(PATHS.register, { deviceId: DEVICE, labels }, key)
  const labels = async () =>
    (await authority.get(PATHS.list, viewer)).body.devices.map((device: { labels: object }) => device.labels)

  await register({ team: 'billing' }, runtime)
  expect((await register({}, runtime)).body.status).toBe('exists')
  expect((await register({ team: 'other' }, runtime)).body.status).toBe('exists')
  expect(await labels()).toEqual([{ team: 'billing' }])

  const stopped = await authority.post(
    PATHS.revokeBatch,
    { label: { name: 'team', value: 'billing' }, reason: 'leak' },
    stop,
  )
  expect(stopped.body).toMatchObject({ changed: 1 })
  const asked = await authority.post(PATHS.validate, { deviceId: DEVICE }, runtime)
  expect(asked.body).toMatchObject({ allowed: false, code: 'DEVICE_REVOKED' })
  await authority.restore(DEVICE)
  await register({ team: 'other' }, operator)
  expect(await labels()).toEqual([{ team: 'other' }])
})

test('a key that slipped into a label is not kept', async () => {
  await using authority = await startTestControlPlane()
  const { runtime, viewer } = authority.keys
  await authority.post(PATHS.register, { deviceId: DEVICE, labels: { note: `use ${runtime}` } }, runtime)
  const { body } = await authority.get(PATHS.list, viewer)
  expect(JSON.stringify(body)).not.toContain(runtime)
  expect(body.devices[0].labels.note).toContain('redacted')
})
