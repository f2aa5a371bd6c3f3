import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { PATHS } from '../../src/machineid/paths.ts'
import { ChangeResponse, RegisterResponse } from '../../src/machineid/wire-devices.ts'
import { UsageResponse } from '../../src/machineid/wire-orgs.ts'
import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'

let authority: TestControlPlane
let count = 0
beforeAll(async () => {
  authority = await startTestControlPlane({ plan: 'scale' })
})
afterAll(() => authority.close())

const newDevice = async () => {
  const deviceId = `openai-agent:test:surface:${count++}`
  await authority.register(deviceId)
  return deviceId
}
const ask = (path: string, body: object, kind: keyof TestControlPlane['keys'] = 'operator') =>
  authority.post(path, body, authority.keys[kind])
const change = async (path: string, body: object) => {
  const { status, body: answer } = await ask(path, body, 'admin')
  expect(status).toBe(200)
  return ChangeResponse.parse(answer)
}
const orgEpoch = async () =>
  UsageResponse.parse((await authority.get(PATHS.usage, authority.keys.viewer)).body).orgEpoch
const decision = async (deviceId: string) =>
  (await ask(PATHS.validate, { deviceId }, 'runtime')).body as {
    allowed: boolean
    code: string
    epoch: number
  }

describe('the epoch of an org', () => {
  test('is raised by one by each stop and each restore, and answered by both', async () => {
    const deviceId = await newDevice()
    const pattern = `${deviceId}:*`
    let now = await orgEpoch()
    /** `epoch` is that of the change before the last, or so many before it. */
    const take = async (path: string, body: (epoch: number) => object, ago = 0) => {
      const { status, body: answer } = await ask(path, body(now - ago), 'admin')
      expect({ path, status, orgEpoch: answer.orgEpoch }).toEqual({ path, status: 200, orgEpoch: now + 1 })
      now++
      return answer
    }
    const lockId = async () => (await ask(PATHS.locks, { pattern, reason: 'again' }, 'admin')).body.lockId

    expect(await take(PATHS.revoke, () => ({ deviceId }))).toMatchObject({ epoch: now })
    expect(await take(PATHS.unrevoke, (ifEpoch) => ({ deviceId, ifEpoch }))).toMatchObject({ epoch: now })
    await take(PATHS.revokeBatch, () => ({ deviceIds: [deviceId] }))
    await take(PATHS.unrevokeBatch, (ifEpoch) => ({ items: [{ deviceId, ifEpoch }] }))
    expect(await take(PATHS.remove, () => ({ deviceId }))).toMatchObject({ epoch: now })
    const back = await take(PATHS.register, (ifEpoch) => ({ deviceId, restoreRemoved: true, ifEpoch }))
    expect(RegisterResponse.parse(back)).toMatchObject({ status: 'ok', epoch: now, orgEpoch: now })
    expect(await take(PATHS.locks, () => ({ pattern, reason: 'drill' }))).toMatchObject({ epoch: now })
    const id = await lockId()
    now++
    await take(PATHS.lockRelease.replace(':id', id), (ifEpoch) => ({ ifEpoch }))
    expect(await take(PATHS.orgDisable, () => ({}))).toMatchObject({ epoch: now })
    await take(PATHS.orgEnable, (ifEpoch) => ({ ifEpoch }))
    const { keyId } = await authority.service.issueKey({ orgId: authority.orgId, kind: 'viewer' })
    await take(PATHS.keyBurn.replace(':id', keyId), () => ({}))
    expect(await orgEpoch()).toBe(now)
  })

  test('is raised by nothing else', async () => {
    const deviceId = await newDevice()
    const before = await orgEpoch()
    await ask(PATHS.register, { deviceId, labels: { version: '2' } })
    await ask(PATHS.register, { deviceId: `${deviceId}-more` })
    await decision(deviceId)
    await ask(PATHS.unrevoke, { deviceId, ifEpoch: 999_999 })
    await ask(PATHS.unrevokeBatch, { items: [{ deviceId, ifEpoch: 999_999 }] })
    await ask(PATHS.revoke, { deviceId: 'a:b:unknown' })
    await ask(PATHS.revokeBatch, { pattern: 'nobody:*' })
    await ask(PATHS.orgEnable, { ifEpoch: 999_999 }, 'admin')
    const { keyId } = await authority.service.issueKey({ orgId: authority.orgId, kind: 'viewer' })
    await ask(PATHS.keyRotate.replace(':id', keyId), { overlapSeconds: 60 }, 'admin')
    const platform = { actor: 'platform', kind: 'platform', requestId: null, origin: null } as const
    for (const tier of ['free', 'scale'] as const) {
      await authority.service.setPlan(platform, authority.orgId, { tier })
    }
    expect(await orgEpoch()).toBe(before)
  })

  test('survives a restart', async () => {
    const deviceId = await newDevice()
    const { epoch } = await change(PATHS.revoke, { deviceId })
    await authority.restart()
    expect(await orgEpoch()).toBe(epoch)
    expect(await decision(deviceId)).toMatchObject({ allowed: false, code: 'DEVICE_REVOKED', epoch })
  })

  test('belongs to the org: another one keeps its own', async () => {
    const other = await authority.service.createOrg({ kinds: ['full'] })
    await change(PATHS.revoke, { deviceId: await newDevice() })
    expect((await authority.get(PATHS.usage, other.keys.full)).body.orgEpoch).toBe(0)
  })
})

