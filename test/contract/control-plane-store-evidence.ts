import { describe, expect, test } from 'vitest'

import { rowHash } from '../../src/control-plane/audit-chain.ts'
import { uuidv7 } from '../../src/control-plane/ids.ts'
import type { AuditRow, DecisionRecord, LastSeen } from '../../src/control-plane/records.ts'
import type { AuditFilter, DecisionBatch, DecisionFilter } from '../../src/control-plane/store.ts'
import { auditEntry, decisionRecord, deviceRecord, ORG } from './control-plane-records.ts'
import type { Fixture } from './control-plane-store.ts'

export function describeEvidence(fixture: Fixture): void {
  const { write, put, reopen, addOrg } = fixture
  const audit = (orgId: string = ORG.orgId) => fixture.store.listAudit(orgId, { after: 0, limit: 1000 })

  describe('the audit chain', () => {
    test('G8: gives back every entry as it was, each bound to the one before', async () => {
      const entry = auditEntry('device.revoke', {
        atMs: 1_700_000_000_000,
        actor: 'k',
        actorKind: 'stop',
        requestId: uuidv7(5),
        origin: '10.0.0.7',
        deviceId: 'a:b',
        reason: 'leak "7" \u{1F6D1}',
        before: { revoked: false, epoch: 0 },
        after: { revoked: true, list: [1, null, 'x'], nested: { z: 1, a: 2 } },
      })
      await write({ audit: [entry, auditEntry('second')] })
      await write({ audit: [auditEntry('third')] })
      await reopen()
      const rows = await audit()
      expect(rows[1]).toMatchObject({ ...entry, orgId: ORG.orgId, seq: 2 })
      expect(rows.map(({ seq, action }) => `${seq} ${action}`)).toEqual([
        '1 org.create',
        '2 device.revoke',
        '3 second',
        '4 third',
      ])
      expectChain(rows)
    })

    test('is one for each org', async () => {
      await addOrg({ orgId: 'o_other' }, 'key-of-other')
      for (let turn = 0; turn < 3; turn++) {
        await write({ audit: [auditEntry('here')] })
        await write({ audit: [auditEntry('there')] }, 'o_other')
      }
      expect((await audit()).map(({ seq }) => seq)).toEqual([1, 2, 3, 4])
      expectChain(await audit())
      expect((await audit('o_other')).map(({ seq }) => seq)).toEqual([1, 2, 3])
      expectChain(await audit('o_other'))
    })

    test('still adds up when a text cannot be stored as it came', async () => {
      const odd = { reason: 'lone \ud800 surrogate', origin: '\udfff' }
      await write({ audit: [auditEntry('odd', { ...odd, after: odd, before: 0 }), auditEntry('next')] })
      const rows = await audit()
      expectChain(rows)
      expect(rows[1]).toMatchObject({ reason: expect.stringMatching(/^lone . surrogate$/), before: 0 })
    })

    test('has a last row, to be noted elsewhere', async () => {
      await write({ audit: [auditEntry('a'), auditEntry('b')] })
      const { seq, hash } = (await audit()).at(-1) as AuditRow
      expect(await fixture.store.auditHead(ORG.orgId)).toEqual({ seq, hash })
      expect(await fixture.store.auditHead('o_none')).toBeUndefined()
    })

    test('is read in pages', async () => {
      await write({ audit: ['a', 'b', 'c'].map((action) => auditEntry(action)) })
      const page = async (after: number, limit: number) =>
        (await fixture.store.listAudit(ORG.orgId, { after, limit })).map(({ action }) => action)
      expect(await page(0, 2)).toEqual(['org.create', 'a'])
      expect(await page(2, 2)).toEqual(['b', 'c'])
      expect(await page(4, 2)).toEqual([])
    })

    test('is searched a bounded part at a time, in both directions, also where rows are missing', async () => {
      const device = (deviceId: string) => ({ deviceId, atMs: 5_000, actor: 'k1' })
      await write({
        audit: [
          auditEntry('device.revoke', device('a:b:1')),
          auditEntry('device.revoke', device('a:c:1')),
          auditEntry('lock.add', { after: { pattern: 'a:*' }, atMs: 9_000 }),
          auditEntry('device', { after: { pattern: 7 } }),
        ],
      })
      const search = async (
        filter: AuditFilter,
        order: 'oldest' | 'newest' = 'oldest',
        from = order === 'oldest' ? 0 : 100,
        limit = 100,
      ) => {
        const found = await fixture.store.searchAudit(ORG.orgId, filter, { order, from, limit })
        return [found.rows.map(({ seq }) => seq), found.lookedTo]
      }
      expect(await search({})).toEqual([[1, 2, 3, 4, 5], null])
      expect(await search({}, 'newest')).toEqual([[5, 4, 3, 2, 1], null])
      expect(await search({}, 'oldest', 1, 2)).toEqual([[2, 3], 3])
      expect(await search({}, 'newest', 4, 2)).toEqual([[3, 2], 2])
      expect(await search({ action: 'lock.add' }, 'oldest', 0, 3)).toEqual([[], 3])
      expect(await search({ action: 'device' })).toEqual([[2, 3, 5], null])
      expect(await search({ action: 'dev' })).toEqual([[], null])
      expect(await search({ device: 'a:b:*' })).toEqual([[2, 4], null])
      expect(await search({ device: 'a:c:1' }, 'newest')).toEqual([[4, 3], null])
      expect(await search({ device: 'z' })).toEqual([[], null])
      expect(await search({ actor: 'k1', fromMs: 5_000, toMs: 5_001 })).toEqual([[2, 3], null])
      expect(await search({ actor: 'k1', toMs: 5_000 })).toEqual([[], null])
      expect(await search({ fromMs: 9_000, toMs: 9_001 })).toEqual([[4], null])
      await addOrg({ orgId: 'o_other' }, 'key-of-other')
      const page = { order: 'oldest', from: 0, limit: 9 } as const
      expect(await fixture.store.searchAudit('o_other', {}, page)).toEqual({ rows: [], lookedTo: null })
    })

    test('answers the newest row of some actions, about a device or about none, until a time', async () => {
      const at = (action: string, atMs: number, deviceId: string | null = null) =>
        auditEntry(action, { atMs, deviceId })
      await write({
        audit: [
          at('device.revoke', 10, 'a'),
          at('device.revoke', 20, 'b'),
          at('device.unrevoke', 30, 'a'),
          at('org.disable', 40),
          at('device.revoke', 50, 'a'),
          at('device.revoke', 60),
        ],
      })
      const find = async (actions: string[], untilMs: number, deviceId?: string) =>
        (await fixture.store.findAudit(ORG.orgId, { actions, untilMs, deviceId }))?.seq
      expect(await find(['device.revoke'], 100, 'a')).toBe(6)
      expect(await find(['device.revoke'], 50, 'a')).toBe(6)
      expect(await find(['device.revoke'], 49, 'a')).toBe(2)
      expect(await find(['device.revoke', 'device.unrevoke'], 49, 'a')).toBe(4)
      expect(await find(['device.revoke'], 100)).toBe(7)
      expect(await find(['device.revoke'], 59)).toBeUndefined()
      expect(await find(['org.disable', 'org.enable'], 100)).toBe(5)
      expect(await find(['device.revoke'], 9, 'a')).toBeUndefined()
      expect(await find(['device.revoke'], 100, 'c')).toBeUndefined()
      expect(await find(['org.enable'], 100)).toBeUndefined()
      expect(await find([], 100)).toBeUndefined()
      const before = async (beforeSeq: number) =>
        (
          await fixture.store.findAudit(ORG.orgId, {
            actions: ['device.revoke', 'device.unrevoke'],
            deviceId: 'a',
            untilMs: 100,
            beforeSeq,
          })
        )?.seq
      expect([await before(7), await before(6), await before(4), await before(2)]).toEqual([
        6,
        4,
        2,
        undefined,
      ])
      await addOrg({ orgId: 'o_other' }, 'key-of-other')
      expect(
        await fixture.store.findAudit('o_other', { actions: ['org.disable'], untilMs: 100 }),
      ).toBeUndefined()
    })
  })

  const record = (batch: Partial<DecisionBatch>) =>
    fixture.store.recordDecisions({ decisions: [], keysUsed: new Map(), devicesSeen: new Map(), ...batch })
  const list = (filter: DecisionFilter = {}, page: { before?: string; limit?: number } = {}) =>
    fixture.store.listDecisions(ORG.orgId, filter, { limit: 100, ...page })

  describe('decisions', () => {
    test('G8: are kept as they were made, each device of a question in its place', async () => {
      const first = decisionRecord(1_000, { runId: 'run', replica: 'r1' })
      const second = {
        ...first,
        ordinal: 2,
        deviceId: 'c',
        code: 'DEVICE_NOT_REGISTERED',
        boundary: null,
        tool: null,
        callId: null,
      }
      const registered = decisionRecord(2_000, { asked: 'register', code: 'DEVICE_REMOVED' })
      await record({ decisions: [second, first, registered] })
      await reopen()
      expect(await list()).toEqual([registered, first, second])
      expect(await list({ requestId: first.requestId })).toEqual([first, second])
      expect(await list({ requestId: uuidv7(1_000) })).toEqual([])
    })

    test('come newest first, in pages', async () => {
      const decisions = [1, 2, 3, 4, 5].map((second) => decisionRecord(second * 1_000))
      await record({ decisions: decisions.slice(2) })
      // What another lane has seen comes later.
      await record({ decisions: decisions.slice(0, 2) })
      const ids = decisions.map(({ requestId }) => requestId).reverse()
      const page = async (before?: string) =>
        (await list({}, { limit: 2, ...(before !== undefined && { before }) })).map(
          ({ requestId }) => requestId,
        )
      expect(await page()).toEqual(ids.slice(0, 2))
      expect(await page(ids[1])).toEqual(ids.slice(2, 4))
      expect(await page(ids[3])).toEqual(ids.slice(4))
      expect(await page(ids[4])).toEqual([])
    })

    test('are filtered by each of what a filter names, and by all of it', async () => {
      const [a, b, c] = [
        decisionRecord(100_000, { deviceId: 'x:y:1', code: 'ALLOW', boundary: 'task' }),
        decisionRecord(200_000, { deviceId: 'x:y:2', code: 'DEVICE_REVOKED', boundary: 'tool' }),
        decisionRecord(300_000, { deviceId: 'x:z:1', code: 'ORG_DISABLED', boundary: null }),
      ] as [DecisionRecord, DecisionRecord, DecisionRecord]
      await record({ decisions: [a, b, c] })
      expect(await list({ device: 'x:y:1' })).toEqual([a])
      expect(await list({ device: 'x:y:*' })).toEqual([b, a])
      expect(await list({ device: 'x:*:1' })).toEqual([c, a])
      expect(await list({ code: 'DEVICE_REVOKED' })).toEqual([b])
      expect(await list({ boundary: 'task' })).toEqual([a])
      expect(await list({ allowed: true })).toEqual([a])
      expect(await list({ allowed: false })).toEqual([c, b])
      expect(await list({ fromMs: 200_000 })).toEqual([c, b])
      expect(await list({ fromMs: 200_001 })).toEqual([c])
      expect(await list({ toMs: 200_000 })).toEqual([a])
      expect(await list({ fromMs: 100_000, toMs: 300_000 })).toEqual([b, a])
      expect(await list({ fromMs: 0, toMs: 0 })).toEqual([])
      expect(await list({ device: 'x:*', allowed: false, boundary: 'tool', toMs: 250_000 })).toEqual([b])
      expect(await list({ device: 'x:*', allowed: true, boundary: 'tool' })).toEqual([])
    })

    test('are found by when they were made, though their question had come a little earlier', async () => {
      const slow = decisionRecord(10_000, { requestId: uuidv7(9_000) })
      await record({ decisions: [slow] })
      expect(await list({ fromMs: 10_000, toMs: 10_001 })).toEqual([slow])
      expect(await list({ fromMs: 9_000, toMs: 10_000 })).toEqual([])
    })

    test('belong to their org', async () => {
      await addOrg({ orgId: 'o_other' }, 'key-of-other')
      const other = decisionRecord(1_000, { orgId: 'o_other' })
      await record({ decisions: [other] })
      expect(await list()).toEqual([])
      expect(await list({ requestId: other.requestId })).toEqual([])
      expect(await fixture.store.listDecisions('o_other', {}, { limit: 9 })).toEqual([other])
    })

    test('that are recorded twice are there once', async () => {
      const decision = decisionRecord(1_000)
      await record({ decisions: [decision] })
      await record({ decisions: [decision, decisionRecord(2_000)] })
      expect(await list()).toHaveLength(2)
    })

    test('that are old are deleted a limited number at a time, in every org', async () => {
      await addOrg({ orgId: 'o_other' }, 'key-of-other')
      const at = (seconds: number[], orgId: string) =>
        seconds.map((s) => decisionRecord(s * 1_000, { orgId }))
      await record({ decisions: [...at([1, 2, 3, 8], ORG.orgId), ...at([1, 4, 9], 'o_other')] })
      const prune = (limit: number) => fixture.store.pruneDecisions(8_000, limit)
      expect([await prune(2), await prune(2), await prune(2), await prune(2)]).toEqual([2, 2, 1, 0])
      const left = [...(await list()), ...(await fixture.store.listDecisions('o_other', {}, { limit: 9 }))]
      expect(left.map(({ atMs }) => atMs)).toEqual([8_000, 9_000])
    })
  })

  describe('what a device was last told', () => {
    const seen = async (deviceId: string) =>
      (await fixture.store.listDevices(ORG.orgId, {}))?.devices.find((device) => device.deviceId === deviceId)
        ?.lastSeen
    const told = (deviceId: string, lastSeen: LastSeen) =>
      record({ devicesSeen: new Map([[ORG.orgId, new Map([[deviceId, lastSeen]])]]) })

    test('is the newest of all batches, and changes nothing of the device', async () => {
      await put(deviceRecord('a', 1), deviceRecord('b', 2))
      const newer = { atMs: 20, code: 'DEVICE_REVOKED', keyId: 'k-2' }
      await told('a', newer)
      await told('a', { atMs: 10, code: 'ALLOW', keyId: 'k-1' })
      expect(await seen('a')).toEqual(newer)
      expect(await seen('b')).toBeUndefined()
      await told('a', { atMs: 30, code: 'ALLOW', keyId: 'k-1' })
      expect(await seen('a')).toEqual({ atMs: 30, code: 'ALLOW', keyId: 'k-1' })
      expect((await fixture.look({ devices: { ids: ['a'] } })).devices).toEqual([deviceRecord('a', 1)])
    })

    test('is not kept of a device that is not there', async () => {
      await told('a', { atMs: 20, code: 'DEVICE_NOT_REGISTERED', keyId: 'k' })
      await put(deviceRecord('a', 1))
      expect(await seen('a')).toBeUndefined()
    })
  })
}

function expectChain(rows: readonly AuditRow[]): void {
  let prevHash = '0'.repeat(64)
  for (const [index, row] of rows.entries()) {
    expect(row).toMatchObject({ seq: index + 1, prevHash, hash: rowHash(row) })
    prevHash = row.hash
  }
}
