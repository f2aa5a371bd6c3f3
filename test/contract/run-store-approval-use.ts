import { describe, expect, test } from 'vitest'

import type { EffectState } from '../../src/guard/journal.ts'
import { intent } from './intent.ts'
import type { RunStoreUnderTest } from './run-store.ts'
import { LEASE_MS, newApproval, paused, runActions, TTL_MS } from './runs.ts'

/** An approval is used once: by the first intent of its call, or by a call without effects. */
export function describeApprovalUse(under: () => RunStoreUnderTest): void {
  const unapproved = (problem: string) => ({ state: 'unapproved', problem })

  /** A run whose call waits, was approved, and is being resumed. */
  async function approved() {
    const at = under()
    const actions = runActions(at.store)
    await actions.saved('run_1', paused(newApproval('call_1')))
    await actions.approve('run_1', 'call_1')
    await actions.claimed('run_1')
    const journal = at.store.journal
    /** What an attempt under this approval ended as. */
    const ended = async (state: Exclude<EffectState, 'intent' | 'done'>, useToken: string) => {
      const begun = await actions.begin('call_1', useToken)
      if (begun.state !== 'begun') throw new Error(begun.state)
      await journal.settle(begun.token, { state })
    }
    const state = async () => (await actions.states('run_1'))['call_1']
    return { at, ...actions, journal, ended, state }
  }

  describe('an approval and the intent that uses it', () => {
    test('the first intent of the call uses it up', async () => {
      const { begin, state } = await approved()
      expect(await begin('call_1', 'use_1')).toMatchObject({ state: 'begun' })
      expect(await state()).toBe('used')
    })

    test('it covers every effect of that execution, and a repeat of one that failed', async () => {
      const { begin, ended } = await approved()
      await ended('failed', 'use_1')
      expect(await begin('call_1', 'use_1')).toMatchObject({ state: 'begun' })
      expect(await begin('call_1', 'use_1', { key: 'receipt' })).toMatchObject({ state: 'begun' })
    })

    test('of many executions at once one gets the effect', async () => {
      const { begin } = await approved()
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, execution) => begin('call_1', `use_${execution}`)),
      )
      expect(answers.filter((answer) => answer.state === 'begun')).toHaveLength(1)
      expect(answers.filter((answer) => answer.state === 'running')).toHaveLength(19)
    })

    test.each(['failed', 'denied'] as const)(
      'another execution does not repeat an effect that has %s',
      async (outcome) => {
        const { begin, ended, journal } = await approved()
        await ended(outcome, 'use_1')
        expect(await begin('call_1', 'use_2')).toEqual(unapproved('used'))
        expect(await journal.listRun({ caller: 'alice', runId: 'run_1' })).toMatchObject([{ state: outcome }])
      },
    )

    test('an execution after a crash replays what is done, and begins what never began', async () => {
      const { begin, journal } = await approved()
      const begun = await begin('call_1', 'use_1')
      if (begun.state !== 'begun') throw new Error(begun.state)
      await journal.settle(begun.token, { state: 'done', result: '"paid"' })
      expect(await begin('call_1', 'use_2')).toEqual({ state: 'done', result: '"paid"' })
      expect(await begin('call_1', 'use_2', { key: 'receipt' })).toMatchObject({ state: 'begun' })
    })

    test('an execution after a crash takes over what nobody knows the outcome of', async () => {
      const { at, begin } = await approved()
      await begin('call_1', 'use_1')
      expect(await begin('call_1', 'use_2', { retakeUnknown: true })).toEqual({ state: 'running' })
      at.nowMs += LEASE_MS
      expect(await begin('call_1', 'use_2')).toMatchObject({ state: 'unknown' })
      expect(await begin('call_1', 'use_2', { retakeUnknown: true })).toMatchObject({ state: 'begun' })
    })

    test('also when somebody asked about it in between, and could not tell', async () => {
      const { begin, ended, journal } = await approved()
      await ended('unknown', 'use_1')
      const asked = { leaseMs: LEASE_MS, retakeUnknown: true }
      const asking = await journal.begin(intent('effect of call_1'), asked)
      if (asking.state !== 'begun') throw new Error(asking.state)
      await journal.settle(asking.token, { state: 'unknown' })
      expect(await begin('call_1', 'use_2', { retakeUnknown: true })).toMatchObject({ state: 'begun' })
    })

    test('but not for ever: past its expiry a later execution begins nothing, and takes nothing over', async () => {
      const { at, begin, ended } = await approved()
      await ended('unknown', 'use_1')
      at.nowMs += TTL_MS - 1
      const receipt = { key: 'receipt' }
      expect(await begin('call_1', 'use_2', receipt)).toMatchObject({ state: 'begun' })
      at.nowMs += 1
      expect(await begin('call_1', 'use_2', { retakeUnknown: true })).toEqual(unapproved('expired'))
      expect(await begin('call_1', 'use_2', { key: 'letter' })).toEqual(unapproved('expired'))
    })

    test('but not what began under another approval, or under none', async () => {
      const { begin, ended, journal, at } = await approved()
      await ended('failed', 'use_1')
      const foreign = await journal.begin(intent('refund'), { leaseMs: LEASE_MS })
      if (foreign.state !== 'begun') throw new Error(foreign.state)
      at.nowMs += LEASE_MS
      expect(await begin('call_1', 'use_2', { key: 'refund', retakeUnknown: true })).toEqual(
        unapproved('used'),
      )
    })

    test.each([
      ['caller', { caller: 'bob' }],
      ['run', { runId: 'run_2' }],
      ['call', { callId: 'call_2' }],
    ])('it does not cover another %s', async (_name, other) => {
      const { state, journal, begin } = await approved()
      const approval = { approvalId: 'approval_call_1', useToken: 'use_1' }
      const answer = await journal.begin(intent('k', other), { leaseMs: LEASE_MS, approval })
      expect(answer).toEqual(unapproved('missing'))
      expect(await state()).toBe('approved')
      expect(await journal.listRun({ caller: 'alice', runId: 'run_1', ...other })).toEqual([])
      expect(await begin('call_1', 'use_1')).toMatchObject({ state: 'begun' })
    })

    test('one that waits, was declined or has ended covers nothing', async () => {
      const { store } = under()
      const { saved, begin, claimed } = runActions(store)
      await saved('run_1', paused(newApproval('call_1'), newApproval('call_2')))
      await store.decide('run_1', [{ approvalId: 'approval_call_2', approve: false }], 'olga')
      expect(await begin('call_1', 'use_1')).toEqual(unapproved('missing'))
      expect(await begin('call_2', 'use_1')).toEqual(unapproved('missing'))
      await store.save(await claimed('run_1'), paused())
      expect(await begin('call_1', 'use_1')).toEqual(unapproved('missing'))
      expect(await store.journal.listRun({ caller: 'alice', runId: 'run_1' })).toEqual([])
    })

    test('one that was approved and has expired covers nothing, also when the clock is set back', async () => {
      const { at, begin, state } = await approved()
      at.nowMs += TTL_MS - 1
      expect(await state()).toBe('approved')
      at.nowMs += 1
      expect(await begin('call_1', 'use_1')).toEqual(unapproved('expired'))
      at.nowMs -= TTL_MS
      expect(await begin('call_1', 'use_1')).toEqual(unapproved('expired'))
      expect(await state()).toBe('expired')
    })

    test('one that was used in time covers its execution, however long that takes', async () => {
      const { at, begin } = await approved()
      await begin('call_1', 'use_1')
      at.nowMs += TTL_MS
      expect(await begin('call_1', 'use_1', { key: 'receipt' })).toMatchObject({ state: 'begun' })
    })
  })

  describe('an approval and a call without effects', () => {
    test('the first execution uses it up, and again only itself', async () => {
      const { at, state, begin } = await approved()
      const use = (useToken: string) => at.store.useApproval({ approvalId: 'approval_call_1', useToken })
      const tokens = ['use_1', 'use_2', 'use_3']
      const answers = await Promise.all(tokens.map(use))
      expect(answers.toSorted()).toEqual(['used', 'used', undefined])
      const winner = tokens[answers.indexOf(undefined)] as string
      expect(await use(winner)).toBeUndefined()
      expect(await state()).toBe('used')
      expect(await begin('call_1', winner)).toMatchObject({ state: 'begun' })
    })

    test('one that is missing, waits, was declined or has expired cannot be used', async () => {
      const at = under()
      const { saved, approve, states } = runActions(at.store)
      const calls = ['waits', 'declined', 'expired'].map((callId) => newApproval(callId))
      await saved('run_1', paused(...calls))
      await at.store.decide('run_1', [{ approvalId: 'approval_declined', approve: false }], 'olga')
      const use = (callId: string) =>
        at.store.useApproval({ approvalId: `approval_${callId}`, useToken: 'use_1' })
      expect([await use('nobody'), await use('waits'), await use('declined')]).toEqual(
        Array(3).fill('missing'),
      )
      await approve('run_1', 'expired')
      at.nowMs += TTL_MS
      expect(await use('expired')).toBe('expired')
      at.nowMs -= TTL_MS
      expect(await use('expired')).toBe('expired')
      expect(await states('run_1')).toMatchObject({ expired: 'expired' })
    })
  })
}