describe('a restore', () => {
  test('of what has changed since is refused with 409 and the current epoch', async () => {
    const deviceId = await newDevice()
    const { epoch } = await change(PATHS.revoke, { deviceId })
    const { status, body } = await ask(PATHS.unrevoke, { deviceId, ifEpoch: epoch - 1 })
    expect({ status, code: body.code, epoch: body.epoch }).toEqual({
      status: 409,
      code: 'EPOCH_STALE',
      epoch,
    })
    expect(await decision(deviceId)).toMatchObject({ allowed: false })
  })

  test('with an epoch that nobody can have seen yet is stale as well', async () => {
    const deviceId = await newDevice()
    const lock = (await ask(PATHS.locks, { pattern: deviceId, reason: 'drill' }, 'admin')).body
    const removed = await newDevice()
    await change(PATHS.remove, { deviceId: removed })
    const { epoch } = await change(PATHS.revoke, { deviceId })
    for (const ifEpoch of [epoch + 1, epoch + 1000, Number.MAX_SAFE_INTEGER]) {
      const forms: [string, object][] = [
        [PATHS.unrevoke, { deviceId, ifEpoch }],
        [PATHS.register, { deviceId: removed, restoreRemoved: true, ifEpoch }],
        [PATHS.lockRelease.replace(':id', lock.lockId), { ifEpoch }],
        [PATHS.orgEnable, { ifEpoch }],
      ]
      for (const [path, body] of forms)
        expect((await ask(path, body, 'full')).body.code, path).toBe('EPOCH_STALE')
      const { results } = (await ask(PATHS.unrevokeBatch, { items: [{ deviceId, ifEpoch }] }, 'full')).body
      expect(results).toMatchObject([{ ok: false, code: 'EPOCH_STALE', epoch }])
    }
  })

  test('G6: without an epoch it is 428, whoever asks, but for MachineID’s own unrevoke by a full key', async () => {
    const deviceId = await newDevice()
    const { epoch } = await change(PATHS.revoke, { deviceId })
    for (const kind of ['operator', 'admin'] as const) {
      const { status, body } = await ask(PATHS.unrevoke, { deviceId }, kind)
      expect({ status, code: body.code, epoch: body.epoch }).toEqual({
        status: 428,
        code: 'EPOCH_REQUIRED',
        epoch,
      })
    }
    expect((await ask(PATHS.unrevoke, { deviceId, ifEpoch: epoch - 1 }, 'full')).status).toBe(409)
    expect((await ask(PATHS.unrevoke, { deviceId }, 'full')).status).toBe(200)
    expect(await decision(deviceId)).toMatchObject({ allowed: true })

    await change(PATHS.remove, { deviceId })
    expect((await ask(PATHS.register, { deviceId, restoreRemoved: true }, 'full')).status).toBe(428)
    await change(PATHS.orgDisable, {})
    const enable = await ask(PATHS.orgEnable, {}, 'full')
    expect(enable.status).toBe(428)
    expect((await ask(PATHS.orgEnable, { ifEpoch: enable.body.epoch }, 'full')).status).toBe(200)
  })

  test('G6: a form from before revoke, restore, revoke looks at the same state but is stale (ABA)', async () => {
    const deviceId = await newDevice()
    const seen = await change(PATHS.revoke, { deviceId })
    await change(PATHS.unrevoke, { deviceId, ifEpoch: seen.epoch })
    await change(PATHS.revoke, { deviceId })
    expect((await ask(PATHS.unrevoke, { deviceId, ifEpoch: seen.epoch })).status).toBe(409)
  })

  describe('G6: a stop of what is stopped is a new stop, which a form from between the two cannot undo:', () => {
    test.each([
      ['a revoked device', PATHS.revoke, (deviceId: string) => ({ deviceId }), PATHS.unrevoke],
      [
        'a revoked device in a batch',
        PATHS.revokeBatch,
        (deviceId: string) => ({ deviceIds: [deviceId] }),
        PATHS.unrevoke,
      ],
      ['a removed device', PATHS.remove, (deviceId: string) => ({ deviceId }), PATHS.register],
      [
        'a locked pattern',
        PATHS.locks,
        (pattern: string) => ({ pattern, reason: 'drill' }),
        PATHS.lockRelease,
      ],
      ['a disabled org', PATHS.orgDisable, () => ({}), PATHS.orgEnable],
    ] as const)('%s', async (_, stop, stopping, restore) => {
      const deviceId = await newDevice()
      const first = (await ask(stop, stopping(deviceId), 'admin')).body
      const second = (await ask(stop, stopping(deviceId), 'admin')).body
      expect(second.orgEpoch).toBe(first.orgEpoch + 1)
      expect(second.lockId).toBe(first.lockId)
      const path = restore.replace(':id', String(first.lockId))
      const form = (ifEpoch: number) => ({
        deviceId,
        restoreRemoved: restore === PATHS.register || undefined,
        ifEpoch,
      })

      for (const kind of ['admin', 'full'] as const) {
        const { status, body } = await ask(path, form(first.orgEpoch), kind)
        expect({ status, code: body.code, epoch: body.epoch }).toEqual({
          status: 409,
          code: 'EPOCH_STALE',
          epoch: second.orgEpoch,
        })
        expect((await decision(deviceId)).allowed).toBe(false)
      }
      expect((await ask(path, form(second.orgEpoch), 'admin')).status).toBe(200)
    })
  })

  test('compares with the device, not with the org: stops elsewhere do not make a form stale', async () => {
    const deviceId = await newDevice()
    const { epoch } = await change(PATHS.revoke, { deviceId })
    await change(PATHS.revoke, { deviceId: await newDevice() })
    expect((await ask(PATHS.unrevoke, { deviceId, ifEpoch: epoch })).status).toBe(200)
  })

  test('of two with the same epoch one wins', async () => {
    const deviceId = await newDevice()
    const { epoch } = await change(PATHS.revoke, { deviceId })
    const answers = await Promise.all([1, 2, 3].map(() => ask(PATHS.unrevoke, { deviceId, ifEpoch: epoch })))
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 409, 409])
  })

  test('says what denies the device all the same', async () => {
    const deviceId = await newDevice()
    await change(PATHS.revoke, { deviceId })
    const removed = await change(PATHS.remove, { deviceId })
    const org = await change(PATHS.orgDisable, {})
    const restored = await change(PATHS.unrevoke, { deviceId, ifEpoch: removed.epoch })
    expect(restored.stillDeniedBy).toEqual(['ORG_DISABLED', 'DEVICE_REMOVED', 'DEVICE_OVER_LIMIT'])
    await change(PATHS.orgEnable, { ifEpoch: org.epoch })
  })
})

