import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { matchesDevicePattern } from '../../src/device-patterns.ts'
import type { DeviceSelection } from '../../src/control-plane/store.ts'
import { deviceRecord, KEY, lockRecord, ORG } from './control-plane-records.ts'
import type { Fixture } from './control-plane-store.ts'

export function describeDevices(fixture: Fixture): void {
  const { look, write, put, addOrg } = fixture
  const select = async (devices: DeviceSelection, deviceLimit?: number) => {
    const found = await look({ devices, deviceLimit })
    return { ids: found.devices.map(({ deviceId }) => deviceId), count: found.deviceCount }
  }

  describe('a selection of devices', () => {
    const IDS = ['b', 'a', 'B', 'a:b', 'a:b:c', 'a:c:c', 'a:b:c:d', 'a-b', 'z']
    const fill = async () => {
      await put(...IDS.map((id, index) => deviceRecord(id, index + 1)))
      await write({ devices: [deviceRecord('z', null)] })
    }

    test('by ID comes in the order they were asked, each once, with tombstones, without those that are not there', async () => {
      await fill()
      expect(await select({ ids: ['z', 'none', 'b', 'a', 'b'] })).toEqual({ ids: ['z', 'b', 'a'], count: 3 })
      expect(await select({ ids: [] })).toEqual({ ids: [], count: 0 })
    })

    test('of all is in byte order, without tombstones', async () => {
      await fill()
      expect(await select({ all: true })).toEqual({
        ids: ['B', 'a', 'a-b', 'a:b', 'a:b:c', 'a:b:c:d', 'a:c:c', 'b'],
        count: 8,
      })
    })

    test('by pattern takes * for one segment, at the end for one or more, and nothing else for a wildcard', async () => {
      await fill()
      expect((await select({ pattern: 'a:b:*' })).ids).toEqual(['a:b:c', 'a:b:c:d'])
      expect((await select({ pattern: 'a:*:c' })).ids).toEqual(['a:b:c', 'a:c:c'])
      expect((await select({ pattern: '*' })).ids).toHaveLength(8)
      expect((await select({ pattern: 'a' })).ids).toEqual(['a'])
      await put(deviceRecord('zz:zz', 90))
      expect((await select({ pattern: 'zz:*' })).ids).toEqual(['zz:zz'])
      expect((await select({ pattern: '*:zz' })).ids).toEqual(['zz:zz'])
      for (const pattern of ['z', '%', '_', 'a_b', '?', 'a:?', '[ab]', '', 'A:b'])
        expect((await select({ pattern })).ids).toEqual([])
    })

    test('by label takes exactly that name and value', async () => {
      const labels = { team: 'billing', 'a.b"c': '1', nested: '{"x":"y"}' }
      await put(
        deviceRecord('a', 1, { labels }),
        deviceRecord('b', 2, { labels: {} }),
        deviceRecord('c', null),
      )
      const by = async (name: string, value: string) => (await select({ label: { name, value } })).ids
      expect(await by('team', 'billing')).toEqual(['a'])
      expect(await by('a.b"c', '1')).toEqual(['a'])
      expect(await by('nested', '{"x":"y"}')).toEqual(['a'])
      for (const [name, value] of [
        ['team', 'Billing'],
        ['Team', 'billing'],
        ['team', ''],
        ['x', 'y'],
        ['constructor', ''],
        ['billing', 'team'],
      ])
        // prettier-ignore
        expect(await by(name ?? '', value ?? '')).toEqual([])
    })

    test('by slot takes those that a smaller plan has no room for', async () => {
      await fill()
      expect(await select({ slotAbove: 6 })).toEqual({ ids: ['a-b', 'a:b:c:d'], count: 2 })
      expect(await select({ slotAbove: 9 })).toEqual({ ids: [], count: 0 })
    })

    test('with a limit counts all of them, and gives the first', async () => {
      await fill()
      expect(await select({ all: true }, 3)).toEqual({ ids: ['B', 'a', 'a-b'], count: 8 })
      expect(await select({ all: true }, 8)).toMatchObject({ count: 8 })
      expect(await select({ pattern: 'a:*' }, 1)).toEqual({ ids: ['a:b'], count: 4 })
      expect(await select({ label: { name: 'team', value: 'billing' } }, 2)).toMatchObject({ count: 8 })
      expect(await select({ slotAbove: 6 }, 1)).toEqual({ ids: ['a-b'], count: 2 })
      expect(await select({ ids: ['b', 'a'] }, 1)).toEqual({ ids: ['b'], count: 2 })
    })

    test('sees no device of another org', async () => {
      await addOrg({ orgId: 'o_other' }, 'key-of-other')
      await write({ devices: [deviceRecord('a', 1)] }, 'o_other')
      for (const selection of [
        { all: true },
        { ids: ['a'] },
        { pattern: '*' },
        { slotAbove: 0 },
        { label: { name: 'team', value: 'billing' } },
      ] as const)
        expect(await select(selection)).toEqual({ ids: [], count: 0 })
    })
  })

  describe('locks', () => {
    const lock = async (...patterns: string[]) => {
      const { org } = await look()
      await write({
        org: { ...org, activeLocks: org.activeLocks + patterns.length },
        locks: patterns.map((pattern, index) => lockRecord(`l-${org.activeLocks + index}`, pattern)),
      })
    }
    const locked = async (devices: DeviceSelection, deviceLimit?: number) => [
      ...(await look({ devices, deviceLimit })).lockedDevices,
    ]

    test('mark the devices that were read, and those asked for by ID that do not exist yet', async () => {
      await put(deviceRecord('a:b:c', 1), deviceRecord('a:x:c', 2), deviceRecord('b', 3))
      expect(await locked({ all: true })).toEqual([])
      await lock('a:b:*', '*:*:new')
      expect(await locked({ all: true })).toEqual(['a:b:c'])
      expect(await locked({ ids: ['a:b:c', 'b', 'q:q:new', 'a:b:z:z'] })).toEqual([
        'a:b:c',
        'q:q:new',
        'a:b:z:z',
      ])
      await lock('*')
      expect(await locked({ all: true })).toEqual(['a:b:c', 'a:x:c', 'b'])
      expect(await locked({ all: true }, 1)).toEqual(['a:b:c'])
    })

    test('that are released mark nothing, and their pattern can be locked again', async () => {
      await lock('a:*')
      await write({ org: ORG, locks: [lockRecord('l-0', 'a:*', { active: false })] })
      expect(await locked({ ids: ['a:b'] })).toEqual([])
      expect((await look({ lock: { activePattern: 'a:*' } })).lock).toBeUndefined()
      expect((await look({ lock: { lockId: 'l-0' } })).lock?.active).toBe(false)
      await write({ org: { ...ORG, activeLocks: 1 }, locks: [lockRecord('l-again', 'a:*')] })
      expect((await look({ lock: { activePattern: 'a:*' } })).lock?.lockId).toBe('l-again')
      expect(await locked({ ids: ['a:b'] })).toEqual(['a:b'])
    })

    test('are held once for a pattern: a second one is refused', async () => {
      await lock('a:*')
      await expect(write({ locks: [lockRecord('l-2', 'a:*')] })).rejects.toThrow()
    })

    test('of another org mark nothing', async () => {
      await addOrg({ orgId: 'o_other', activeLocks: 1 }, 'key-of-other')
      await write({ locks: [lockRecord('l-other', '*')] }, 'o_other')
      await lock('x')
      expect(await locked({ ids: ['a', 'a:b'] })).toEqual([])
      expect(await fixture.store.locksOn(ORG.orgId, 'a')).toEqual([])
    })

    test('are listed oldest first, released ones only when all are asked for', async () => {
      const first = lockRecord('l-9', 'a:*', { createdAtMs: 1 })
      const released = lockRecord('l-1', 'b', { createdAtMs: 2, active: false })
      const last = lockRecord('l-5', 'a:b', { createdAtMs: 3 })
      await write({ org: { ...ORG, activeLocks: 2 }, locks: [last, first, released] })
      expect(await fixture.store.listLocks(ORG.orgId, { all: false })).toEqual([first, last])
      expect(await fixture.store.listLocks(ORG.orgId, { all: true })).toEqual([first, released, last])
      expect(await fixture.store.locksOn(ORG.orgId, 'a:b')).toEqual([first, last])
      expect(await fixture.store.locksOn(ORG.orgId, 'b')).toEqual([])
    })

    test('match what their pattern says, asked for one device, for many, and by a validate', async () => {
      const LETTERS = ['a', 'b', 'c']
      const segments = (...others: string[]) =>
        fc
          .array(fc.constantFrom(...LETTERS, ...others), { minLength: 1, maxLength: 4 })
          .map((parts) => parts.join(':'))
      const deeper = (ids: string[]) => ids.flatMap((id) => LETTERS.map((letter) => `${id}:${letter}`))
      const levels = [LETTERS, deeper(LETTERS), deeper(deeper(LETTERS)), deeper(deeper(deeper(LETTERS)))]
      await put(...levels.flat().map((id, index) => deviceRecord(id, index + 1)))

      const holdOnly = async (patterns: readonly string[]) => {
        const held = await fixture.store.listLocks(ORG.orgId, { all: false })
        const { org } = await look()
        await write({ locks: held.map((lock) => ({ ...lock, active: false })) })
        await write({
          org: { ...org, activeLocks: patterns.length },
          locks: patterns.map((pattern) => lockRecord(crypto.randomUUID(), pattern)),
        })
      }
      await fc.assert(
        fc.asyncProperty(
          fc.uniqueArray(segments(), { minLength: 1, maxLength: 40 }),
          fc.uniqueArray(segments('*', '*'), { maxLength: 6 }),
          async (ids, patterns) => {
            await holdOnly(patterns)
            const stopped = (id: string) => patterns.some((pattern) => matchesDevicePattern(pattern, id))
            expect(await locked({ ids })).toEqual(ids.filter(stopped))
            const few = ids.slice(0, 3)
            expect(await locked({ ids: few })).toEqual(few.filter(stopped))
            const read = await fixture.store.reader.read(KEY.keyId, few)
            expect(read?.devices.map((device) => device?.locked)).toEqual(few.map(stopped))
          },
        ),
        { numRuns: 50 },
      )
    })
  })

  describe('the list of devices', () => {
    test('comes in byte order, without tombstones, page by page', async () => {
      await put(...['b', 'a', 'B', 'a:b', 'c'].map((id, index) => deviceRecord(id, index + 1)))
      await write({ devices: [deviceRecord('c', null)] })
      const list = async (page: { after?: string; limit?: number }) =>
        (await fixture.store.listDevices(ORG.orgId, page))?.devices.map(({ deviceId }) => deviceId)
      expect(await list({})).toEqual(['B', 'a', 'a:b', 'b'])
      expect(await list({ limit: 2 })).toEqual(['B', 'a'])
      expect(await list({ after: 'a', limit: 2 })).toEqual(['a:b', 'b'])
      expect(await list({ after: 'b' })).toEqual([])
      expect(await fixture.store.listDevices('o_none', {})).toBeUndefined()
    })

    test('says which are locked, and what each was last told', async () => {
      await put(deviceRecord('a', 1), deviceRecord('b', 2))
      await write({ org: { ...ORG, used: 2, activeLocks: 1 }, locks: [lockRecord('l', 'b')] })
      const lastSeen = { atMs: 9, code: 'ALLOW', keyId: 'k' }
      await fixture.store.recordDecisions({
        decisions: [],
        keysUsed: new Map(),
        devicesSeen: new Map([[ORG.orgId, new Map([['a', lastSeen]])]]),
      })
      expect(await fixture.store.listDevices(ORG.orgId, {})).toEqual({
        org: { ...ORG, used: 2, activeLocks: 1 },
        devices: [
          { ...deviceRecord('a', 1), locked: false, lastSeen },
          { ...deviceRecord('b', 2), locked: true, lastSeen: undefined },
        ],
      })
    })
  })
}
