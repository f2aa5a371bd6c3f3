import { describe, expect, test } from 'vitest'

import { deviceRecord, KEY, keyRecord, linkRecord, lockRecord, ORG } from './control-plane-records.ts'
import type { Fixture } from './control-plane-store.ts'

export function describeRecords(fixture: Fixture): void {
  const { write, put, look, addOrg } = fixture

  describe('keys', () => {
    test('are found by their id, whatever their org', async () => {
      await addOrg({ orgId: 'o_other' }, 'key-of-other')
      expect(await fixture.store.findKey(KEY.keyId)).toEqual(KEY)
      expect(await fixture.store.findKey('key-of-other')).toMatchObject({ orgId: 'o_other' })
      expect(await fixture.store.findKey('none')).toBeUndefined()
    })

    test('are listed oldest first, ended ones too, with when each was last used', async () => {
      const ended = keyRecord('a-burned', { createdAtMs: 5_000, endedAtMs: 6_000, endedAs: 'burned' })
      const older = keyRecord('z-older', { createdAtMs: 500 })
      await write({ keys: [ended, older] })
      await addOrg({ orgId: 'o_other' }, 'key-of-other')
      const use = (keyId: string, atMs: number) =>
        fixture.store.recordDecisions({
          decisions: [],
          keysUsed: new Map([[keyId, atMs]]),
          devicesSeen: new Map(),
        })
      await use(KEY.keyId, 7_000)
      // Another lane's batch, which comes later and is older.
      await use(KEY.keyId, 6_000)
      expect(await fixture.store.listKeys(ORG.orgId)).toEqual([
        { ...older, lastUsedAtMs: null },
        { ...KEY, lastUsedAtMs: 7_000 },
        { ...ended, lastUsedAtMs: null },
      ])
    })

    test('whose overlap has passed are told until they are latched', async () => {
      const ending = keyRecord('k-1', { endsAtMs: 100 })
      await write({
        keys: [
          ending,
          keyRecord('k-2', { endsAtMs: 101 }),
          keyRecord('k-3', { endsAtMs: 50, endedAtMs: 60, endedAs: 'burned' }),
        ],
      })
      expect(await fixture.store.keysEnded(99)).toEqual([])
      expect(await fixture.store.keysEnded(100)).toEqual([ending])
      await write({ keys: [{ ...ending, endedAtMs: 100, endedAs: 'expired' }] })
      expect(await fixture.store.keysEnded(100)).toEqual([])
    })
  })

  describe('plans', () => {
    test('that are canceled are told once their end has come, until they are changed', async () => {
      await write({ org: { ...ORG, planState: 'canceled', accessUntilMs: 100 } })
      await addOrg({ orgId: 'o_active', accessUntilMs: 50 }, 'key-1')
      await addOrg({ orgId: 'o_later', planState: 'canceled', accessUntilMs: 101 }, 'key-2')
      expect(await fixture.store.plansEnded(99)).toEqual([])
      expect(await fixture.store.plansEnded(100)).toEqual([ORG.orgId])
      await write({ org: ORG })
      expect(await fixture.store.plansEnded(100)).toEqual([])
    })
  })

  describe('orgs', () => {
    test('are listed in byte order, page by page, and counted', async () => {
      for (const [index, orgId] of ['o_b', 'o_B', 'o_a', 'p'].entries())
        await addOrg({ orgId }, `key-${index}`)
      const page = (after: string, limit: number) => fixture.store.listOrgs({ after, limit })
      expect(await page('', 9)).toEqual(['o_B', 'o_a', 'o_b', ORG.orgId, 'p'])
      expect(await page('', 2)).toEqual(['o_B', 'o_a'])
      expect(await page('o_a', 2)).toEqual(['o_b', ORG.orgId])
      expect(await page('o_aa', 1)).toEqual(['o_b'])
      expect(await page('p', 9)).toEqual([])
      expect(await fixture.store.countOrgs()).toBe(5)
    })
  })

  describe('owners', () => {
    test('are added and removed, each once, and listed in byte order', async () => {
      await write({ addOwners: ['b@example.com', 'a@example.com', 'B@example.com', 'owner@example.com'] })
      await write({ removeOwners: ['owner@example.com', 'nobody@example.com'] })
      const owners = ['B@example.com', 'a@example.com', 'b@example.com']
      expect(await fixture.store.listOwners(ORG.orgId)).toEqual(owners)
      expect((await look({ owners: true })).owners).toEqual(owners)
      expect(await fixture.store.listOwners('o_none')).toEqual([])
    })

    test('are found with all of their orgs', async () => {
      await addOrg({ orgId: 'o_other' }, 'key-of-other')
      await write({ addOwners: ['owner@example.com', 'x@example.com'] }, 'o_other')
      expect(await fixture.store.findOrgsOwnedBy('owner@example.com')).toEqual([ORG.orgId, 'o_other'])
      expect(await fixture.store.findOrgsOwnedBy('x@example.com')).toEqual(['o_other'])
      expect(await fixture.store.findOrgsOwnedBy('X@example.com')).toEqual([])
    })
  })

  describe('recovery links', () => {
    test('are found by the digest of their token', async () => {
      await write({ links: [linkRecord('c'), linkRecord('d', { usedAtMs: 3 })] })
      expect(await fixture.store.findLink(linkRecord('c').digest)).toEqual(linkRecord('c'))
      expect(await fixture.store.findLink(linkRecord('d').digest)).toMatchObject({ usedAtMs: 3 })
      expect(await fixture.store.findLink(linkRecord('e').digest)).toBeUndefined()
    })

    test('that expired before a time are deleted a limited number at a time, in every org, used or not', async () => {
      await addOrg({ orgId: 'o_other' }, 'key-of-other')
      await write({
        links: [
          linkRecord('a', { expiresAtMs: 98, usedAtMs: 90 }),
          linkRecord('b', { expiresAtMs: 99 }),
          linkRecord('c', { expiresAtMs: 100 }),
        ],
      })
      await write({ links: [linkRecord('d', { orgId: 'o_other', expiresAtMs: 1 })] }, 'o_other')
      const prune = () => fixture.store.pruneLinks(100, 2)
      expect([await prune(), await prune(), await prune()]).toEqual([2, 1, 0])
      const left = await Promise.all(
        ['a', 'b', 'c', 'd'].map((digit) => fixture.store.findLink(linkRecord(digit).digest)),
      )
      expect(left).toEqual([undefined, undefined, linkRecord('c', { expiresAtMs: 100 }), undefined])
    })
  })

  describe('usage', () => {
    const stops = async () => {
      await put(
        deviceRecord('a', 1, { revoked: true, remindAtMs: 100, reason: 'leak', epoch: 3 }),
        deviceRecord('b', 2, { revoked: true, remindAtMs: 101 }),
        deviceRecord('c', 3, { revoked: true }),
        deviceRecord('d', 4, { remindAtMs: 50 }),
        deviceRecord('e', null, { revoked: true, remindAtMs: 50 }),
      )
      await write({
        locks: [
          lockRecord('l-1', 'x', { remindAtMs: 99 }),
          lockRecord('l-2', 'y', { remindAtMs: 98, active: false }),
          lockRecord('l-3', 'z'),
        ],
      })
    }

    test('counts the revoked devices, tombstones apart, and the stops that are overdue', async () => {
      await stops()
      expect(await fixture.store.findUsage(ORG.orgId, 98)).toMatchObject({ revoked: 3, overdue: 0 })
      expect(await fixture.store.findUsage(ORG.orgId, 99)).toMatchObject({ overdue: 1 })
      expect(await fixture.store.findUsage(ORG.orgId, 100)).toEqual({
        org: { ...ORG, used: 4 },
        revoked: 3,
        overdue: 2,
      })
      expect(await fixture.store.findUsage('o_none', 0)).toBeUndefined()
    })

    test('stops become overdue in the order of their reminders, each in one span of time', async () => {
      await stops()
      const overdue = async (afterMs: number, untilMs: number) => fixture.store.stopsOverdue(afterMs, untilMs)
      expect(await overdue(0, 98)).toEqual([])
      expect(await overdue(0, 100)).toEqual([
        {
          orgId: ORG.orgId,
          deviceId: undefined,
          lock: lockRecord('l-1', 'x', { remindAtMs: 99 }),
          reason: 'incident 7',
          epoch: 5,
          remindAtMs: 99,
        },
        { orgId: ORG.orgId, deviceId: 'a', lock: undefined, reason: 'leak', epoch: 3, remindAtMs: 100 },
      ])
      expect((await overdue(100, 1000)).map(({ deviceId }) => deviceId)).toEqual(['b'])
    })
  })
}