describe('a removed device', () => {
  test('keeps its revoked flag: brought back, it is still revoked', async () => {
    const deviceId = await newDevice()
    await change(PATHS.revoke, { deviceId })
    const { epoch } = await change(PATHS.remove, { deviceId })
    expect(await decision(deviceId)).toMatchObject({ allowed: false, code: 'DEVICE_REMOVED' })
    const back = await ask(PATHS.register, { deviceId, restoreRemoved: true, ifEpoch: epoch })
    expect(back.body).toMatchObject({ status: 'ok', stillDeniedBy: ['DEVICE_REVOKED'] })
    expect(await decision(deviceId)).toMatchObject({ allowed: false, code: 'DEVICE_REVOKED' })
  })

  test('does not come back by registering: not as runtime, nor without being asked for, nor with an old epoch', async () => {
    const deviceId = await newDevice()
    const { epoch } = await change(PATHS.remove, { deviceId })
    for (const kind of ['runtime', 'operator', 'full'] as const) {
      const { status, body } = await ask(PATHS.register, { deviceId }, kind)
      expect({ status, error: body.error }).toEqual({ status: 403, error: 'device_removed' })
      expect(RegisterResponse.parse(body)).toMatchObject({ epoch, limit: 250 })
    }
    const asRuntime = await ask(PATHS.register, { deviceId, restoreRemoved: true, ifEpoch: epoch }, 'runtime')
    expect(asRuntime.body.code).toBe('INSUFFICIENT_SCOPE')
    expect((await ask(PATHS.register, { deviceId, restoreRemoved: true, ifEpoch: epoch - 1 })).status).toBe(
      409,
    )
    expect(await decision(deviceId)).toMatchObject({ allowed: false, code: 'DEVICE_REMOVED' })
  })

  test('is not listed, and removing it again is a new stop', async () => {
    const deviceId = await newDevice()
    const { epoch } = await change(PATHS.remove, { deviceId })
    const list = (await authority.get(PATHS.list, authority.keys.viewer)).body.devices as {
      deviceId: string
    }[]
    expect(list.map((device) => device.deviceId)).not.toContain(deviceId)
    expect((await change(PATHS.remove, { deviceId })).epoch).toBe(epoch + 1)
  })
})
