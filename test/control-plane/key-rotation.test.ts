import { describe, expect, test } from 'vitest'

import { keyIdOf } from '../../src/control-plane/keys.ts'
import { KeyRotateResponse } from '../../src/machineid/wire-keys.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { startTestControlPlane } from '../fixtures/control-plane.ts'
import {
  at,
  auditOf,
  caller,
  DAY_MS,
  idOf,
  orgEpoch,
  rotatePath,
  settableClock,
  verdict,
} from './key-calls.ts'
import { DEVICE, TESTER } from './key-matrix.ts'

describe('rotating a key', () => {
  test('both work during the overlap, and the old one ends exactly at its end', async () => {
    const { clock, set } = settableClock()
    await using authority = await startTestControlPlane({ clock, bindings: ['openai-agent:test:*'] })
    const { keys } = authority
    const { validate, rotate } = caller(authority)
    await authority.register(DEVICE)
    const before = await orgEpoch(authority)
    const { status, body } = await rotate(idOf(keys.runtime), { overlapSeconds: 3600, reason: 'monthly' })
    expect(status).toBe(200)
    const rotated = KeyRotateResponse.parse(body)
    expect(rotated).toMatchObject({
      kind: 'runtime',
      keyId: keyIdOf(rotated.key),
      replaces: { keyId: idOf(keys.runtime), endsAt: at(3_600_000) },
    })
    expect(await orgEpoch(authority)).toBe(before)

    for (const afterMs of [0, 1, 3_599_999]) {
      set(afterMs)
      expect(await validate(keys.runtime)).toBe('200 ALLOW')
      expect(await validate(rotated.key)).toBe('200 ALLOW')
    }
    set(3_600_000)
    expect(await validate(keys.runtime)).toBe('401 KEY_EXPIRED')
    expect(await validate(rotated.key)).toBe('200 ALLOW')
    const register = await authority.post(PATHS.register, { deviceId: DEVICE }, keys.runtime)
    expect(verdict(register)).toBe('401 KEY_EXPIRED')
    // Bound as the old one was.
    expect(await validate(rotated.key, 'elsewhere:01')).toBe('403 KEY_NOT_BOUND_TO_DEVICE')
    expect(auditOf(authority, 'key.rotate')).toMatchObject([{ reason: 'monthly', actor_kind: 'admin' }])
  })

  test('takes a day unless it says otherwise, and keeps kind, name and bindings', async () => {
    const { clock } = settableClock()
    await using authority = await startTestControlPlane({ clock })
    const { service, orgId } = authority
    const asked = { orgId, kind: 'runtime', name: 'billing', bindings: ['a:*'] } as const
    const { keyId } = await service.issueKey(asked)
    const { body } = await caller(authority).rotate(keyId)
    expect(body.replaces).toEqual({ keyId, endsAt: at(DAY_MS) })
    const listed = await service.listKeys(orgId)
    expect(listed.find((key) => key.keyId === body.keyId)).toMatchObject({
      kind: 'runtime',
      name: 'billing',
      bindings: ['a:*'],
      createdBy: idOf(authority.keys.admin),
      endsAtMs: null,
    })
  })

  test('a key that has expired stays so, whatever becomes of the clock', async () => {
    const { clock, set } = settableClock()
    await using authority = await startTestControlPlane({ clock })
    const { keys, service } = authority
    const { validate, rotate } = caller(authority)
    await authority.register(DEVICE)
    await rotate(idOf(keys.runtime), { overlapSeconds: 60 })
    const before = await orgEpoch(authority)
    set(59_999)
    await service.endKeys()
    expect(await validate(keys.runtime)).toBe('200 ALLOW')
    set(60_000)
    await service.endKeys()
    await service.endKeys()
    for (const afterMs of [60_000, 59_999, 0, -DAY_MS, 365 * DAY_MS]) {
      set(afterMs)
      expect(await validate(keys.runtime)).toBe('401 KEY_EXPIRED')
    }
    // Once in the audit, by nobody's request; and no stop.
    expect(auditOf(authority, 'key.expired')).toMatchObject([{ actor: 'local', request_id: null }])
    expect(await orgEpoch(authority)).toBe(before)
    await authority.restart()
    set(0)
    expect(await validate(keys.runtime)).toBe('401 KEY_EXPIRED')
  })

  test('a key that is burned while its overlap ends is burned, not expired', async () => {
    const { clock, set } = settableClock()
    await using authority = await startTestControlPlane({ clock })
    const { keys, service, orgId } = authority
    const keyId = idOf(keys.runtime)
    await service.rotateKey(TESTER, orgId, { keyId, overlapSeconds: 60 })
    set(60_000)
    // It is looked up before the burn, and latched after it.
    const ending = service.endKeys()
    await service.burnKey(TESTER, orgId, { keyId })
    await ending
    expect(await caller(authority).validate(keys.runtime)).toBe('401 KEY_BURNED')
    expect(auditOf(authority, 'key.expired')).toEqual([])
  })

  test('without an overlap it burns the old one at once, which is a stop', async () => {
    await using authority = await startTestControlPlane()
    const { keys } = authority
    const { validate, rotate } = caller(authority)
    await authority.register(DEVICE)
    const before = await orgEpoch(authority)
    const { body } = await rotate(idOf(keys.runtime), { overlapSeconds: 0 })
    expect(await validate(keys.runtime)).toBe('401 KEY_BURNED')
    expect(await validate(body.key)).toBe('200 ALLOW')
    expect(await orgEpoch(authority)).toBe(before + 1)
    const [row] = auditOf(authority, 'key.rotate')
    expect(JSON.parse(row.after)).toMatchObject({
      endedAs: 'burned',
      replacedBy: body.keyId,
      epoch: before + 1,
    })
  })

  test('G6: a key is rotated once: a second try mints nothing, nor does one after its end', async () => {
    const { clock, set } = settableClock()
    await using authority = await startTestControlPlane({ clock })
    const { keys, service, orgId } = authority
    const { rotate, burn } = caller(authority)
    const { keyId } = (await rotate(idOf(keys.runtime), { overlapSeconds: 60 })).body
    await burn(idOf(keys.stop))
    const count = (await service.listKeys(orgId)).length
    const tries = async () => [
      await rotate(idOf(keys.runtime)),
      await rotate(idOf(keys.runtime), { overlapSeconds: 0 }),
      await rotate(idOf(keys.stop)),
    ]
    const answers = await tries()
    set(60_000)
    answers.push(...(await tries()))
    await service.endKeys()
    answers.push(...(await tries()))
    for (const { status, body } of answers) {
      expect({ status, code: body.code }).toEqual({ status: 409, code: 'KEY_ENDED' })
    }
    expect(answers[0]?.body.message).toContain(keyId)
    expect(answers[2]?.body.message).toContain('POST /api/v1/org/keys')
    expect(await service.listKeys(orgId)).toHaveLength(count)
  })

  test('an admin key can rotate itself', async () => {
    await using authority = await startTestControlPlane()
    const { keys } = authority
    const { status, body } = await authority.post(
      rotatePath(idOf(keys.admin)),
      { overlapSeconds: 0 },
      keys.admin,
    )
    expect(status).toBe(200)
    expect(verdict(await authority.get(PATHS.keys, keys.admin))).toBe('401 KEY_BURNED')
    expect((await authority.get(PATHS.keys, body.key)).status).toBe(200)
  })
})
