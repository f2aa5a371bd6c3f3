import { describe, expect, test } from 'vitest'

import type { OrgRecord } from '../../src/control-plane/records.ts'
import {
  auditEntry,
  deviceRecord,
  KEY,
  keyRecord,
  linkRecord,
  lockRecord,
  ORG,
} from './control-plane-records.ts'
import type { Fixture } from './control-plane-store.ts'

export function describeChanges(fixture: Fixture): void {
  const { look, write, put, reopen, addOrg } = fixture

  describe('a change', () => {
    test('gives back what was committed, also after the store was opened again', async () => {
      const org: OrgRecord = {
        ...ORG,
        epoch: 2 ** 40 + 9,
        disabled: true,
        orgSwitch: { epoch: 2 ** 40 + 8, by: 'k', reason: 'r', atMs: 5 },
        planTier: 'custom',
        planState: 'canceled',
        accessUntilMs: 1_800_000_000_000,
        cap: 77,
        used: 1,
        activeLocks: 1,
      }
      const device = deviceRecord('a:b:c', 1, {
        revoked: true,
        epoch: 7,
        reason: 'leak',
        remindAtMs: 9,
        labels: { 'a "b"\\': 'x\n', ü: '\u{1F6D1}' },
      })
      const key = keyRecord('other-key', {
        name: null,
        bindings: null,
        endsAtMs: 7,
        endedAtMs: 8,
        endedAs: 'burned',
        replacedBy: KEY.keyId,
      })
      const lock = lockRecord('l-1', 'a:*', { remindAtMs: 10 })
      const link = linkRecord('c', { usedAtMs: 6 })
      await write({
        org,
        devices: [device],
        keys: [key],
        locks: [lock],
        links: [link],
        addOwners: ['b@example.com'],
      })
      await reopen()
      expect(
        await look({
          callerKeyId: KEY.keyId,
          devices: { ids: ['a:b:c'] },
          freeSlot: true,
          lock: { lockId: 'l-1' },
          keyId: 'other-key',
          owners: true,
          link: link.digest,
        }),
      ).toEqual({
        org,
        callerKey: KEY,
        devices: [device],
        deviceCount: 1,
        lockedDevices: new Set(['a:b:c']),
        lowestFreeSlot: 2,
        lock,
        key,
        owners: ['b@example.com', 'owner@example.com'],
        link,
        sessions: [],
        approvals: [],
      })
      expect(await fixture.store.countOrgs()).toBe(1)
    })

    test('reads nothing that was not asked for', async () => {
      await put(deviceRecord('a', 1))
      await write({ locks: [lockRecord('l-1', 'a')], links: [linkRecord('c')] })
      expect(await look()).toEqual({
        org: { ...ORG, used: 1 },
        callerKey: undefined,
        devices: [],
        deviceCount: 0,
        lockedDevices: new Set(),
        lowestFreeSlot: undefined,
        lock: undefined,
        key: undefined,
        owners: [],
        link: undefined,
        sessions: [],
        approvals: [],
      })
    })

    test('answers what `decide` gave, with the audit rows it wrote', async () => {
      const { result, audit } = await fixture.store.change(ORG.orgId, {}, (snapshot) => ({
        result: snapshot?.org.cap,
        audit: [auditEntry('one'), auditEntry('two')],
      }))
      expect(result).toBe(25)
      expect(audit.map(({ seq, action }) => [seq, action])).toEqual([
        [2, 'one'],
        [3, 'two'],
      ])
      expect(audit).toEqual(await fixture.store.listAudit(ORG.orgId, { after: 1, limit: 10 }))
    })

    test('replaces records of the same identity, and leaves the others alone', async () => {
      await put(deviceRecord('a', 1), deviceRecord('b', 2))
      await write({ keys: [keyRecord('k-2')], locks: [lockRecord('l-1', 'x')], links: [linkRecord('c')] })
      await write({
        devices: [deviceRecord('a', 1, { revoked: true, epoch: 3 })],
        keys: [keyRecord('k-2', { endedAtMs: 9, endedAs: 'expired' })],
        locks: [lockRecord('l-1', 'x', { active: false, epoch: 6, changedAtMs: 9_000 })],
        links: [linkRecord('c', { usedAtMs: 9 })],
      })
      const found = await look({
        devices: { ids: ['a', 'b'] },
        keyId: 'k-2',
        lock: { lockId: 'l-1' },
        link: linkRecord('c').digest,
      })
      expect(found.devices).toEqual([deviceRecord('a', 1, { revoked: true, epoch: 3 }), deviceRecord('b', 2)])
      expect(found.key).toMatchObject({ endedAtMs: 9, endedAs: 'expired' })
      expect(found.lock).toMatchObject({ active: false, epoch: 6 })
      expect(found.link).toMatchObject({ usedAtMs: 9 })
      expect(found.org).toEqual({ ...ORG, used: 2 })
    })

    test('writes nothing at all when `decide` throws', async () => {
      const refused = fixture.store.change(ORG.orgId, {}, () => {
        throw new Error('refused')
      })
      await expect(refused).rejects.toThrow('refused')
      expect((await look()).org).toEqual(ORG)
      expect(fixture.store.problem()).toBeUndefined()
    })

    test('of which one write fails leaves none of the others', async () => {
      const change = {
        org: { ...ORG, epoch: 99 },
        keys: [keyRecord('k-2')],
        locks: [lockRecord('l-1', 'x')],
        links: [linkRecord('c')],
        addOwners: ['b@example.com'],
        audit: [auditEntry('lost')],
        // Two devices cannot hold the same slot.
        devices: [deviceRecord('a', 1), deviceRecord('b', 1)],
      }
      await expect(write(change)).rejects.toThrow()
      const found = await look({
        devices: { all: true },
        keyId: 'k-2',
        lock: { lockId: 'l-1' },
        owners: true,
        link: linkRecord('c').digest,
      })
      expect(found).toMatchObject({ org: ORG, devices: [], owners: ['owner@example.com'] })
      expect([found.key, found.lock, found.link]).toEqual([undefined, undefined, undefined])
      expect(await fixture.store.listAudit(ORG.orgId, { after: 0, limit: 9 })).toHaveLength(1)
      expect(fixture.store.problem()).toBeUndefined()
    })

    test('of an org that does not exist is told so, and may make it', async () => {
      const seen: unknown[] = []
      const make = (orgId: string, org?: OrgRecord) =>
        fixture.store.change(orgId, { devices: { all: true }, freeSlot: true }, (snapshot) => {
          seen.push(snapshot)
          return { result: undefined, org }
        })
      await make('o_none')
      expect(await fixture.store.countOrgs()).toBe(1)
      await make('o_none', { ...ORG, orgId: 'o_none' })
      expect(seen).toEqual([undefined, undefined])
      expect(await fixture.store.countOrgs()).toBe(2)
    })

    test('finds no key, lock or link of another org', async () => {
      await addOrg({ orgId: 'o_other' }, 'key-of-other')
      await write(
        { locks: [lockRecord('l-other', 'a')], links: [linkRecord('d', { orgId: 'o_other' })] },
        'o_other',
      )
      const found = await look({
        callerKeyId: 'key-of-other',
        keyId: 'key-of-other',
        lock: { lockId: 'l-other' },
        link: linkRecord('d').digest,
      })
      expect([found.callerKey, found.key, found.lock, found.link]).toEqual(Array(4).fill(undefined))
      expect((await look({ lock: { activePattern: 'a' } })).lock).toBeUndefined()
      expect((await look({ lock: { activePattern: 'a' } }, 'o_other')).lock?.lockId).toBe('l-other')
    })

    test('G7: the lowest free slot is the first gap, or the one after the last', async () => {
      const lowest = async () => (await look({ freeSlot: true })).lowestFreeSlot
      expect(await lowest()).toBe(1)
      await put(...['a', 'b', 'c', 'd'].map((id, index) => deviceRecord(id, index + 1)))
      expect(await lowest()).toBe(5)
      const free = async (id: string) => {
        const { org } = await look()
        await write({ org: { ...org, used: org.used - 1 }, devices: [deviceRecord(id, null)] })
      }
      await free('c')
      expect(await lowest()).toBe(3)
      await free('a')
      expect(await lowest()).toBe(1)
      await free('d')
      await free('b')
      expect(await lowest()).toBe(1)
    })

    test('many at once are done one after another', async () => {
      const raise = () =>
        fixture.store.change(ORG.orgId, {}, (snapshot) => {
          const org = { ...ORG, epoch: (snapshot?.org.epoch ?? 0) + 1 }
          return { result: org.epoch, org, audit: [auditEntry('raise', { after: { epoch: org.epoch } })] }
        })
      const results = await Promise.all(Array.from({ length: 40 }, raise))
      expect(results.map(({ result }) => result).sort((a, b) => a - b)).toEqual(
        Array.from({ length: 40 }, (_, index) => index + 1),
      )
      expect(new Set(results.map(({ audit }) => audit[0]?.seq)).size).toBe(40)
    })
  })
}
