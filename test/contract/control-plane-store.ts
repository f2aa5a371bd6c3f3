import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import type {
  AuditEntry,
  Change,
  ControlPlaneStore,
  DenialRecord,
  DeviceRecord,
  DeviceSnapshot,
  KeyRecord,
  OrgRecord,
} from '../../src/control-plane/store.ts'

/** A store that can be opened again on what it has kept. */
export interface StoreUnderTest {
  open(): Promise<ControlPlaneStore>
  /** Deletes what was kept. */
  discard(): Promise<void>
}

export const ORG: OrgRecord = {
  orgId: 'o_contract',
  epoch: 0,
  disabled: false,
  orgSwitch: { epoch: 0, by: null, reason: null, atMs: null },
  planTier: 'pro',
  planState: 'active',
  cap: 25,
  used: 0,
}
const KEY: KeyRecord = {
  keyId: 'abcdefghijklmnop',
  orgId: ORG.orgId,
  kind: 'runtime',
  digest: 'ab'.repeat(32),
  bindings: ['a:b:*'],
}
let audits = 0
export function auditEntry(action = 'test'): AuditEntry {
  return { id: `audit-${audits++}`, atMs: 1, actor: 'local', action }
}
export function deviceRecord(deviceId: string, slot: number | null): DeviceRecord {
  return {
    deviceId,
    revoked: false,
    removed: slot === null,
    slot,
    epoch: 0,
    reason: null,
    labels: { team: 'billing' },
    createdAtMs: 1_000,
    changedAtMs: 2_000,
  }
}

