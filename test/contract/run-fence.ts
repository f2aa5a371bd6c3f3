import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import type { RunStore } from '../../src/agents/hosted/run-store.ts'
import { intent } from './intent.ts'
import { LEASE_MS, newApproval, paused, runActions, runSave } from './runs.ts'

/** C8: what the journal of every run store must do for an intent that belongs to a claim of a run. */
export function describeRunFence(
  name: string,
  create: (nowMs: () => number) => RunStore | Promise<RunStore>,
): void {
  const unclaimed = { state: 'unclaimed' }

  describe(`an intent under the claim of its run: ${name}`, () => {
    let store: RunStore
    let now: number
    beforeEach(async () => {
      now = 1_700_000_000_000
      store = await create(() => now)
    })
    afterEach(() => store.close())

    async function claimedRun() {
      const token = await runActions(store).created('run_1')
      const begin = (fence = { runId: 'run_1', token }, key = 'k') =>
        store.journal.begin(intent(key), { leaseMs: LEASE_MS, fence })
      return { token, begin, journal: store.journal }
    }

    test('begins while the claim holds', async () => {
      const { begin } = await claimedRun()
      expect(await begin()).toMatchObject({ state: 'begun' })
    })

    test('begins to the last millisecond of the lease, and no longer', async () => {
      const { begin, journal } = await claimedRun()
      now += LEASE_MS - 1
      expect(await begin()).toMatchObject({ state: 'begun' })
      now += 1
      expect(await begin(undefined, 'other')).toEqual(unclaimed)
      expect(await journal.listRun({ caller: 'alice', runId: 'run_1' })).toHaveLength(1)
    })

    test('begins on while the claim is renewed', async () => {
      const { begin, token } = await claimedRun()
      now += LEASE_MS - 1
      await store.renew(token, LEASE_MS)
      now += LEASE_MS - 1
      expect(await begin()).toMatchObject({ state: 'begun' })
    })

    test('does not begin once somebody asked for the run to be cancelled', async () => {
      const { begin } = await claimedRun()
      expect(await store.cancel('run_1', 'olga', undefined)).toBe('requested')
      expect(await begin()).toEqual(unclaimed)
    })

    test('does not begin after the run was saved, whoever claims it then', async () => {
      const { begin, token } = await claimedRun()
      await store.save(token, paused(newApproval('call_1')))
      expect(await begin()).toEqual(unclaimed)
      const next = await runActions(store).claimed('run_1')
      expect(await begin()).toEqual(unclaimed)
      expect(await begin({ runId: 'run_1', token: next })).toMatchObject({ state: 'begun' })
    })

    test('does not begin under the claim of another run, or under none that ever was', async () => {
      const { begin } = await claimedRun()
      const other = await runActions(store).created('run_2')
      expect(await begin({ runId: 'run_1', token: other })).toEqual(unclaimed)
      expect(await begin({ runId: 'run_1', token: '' })).toEqual(unclaimed)
    })

    test('uses up no approval, and leaves the attempt before it as it was', async () => {
      const { journal } = await claimedRun()
      const actions = runActions(store)
      await actions.saved('run_2', paused(newApproval('call_1')))
      await actions.approve('run_2', 'call_1')
      const approval = { approvalId: 'approval_call_1', useToken: 'use_1' }
      const fence = { runId: 'run_2', token: 'lost' }
      const asked = intent('k', { runId: 'run_2' })
      expect(await journal.begin(asked, { leaseMs: LEASE_MS, approval, fence })).toEqual(unclaimed)
      expect(await actions.states('run_2')).toEqual({ call_1: 'approved' })

      const first = await journal.begin(intent('other'), { leaseMs: LEASE_MS })
      if (first.state !== 'begun') throw new Error(first.state)
      await journal.settle(first.token, { state: 'unknown' })
      const retake = { leaseMs: LEASE_MS, retakeUnknown: true, fence }
      expect(await journal.begin(intent('other'), retake)).toEqual(unclaimed)
      expect(await journal.settle(first.token, { state: 'done', result: '"late"' })).toBe(true)
    })

    test('is told first that nothing would begin anyway', async () => {
      const { begin, journal, token } = await claimedRun()
      const begun = await begin()
      if (begun.state !== 'begun') throw new Error(begun.state)
      await journal.settle(begun.token, { state: 'done', result: '1' })
      await store.save(token, runSave('completed'))
      expect(await begin()).toEqual({ state: 'done', result: '1' })
    })
  })
}
