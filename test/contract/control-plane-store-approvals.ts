import { describe, expect, test } from 'vitest'

import type { ApprovalFilter, ApprovalRecord } from '../../src/control-plane/approvals/approval-store.ts'
import { deviceRecord, KEY, lockRecord, ORG } from './control-plane-records.ts'
import type { Fixture } from './control-plane-store.ts'

function approvalRecord(approvalId: string, changes: Partial<ApprovalRecord> = {}): ApprovalRecord {
  const { state = 'waiting' } = changes
  return {
    approvalId,
    runId: 'run-1',
    agent: 'assistant',
    caller: 'backend',
    callId: 'call_1',
    tool: 'send_payment',
    surface: 'payments',
    deviceIds: ['a:b:c', 'a:b:d'],
    digest: 'ab'.repeat(32),
    schemaDigest: 'cd'.repeat(32),
    argumentsJson: '{"text":"\u202e<b>é🙂"}',
    askedAtMs: 100,
    askedBy: KEY.keyId,
    expiresAtMs: 1_000,
    state,
    endedAtMs: state === 'waiting' ? null : 500,
    decidedBy: state === 'approved' || state === 'declined' ? 'operator:k' : null,
    message: state === 'declined' ? 'No.' : null,
    ...changes,
  }
}

export function describeApprovals(fixture: Fixture): void {
  const { addOrg, look, put, reopen, write } = fixture
  const list = async (filter: ApprovalFilter = {}, page: object = {}, orgId = ORG.orgId) => {
    const found = await fixture.store.listApprovals(orgId, filter, { limit: 100, maxBytes: 1e6, ...page })
    if (found === undefined) throw new Error('the org is missing')
    return found
  }
  const idsOf = ({ approvals }: { readonly approvals: readonly ApprovalRecord[] }) =>
    approvals.map(({ approvalId }) => approvalId)

  describe('approvals', () => {
    test('are kept as they were written, with the change that wrote them or not at all', async () => {
      const records = [approvalRecord('a1'), approvalRecord('a2', { state: 'declined' })]
      await write({ approvals: records })
      const failing = fixture.store.change(ORG.orgId, {}, () => {
        throw new Error('refused')
      })
      await expect(failing).rejects.toThrow('refused')
      await reopen()
      expect((await list()).approvals).toEqual(records)
      expect((await look({ approvals: ['a2', 'none', 'a1'] })).approvals).toEqual([records[1], records[0]])
      expect((await look()).approvals).toEqual([])
    })

    test('come first to expire first while they wait, then newest first, in pages', async () => {
      await write({
        approvals: [
          approvalRecord('late', { expiresAtMs: 900 }),
          approvalRecord('soon', { expiresAtMs: 300 }),
          approvalRecord('also-soon', { expiresAtMs: 300 }),
          approvalRecord('old', { state: 'approved', askedAtMs: 1 }),
          approvalRecord('new', { state: 'withdrawn', askedAtMs: 50 }),
        ],
      })
      const order = ['also-soon', 'soon', 'late', 'new', 'old']
      expect(idsOf(await list())).toEqual(order)
      expect(idsOf(await list({ ids: [...order].toSorted() }))).toEqual(order)
      for (const filter of [{}, { ids: order }]) {
        const paged: string[] = []
        let after
        do {
          const page = await list(filter, { limit: 2, after })
          paged.push(...idsOf(page))
          after = page.next ?? undefined
        } while (after !== undefined)
        expect(paged).toEqual(order)
      }
    })

    test('are found by state, run and ID', async () => {
      await write({
        approvals: [
          approvalRecord('a1'),
          approvalRecord('a2', { runId: 'run-2' }),
          approvalRecord('a3', { state: 'approved' }),
        ],
      })
      expect(idsOf(await list({ state: 'waiting' }))).toEqual(['a1', 'a2'])
      expect(idsOf(await list({ state: 'approved' }))).toEqual(['a3'])
      expect(idsOf(await list({ state: 'declined' }))).toEqual([])
      expect(idsOf(await list({ runId: 'run-2' }))).toEqual(['a2'])
      expect(idsOf(await list({ ids: ['a3', 'a2', 'a2', 'none'], state: 'waiting' }))).toEqual(['a2'])
    })

    test('of many bytes come in shorter pages, and never none', async () => {
      const long = JSON.stringify('x'.repeat(1000))
      await write({ approvals: ['a1', 'a2', 'a3'].map((id) => approvalRecord(id, { argumentsJson: long })) })
      const page = await list({}, { maxBytes: 2500 })
      expect(idsOf(page)).toEqual(['a1', 'a2'])
      expect(idsOf(await list({}, { maxBytes: 10, after: page.next }))).toEqual(['a3'])
    })

    test('come with the org, the devices they are about, and what is locked', async () => {
      await put(deviceRecord('a:b:c', 1), deviceRecord('x:y:z', 2))
      await write({ locks: [lockRecord('l1', 'a:b:*')], org: { ...ORG, activeLocks: 1, used: 2, epoch: 7 } })
      await write({ approvals: [approvalRecord('a1')] })
      const page = await list()
      expect(page.org.epoch).toBe(7)
      expect(page.devices.map(({ deviceId }) => deviceId)).toEqual(['a:b:c'])
      expect(page.lockedDevices).toEqual(new Set(['a:b:c', 'a:b:d']))
    })

    test('that wait are counted, of the org and of the key that brought them', async () => {
      await write({
        approvals: [
          approvalRecord('a1'),
          approvalRecord('a2', { askedBy: 'other' }),
          approvalRecord('a3', { state: 'expired' }),
        ],
      })
      expect((await list({ state: 'expired' }, { limit: 1 })).waiting).toBe(2)
      const counts = async (callerKeyId: string) =>
        (await look({ approvalCounts: true, callerKeyId })).approvalCounts
      expect(await counts(KEY.keyId)).toEqual({ waiting: 2, waitingOfKey: 1 })
      expect(await counts('nobody')).toEqual({ waiting: 2, waitingOfKey: 0 })
    })

    test('expire when their time has come, and only those that wait', async () => {
      await write({
        approvals: [
          approvalRecord('a1', { expiresAtMs: 10 }),
          approvalRecord('a2', { expiresAtMs: 11 }),
          approvalRecord('a3', { expiresAtMs: 10, state: 'approved' }),
        ],
      })
      expect(await fixture.store.expireApprovals(9, 10)).toBe(0)
      expect(await fixture.store.expireApprovals(10, 10)).toBe(1)
      expect((await list({ state: 'expired' })).approvals).toMatchObject([
        { approvalId: 'a1', endedAtMs: 10, decidedBy: null },
      ])
      expect(idsOf(await list({ state: 'waiting' }))).toEqual(['a2'])
    })

    test('are deleted some time after they ended; those that nobody decided go first when there are too many', async () => {
      await write({
        approvals: [
          approvalRecord('wait'),
          approvalRecord('yes', { state: 'approved', endedAtMs: 10 }),
          approvalRecord('x1', { state: 'expired', endedAtMs: 20 }),
          approvalRecord('x2', { state: 'withdrawn', endedAtMs: 30 }),
          approvalRecord('x3', { state: 'expired', endedAtMs: 40 }),
        ],
      })
      await write({ keepSpareApprovals: 2 })
      expect(idsOf(await list()).toSorted()).toEqual(['wait', 'x2', 'x3', 'yes'])
      expect(await fixture.store.pruneApprovals(30, 10)).toBe(1)
      expect(await fixture.store.pruneApprovals(1e9, 1)).toBe(1)
      expect(await fixture.store.pruneApprovals(1e9, 10)).toBe(1)
      expect(idsOf(await list())).toEqual(['wait'])
    })

    test('belong to their org', async () => {
      await addOrg({ orgId: 'o_other' }, 'key-of-other')
      await write({ approvals: [approvalRecord('a1')] })
      await write({ approvals: [approvalRecord('a1', { tool: 'another' })] }, 'o_other')
      expect((await list()).approvals[0]?.tool).toBe('send_payment')
      expect((await list({}, {}, 'o_other')).waiting).toBe(1)
      const missing = fixture.store.listApprovals('o_none', {}, { limit: 1, maxBytes: 1 })
      expect(await missing).toBeUndefined()
    })
  })
}
