import { describe, expect, test } from 'vitest'

import { deviceRecord, KEY, keyRecord, lockRecord, ORG } from './control-plane-records.ts'
import type { Fixture } from './control-plane-store.ts'

export function describeReader(fixture: Fixture): void {
  const { write, put, addOrg } = fixture
  const read = async (deviceIds: readonly string[], keyId = KEY.keyId) =>
    fixture.store.reader.read(keyId, deviceIds)
  const state = { revoked: false, removed: false, epoch: 0, locked: false }

  describe('the decision reader', () => {
    test('answers key, org and devices in the order they were asked, whatever their number', async () => {
      await put(
        deviceRecord('a', 1, { revoked: true, epoch: 3 }),
        deviceRecord('b', 2),
        deviceRecord('c', null),
      )
      const asked = ['b', 'none', 'a', 'b', 'c', ...Array.from({ length: 11 }, (_, index) => `x${index}`)]
      const expected = [
        { ...state, slot: 2 },
        undefined,
        { ...state, revoked: true, slot: 1, epoch: 3 },
        { ...state, slot: 2 },
        { ...state, removed: true, slot: null },
        ...Array.from({ length: 11 }, () => undefined),
      ]
      const { keyId, orgId, kind, digest, bindings, endsAtMs, endedAtMs, endedAs } = KEY
      for (let count = 0; count <= asked.length; count++) {
        expect(await read(asked.slice(0, count))).toEqual({
          key: { keyId, orgId, kind, digest, bindings, endsAtMs, endedAtMs, endedAs },
          orgEpoch: 0,
          orgDisabled: false,
          planState: 'active',
          accessUntilMs: null,
          cap: 25,
          devices: expected.slice(0, count),
        })
      }
    })

    test('answers how the key and the plan end', async () => {
      await write({
        org: { ...ORG, epoch: 9, disabled: true, planState: 'canceled', accessUntilMs: 77, cap: 3 },
        keys: [keyRecord('k-2', { endsAtMs: 5, endedAtMs: 6, endedAs: 'expired', bindings: null })],
      })
      expect(await read([], 'k-2')).toMatchObject({
        key: { endsAtMs: 5, endedAtMs: 6, endedAs: 'expired', bindings: null },
        orgEpoch: 9,
        orgDisabled: true,
        planState: 'canceled',
        accessUntilMs: 77,
        cap: 3,
      })
    })

    test('answers which devices a lock matches, in the same answer as all the rest', async () => {
      await put(deviceRecord('a:b:c', 1, { epoch: 4 }), deviceRecord('a:x:c', 2, { revoked: true }))
      const asked = ['a:b:c', 'none', 'a:x:c', 'a:b:c']
      const lock = (activeLocks: number, ...patterns: string[]) =>
        write({
          org: { ...ORG, used: 2, activeLocks },
          locks: patterns.map((pattern) => lockRecord(`l ${pattern}`, pattern)),
        })
      const locked = async () => (await read(asked))?.devices.map((device) => device?.locked)
      expect(await locked()).toEqual([false, undefined, false, false])
      await lock(1, 'z:*')
      expect(await locked()).toEqual([false, undefined, false, false])
      await lock(2, 'a:b:*')
      expect(await locked()).toEqual([true, undefined, false, true])
      await lock(3, '*:*:c')
      expect(await locked()).toEqual([true, undefined, true, true])
      expect(await read(asked)).toMatchObject({
        key: { keyId: KEY.keyId },
        cap: 25,
        devices: [
          { ...state, slot: 1, epoch: 4, locked: true },
          undefined,
          { ...state, slot: 2, revoked: true, locked: true },
          { slot: 1 },
        ],
      })
    })

    test('knows no lock that was released, nor one of another org', async () => {
      await put(deviceRecord('a', 1))
      await addOrg({ orgId: 'o_other', activeLocks: 1 }, 'key-of-other')
      await write({ locks: [lockRecord('l-other', '*')] }, 'o_other')
      await write({
        org: { ...ORG, used: 1, activeLocks: 1 },
        locks: [lockRecord('l-1', 'a', { active: false }), lockRecord('l-2', 'b')],
      })
      expect((await read(['a']))?.devices).toEqual([{ ...state, slot: 1 }])
    })

    test('knows nothing of a key that does not exist, nor of another org’s devices', async () => {
      await put(deviceRecord('a', 1))
      await addOrg({ orgId: 'o_other' }, 'key-of-other')
      expect(await read(['a'], 'none')).toBeUndefined()
      expect((await read(['a'], 'key-of-other'))?.devices).toEqual([undefined])
    })

    test('G2: sees every commit at once, and nothing of a transaction that is not committed', async () => {
      await put(deviceRecord('a', 1))
      for (let epoch = 1; epoch <= 50; epoch++) {
        const revoked = epoch % 2 === 1
        const activeLocks = Math.floor(epoch / 4) % 2
        await fixture.store.change(ORG.orgId, { devices: { ids: ['a'] } }, () => {
          const inside = fixture.store.reader.read(KEY.keyId, ['a'])
          if (!(inside instanceof Promise)) expect(inside?.devices[0]?.epoch).toBe(epoch - 1)
          return {
            org: { ...ORG, used: 1, epoch, activeLocks },
            devices: [deviceRecord('a', 1, { revoked, epoch })],
            locks: [lockRecord('l', 'a', { active: activeLocks === 1 })],
            result: undefined,
          }
        })
        expect(await read(['a'])).toMatchObject({
          orgEpoch: epoch,
          devices: [{ revoked, epoch, locked: activeLocks === 1 }],
        })
      }
    })
  })
}