/** One suite for every implementation of the port. */
export function describeControlPlaneStore(name: string, make: () => Promise<StoreUnderTest>): void {
  describe(`control plane store: ${name}`, () => {
    let under: StoreUnderTest
    let store: ControlPlaneStore
    beforeEach(async () => {
      under = await make()
      store = await under.open()
      await store.changeOrg(ORG.orgId, () => ({
        org: ORG,
        keys: [KEY],
        ownerEmail: 'owner@example.com',
        audit: auditEntry(),
        result: undefined,
      }))
    })
    afterEach(async () => {
      await store.close()
      await under.discard()
    })
    const reopen = async () => {
      await store.close()
      store = await under.open()
    }
    const put = (device: DeviceRecord) =>
      store.changeDevice(ORG.orgId, device.deviceId, (snapshot) => {
        const org = mustHave(snapshot).org
        return { org: { ...org, used: org.used + 1 }, device, audit: auditEntry(), result: undefined }
      })
    const look = (deviceId: string) =>
      store.changeDevice(ORG.orgId, deviceId, (snapshot) => ({ result: mustHave(snapshot) }))

    test('gives back what was committed, also after it was opened again', async () => {
      const device = { ...deviceRecord('a:b:c', 1), revoked: true, epoch: 7, reason: 'leak' }
      const org = { ...ORG, epoch: 9, disabled: true, orgSwitch: { epoch: 8, by: 'k', reason: 'r', atMs: 5 } }
      await put(device)
      await store.changeOrg(ORG.orgId, () => ({ org: { ...org, used: 1 }, result: undefined }))
      await reopen()
      expect(await look('a:b:c')).toEqual({ org: { ...org, used: 1 }, device, lowestFreeSlot: 2 })
      expect(await store.findKey(KEY.keyId)).toEqual(KEY)
      expect(await store.countOrgs()).toBe(1)
    })

    test('when `decide` throws, nothing at all is written', async () => {
      await put(deviceRecord('a', 1))
      const refused = store.changeDevice(ORG.orgId, 'a', () => {
        throw new Error('refused')
      })
      await expect(refused).rejects.toThrow('refused')
      expect((await look('a')).org.used).toBe(1)
    })

    test('when one of the writes fails, none of the others stays', async () => {
      const audit = auditEntry()
      await store.changeOrg(ORG.orgId, () => ({ audit, result: undefined }))
      const change: Change<undefined> = {
        org: { ...ORG, epoch: 99 },
        device: deviceRecord('a', 1),
        audit,
        result: undefined,
      }
      await expect(store.changeDevice(ORG.orgId, 'a', () => change)).rejects.toThrow()
      const { org, device } = await look('a')
      expect({ epoch: org.epoch, device }).toEqual({ epoch: 0, device: undefined })
      expect(store.problem()).toBeUndefined()
    })

    test('two devices cannot hold the same slot', async () => {
      await put(deviceRecord('a', 1))
      await expect(put(deviceRecord('b', 1))).rejects.toThrow()
    })

    test('the lowest free slot is the first gap, or the one after the last', async () => {
      expect((await look('x')).lowestFreeSlot).toBe(1)
      for (const [slot, id] of ['a', 'b', 'c', 'd'].entries()) await put(deviceRecord(id, slot + 1))
      expect((await look('x')).lowestFreeSlot).toBe(5)
      const free = (id: string) =>
        store.changeDevice(ORG.orgId, id, (snapshot) => {
          const org = mustHave(snapshot).org
          return { org: { ...org, used: org.used - 1 }, device: deviceRecord(id, null), result: undefined }
        })
      await free('c')
      expect((await look('x')).lowestFreeSlot).toBe(3)
      await free('a')
      expect((await look('x')).lowestFreeSlot).toBe(1)
      await free('d')
      await free('b')
      expect((await look('x')).lowestFreeSlot).toBe(1)
    })

    test('an org that does not exist is told as such', async () => {
      expect(await store.changeOrg('o_none', (org) => ({ result: org }))).toBeUndefined()
      expect(await store.changeDevice('o_none', 'a', (snapshot) => ({ result: snapshot }))).toBeUndefined()
      expect(await store.findUsage('o_none')).toBeUndefined()
      expect(await store.listDevices('o_none', {})).toBeUndefined()
      expect(await store.findKey('nope')).toBeUndefined()
    })

    test('lists devices in byte order, without tombstones, page by page', async () => {
      const ids = ['b', 'a', 'B', 'a:b', 'c']
      for (const [slot, id] of ids.entries()) await put(deviceRecord(id, slot + 1))
      await store.changeDevice(ORG.orgId, 'c', () => ({ device: deviceRecord('c', null), result: undefined }))
      const list = async (page: { after?: string; limit?: number }) =>
        (await store.listDevices(ORG.orgId, page))?.devices.map(({ deviceId }) => deviceId)
      expect(await list({})).toEqual(['B', 'a', 'a:b', 'b'])
      expect(await list({ limit: 2 })).toEqual(['B', 'a'])
      expect(await list({ after: 'a', limit: 2 })).toEqual(['a:b', 'b'])
    })

    test('counts revoked devices, tombstones apart', async () => {
      await put({ ...deviceRecord('a', 1), revoked: true })
      await put(deviceRecord('b', 2))
      await put({ ...deviceRecord('c', null), revoked: true })
      expect(await store.findUsage(ORG.orgId)).toMatchObject({ revoked: 1, org: { used: 3 } })
    })

    test('keeps denials, each device of a question in its place', async () => {
      const denial: DenialRecord = {
        requestId: 'r-1',
        ordinal: 0,
        orgId: ORG.orgId,
        keyId: KEY.keyId,
        deviceId: 'a',
        code: 'DEVICE_REVOKED',
        asked: 'validate',
        boundary: 'tool',
        tool: 'send_payment',
        callId: 'call_1',
        runId: null,
        replica: null,
        atMs: 3,
      }
      const second = { ...denial, ordinal: 2, deviceId: 'c', code: 'DEVICE_NOT_REGISTERED' }
      await store.recordDenials([second, denial])
      expect(await store.findDenials('r-1')).toEqual([denial, second])
      expect(await store.findDenials('r-2')).toEqual([])
    })

    describe('the decision reader', () => {
      test('answers key, org and devices in the order they were asked, whatever their number', async () => {
        await put({ ...deviceRecord('a', 1), revoked: true, epoch: 3 })
        await put(deviceRecord('b', 2))
        const asked = ['b', 'none', 'a', 'b', ...Array.from({ length: 12 }, (_, index) => `x${index}`)]
        const b = { revoked: false, removed: false, slot: 2, epoch: 0 }
        const a = { revoked: true, removed: false, slot: 1, epoch: 3 }
        const expected = [b, undefined, a, b, ...Array.from({ length: 12 }, () => undefined)]
        for (let count = 0; count <= asked.length; count++) {
          expect(await store.reader.read(KEY.keyId, asked.slice(0, count))).toEqual({
            key: KEY,
            orgEpoch: 0,
            orgDisabled: false,
            planState: 'active',
            cap: 25,
            devices: expected.slice(0, count),
          })
        }
      })

      test('knows nothing of a key that does not exist, nor of another org’s devices', async () => {
        await put(deviceRecord('a', 1))
        const other = { ...KEY, orgId: 'o_other', keyId: 'otherotherother2' }
        await store.changeOrg('o_other', () => ({
          org: { ...ORG, orgId: 'o_other' },
          keys: [other],
          audit: auditEntry(),
          result: undefined,
        }))
        expect(await store.reader.read('nope', ['a'])).toBeUndefined()
        expect((await store.reader.read(other.keyId, ['a']))?.devices).toEqual([undefined])
      })

      test('G2: sees every commit at once, and nothing of a transaction that is not committed', async () => {
        await put(deviceRecord('a', 1))
        for (let epoch = 1; epoch <= 50; epoch++) {
          const revoked = epoch % 2 === 1
          await store.changeDevice(ORG.orgId, 'a', (snapshot) => {
            const inside = store.reader.read(KEY.keyId, ['a'])
            if (!(inside instanceof Promise)) expect(inside?.devices[0]?.epoch).toBe(epoch - 1)
            const { org, device } = mustHave(snapshot)
            return {
              org: { ...org, epoch },
              device: { ...(device ?? deviceRecord('a', 1)), revoked, epoch },
              result: undefined,
            }
          })
          const read = await store.reader.read(KEY.keyId, ['a'])
          expect(read).toMatchObject({ orgEpoch: epoch, devices: [{ revoked, epoch }] })
        }
      })
    })
  })
}

function mustHave(snapshot: DeviceSnapshot | undefined): DeviceSnapshot {
  if (snapshot === undefined) throw new Error('the org is missing')
  return snapshot
}
