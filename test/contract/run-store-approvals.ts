import { describe, expect, test } from 'vitest'

import type { RunStoreUnderTest } from './run-store.ts'
import { bytes, newApproval, paused, runActions, runSave, TTL_MS } from './runs.ts'

/** Which calls wait for a person, and what the person says. R4. */
export function describeApprovals(under: () => RunStoreUnderTest): void {
  describe('approvals that wait', () => {
    test('are stored with everything a person must see, and expire at a fixed time', async () => {
      const at = under()
      await runActions(at.store).saved('run_1', paused(newApproval('call_1')))
      expect(await at.store.approvalsOf('run_1')).toEqual([
        {
          approvalId: 'approval_call_1',
          runId: 'run_1',
          caller: 'alice',
          agent: 'accounts',
          callId: 'call_1',
          tool: 'send_payment',
          digest: 'digest of call_1',
          schemaDigest: 'schema-1',
          surface: 'payments',
          arguments: bytes('{"call":"call_1"}'),
          state: 'waiting',
          message: undefined,
          decidedBy: undefined,
          askedAtMs: at.nowMs,
          expiresAtMs: at.nowMs + TTL_MS,
        },
      ])
    })

    test('of all runs are listed, the first to expire first, without those that have expired', async () => {
      const at = under()
      const { saved, approve } = runActions(at.store)
      await saved('run_1', paused(newApproval('slow'), newApproval('gone', { ttlMs: 5 })))
      await saved('run_2', paused(newApproval('fast', { ttlMs: 1000 }), newApproval('decided')))
      await approve('run_2', 'decided')
      at.nowMs += 5
      const calls = async (limit: number) =>
        (await at.store.waitingApprovals(limit)).map(({ callId }) => callId)
      expect(await calls(10)).toEqual(['fast', 'slow'])
      expect(await calls(1)).toEqual(['fast'])
    })

    test('keep record, decision and expiry when the run pauses again and their call still waits', async () => {
      const at = under()
      const { saved, claimed, approve, states, approval } = runActions(at.store)
      const calls = ['waits', 'approved', 'declined'].map((callId) => newApproval(callId))
      await saved('run_1', paused(...calls))
      await approve('run_1', 'approved')
      await at.store.decide('run_1', [{ approvalId: 'approval_declined', approve: false }], 'olga')
      const expiresAtMs = at.nowMs + TTL_MS
      at.nowMs += 1000
      const again = calls.map((one) => ({ ...one, approvalId: `again_${one.callId}` }))
      await at.store.save(await claimed('run_1'), paused(...again))
      expect(await states('run_1')).toEqual({ waits: 'waiting', approved: 'approved', declined: 'declined' })
      expect(await approval('run_1', 'approved')).toMatchObject({
        approvalId: 'approval_approved',
        decidedBy: 'olga',
        expiresAtMs,
      })
    })

    test('end when their call no longer waits, approved or not; one that was declined stays declined', async () => {
      const { store } = under()
      const { saved, claimed, approve, states } = runActions(store)
      await saved('run_1', paused(newApproval('call_1'), newApproval('call_2'), newApproval('call_3')))
      await approve('run_1', 'call_2')
      await store.decide('run_1', [{ approvalId: 'approval_call_3', approve: false }], 'olga')
      await store.save(await claimed('run_1'), runSave('completed'))
      expect(await states('run_1')).toEqual({ call_1: 'ended', call_2: 'ended', call_3: 'declined' })
    })

    test.each(['callId', 'tool', 'digest', 'schemaDigest', 'surface'] as const)(
      'another %s is another approval: the old one ends, and the new one waits',
      async (field) => {
        const { store } = under()
        const { saved, claimed, approve } = runActions(store)
        await saved('run_1', paused(newApproval('call_1')))
        await approve('run_1', 'call_1')
        const other = newApproval('call_1', { approvalId: 'other', [field]: 'other' })
        await store.save(await claimed('run_1'), paused(other))
        const records = await store.approvalsOf('run_1')
        expect(records.map(({ approvalId, state }) => [approvalId, state])).toEqual([
          ['approval_call_1', 'ended'],
          ['other', 'waiting'],
        ])
      },
    )

    test('the same call of another run is another approval', async () => {
      const { store } = under()
      const { saved, approve, states } = runActions(store)
      await saved('run_1', paused(newApproval('call_1')))
      await saved('run_2', paused(newApproval('call_1', { approvalId: 'other' })))
      await approve('run_1', 'call_1')
      expect(await states('run_2')).toEqual({ call_1: 'waiting' })
    })

    test.each(['waiting', 'approved'])(
      'one that is %s expires, and a new one is asked for',
      async (state) => {
        const at = under()
        const { saved, claimed, approve, states } = runActions(at.store)
        await saved('run_1', paused(newApproval('call_1')))
        if (state === 'approved') await approve('run_1', 'call_1')
        at.nowMs += TTL_MS - 1
        expect(await states('run_1')).toEqual({ call_1: state })
        at.nowMs += 1
        expect(await states('run_1')).toEqual({ call_1: 'expired' })
        await at.store.save(await claimed('run_1'), paused(newApproval('call_1', { approvalId: 'new' })))
        const records = await at.store.approvalsOf('run_1')
        expect(records.map((record) => [record.state, record.expiresAtMs])).toEqual([
          ['expired', at.nowMs],
          ['waiting', at.nowMs + TTL_MS],
        ])
      },
    )

    test('a decline never expires', async () => {
      const at = under()
      const { saved, states } = runActions(at.store)
      await saved('run_1', paused(newApproval('call_1')))
      await at.store.decide('run_1', [{ approvalId: 'approval_call_1', approve: false }], 'olga')
      at.nowMs += 100 * TTL_MS
      expect(await states('run_1')).toEqual({ call_1: 'declined' })
    })
  })

  describe('R4: decisions', () => {
    test('are stored together, with who decided and what the model is told', async () => {
      const { store } = under()
      const { saved, approval } = runActions(store)
      await saved('run_1', paused(newApproval('call_1'), newApproval('call_2')))
      const verdicts = [
        { approvalId: 'approval_call_1', approve: true },
        { approvalId: 'approval_call_2', approve: false, message: 'Ask finance first' },
      ]
      expect(await store.decide('run_1', verdicts, 'olga')).toBeUndefined()
      expect(await approval('run_1', 'call_1')).toMatchObject({ state: 'approved', decidedBy: 'olga' })
      expect(await approval('run_1', 'call_2')).toMatchObject({
        state: 'declined',
        decidedBy: 'olga',
        message: 'Ask finance first',
      })
    })

    test.each([
      ['is not there', 'no such approval', 'missing'],
      ['is of another run', 'approval_other', 'missing'],
      ['was decided', 'approval_decided', 'declined'],
      ['was decided a line above', 'approval_call_1', 'approved'],
    ])('none is stored when one %s', async (_name, approvalId, state) => {
      const { store } = under()
      const { saved, states } = runActions(store)
      await saved('run_1', paused(newApproval('call_1'), newApproval('decided')))
      await saved('run_2', paused(newApproval('other')))
      await store.decide('run_1', [{ approvalId: 'approval_decided', approve: false }], 'olga')
      const verdicts = [
        { approvalId: 'approval_call_1', approve: true },
        { approvalId, approve: true },
      ]
      expect(await store.decide('run_1', verdicts, 'olga')).toEqual({ approvalId, state })
      expect(await states('run_1')).toEqual({ call_1: 'waiting', decided: 'declined' })
      expect(await states('run_2')).toEqual({ other: 'waiting' })
      expect(await store.operatorLog({ limit: 10 })).toHaveLength(1)
    })

    test('come too late for one that has expired, also when the clock is set back', async () => {
      const at = under()
      const { saved, approve, states } = runActions(at.store)
      await saved('run_1', paused(newApproval('call_1')))
      const expired = { approvalId: 'approval_call_1', state: 'expired' }
      at.nowMs += TTL_MS
      expect(await approve('run_1', 'call_1')).toEqual(expired)
      at.nowMs -= TTL_MS
      expect(await approve('run_1', 'call_1')).toEqual(expired)
      expect(await states('run_1')).toEqual({ call_1: 'expired' })
    })

    test('of many at once on one approval one counts', async () => {
      const { store } = under()
      const { saved } = runActions(store)
      await saved('run_1', paused(newApproval('call_1')))
      const answers = await Promise.all(
        Array.from({ length: 10 }, (_, person) =>
          store.decide(
            'run_1',
            [{ approvalId: 'approval_call_1', approve: person % 2 === 0 }],
            `person ${person}`,
          ),
        ),
      )
      expect(answers.filter((answer) => answer === undefined)).toHaveLength(1)
      expect(await store.operatorLog({ limit: 10 })).toHaveLength(1)
    })
  })
}
