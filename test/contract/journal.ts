import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import type { Intent, Journal } from '../../src/guard/journal.ts'
import { DEADLINE_MS, intent } from './intent.ts'

const LEASE_MS = 60_000

/** What every journal must do, whatever it stores in. `create` gets the clock that the test moves. */
export function describeJournal(
  name: string,
  create: (nowMs: () => number) => Journal | Promise<Journal>,
): void {
  describe(`journal: ${name}`, () => {
    let now = 1_700_000_000_000
    let journal: Journal
    const begin = (what: Intent = intent(), retakeUnknown = false) =>
      journal.begin(what, { leaseMs: LEASE_MS, retakeUnknown })
    const begun = async (what: Intent = intent(), retakeUnknown = false): Promise<string> => {
      const answer = await begin(what, retakeUnknown)
      if (answer.state !== 'begun') throw new Error(`expected an owner, got ${answer.state}`)
      return answer.token
    }
    const everythingPasses = () => (now += Math.max(LEASE_MS, DEADLINE_MS))

    beforeEach(async () => {
      journal = await create(() => now)
    })
    afterEach(() => journal.close())

    test('E1: while an owner is at it, a second one is told that it runs', async () => {
      await begun()
      expect(await begin()).toEqual({ state: 'running' })
    })

    test('E1: of many that begin at once one becomes the owner', async () => {
      const answers = await Promise.all(Array.from({ length: 20 }, () => begin()))
      expect(answers.filter((answer) => answer.state === 'begun')).toHaveLength(1)
      expect(answers.filter((answer) => answer.state === 'running')).toHaveLength(19)
    })

    test('other keys have owners of their own', async () => {
      await begun(intent('a'))
      expect((await begin(intent('b'))).state).toBe('begun')
    })

    test('a key that is done gives its stored result', async () => {
      await journal.settle(await begun(), { state: 'done', result: '{"receipt":1}' })
      expect(await begin()).toEqual({ state: 'done', result: '{"receipt":1}' })
    })

    test('a result that could not be stored is done all the same', async () => {
      await journal.settle(await begun(), { state: 'done', result: undefined })
      expect(await begin()).toEqual({ state: 'done', result: undefined })
    })

    test('E2: done never changes: not by its own token, not by time, not by an operator', async () => {
      const token = await begun()
      await journal.settle(token, { state: 'done', result: '1' })
      expect(await journal.settle(token, { state: 'failed' })).toBe(false)
      expect(await journal.settle(token, { state: 'done', result: '2' })).toBe(false)
      everythingPasses()
      expect(await journal.resolveUnknown('k', { state: 'failed' })).toBe(false)
      expect(await begin(intent(), true)).toEqual({ state: 'done', result: '1' })
    })

    test.each(['failed', 'denied'] as const)('%s frees the key, also for other arguments', async (state) => {
      const first = await begun()
      expect(await journal.settle(first, { state })).toBe(true)
      const second = await begun(intent('k', { inputDigest: 'digest-2' }))
      expect(second).not.toBe(first)
      expect(await journal.settle(first, { state: 'done', result: undefined })).toBe(false)
      expect(await begin(intent('k', { inputDigest: 'digest-2' }))).toEqual({ state: 'running' })
    })

    test.each(['intent', 'done', 'unknown'] as const)(
      'a key that is %s refuses other arguments',
      async (state) => {
        const token = await begun()
        if (state === 'done') await journal.settle(token, { state, result: '1' })
        if (state === 'unknown') await journal.settle(token, { state })
        expect(await begin(intent('k', { inputDigest: 'digest-2' }), true)).toEqual({ state: 'conflict' })
      },
    )

    test('an intent stays running until its lease and its deadline have passed, then it is unknown', async () => {
      const startedAt = now
      await begun(intent('k', { deadlineMs: 2 * LEASE_MS }))
      now = startedAt + LEASE_MS
      expect(await begin()).toEqual({ state: 'running' })
      now = startedAt + 2 * LEASE_MS - 1
      expect(await begin()).toEqual({ state: 'running' })
      now = startedAt + 2 * LEASE_MS
      expect(await begin()).toEqual({ state: 'unknown', sinceFirstAttemptMs: 2 * LEASE_MS })
    })

    test('a sign of life keeps an owner', async () => {
      const token = await begun()
      now += LEASE_MS - 1
      expect(await journal.renew(token, LEASE_MS)).toBe(true)
      now += LEASE_MS - 1
      expect(await begin()).toEqual({ state: 'running' })
      now += 1
      expect((await begin()).state).toBe('unknown')
      expect(await journal.renew(token, LEASE_MS)).toBe(false)
    })

    test('no sign of life helps an attempt that has ended', async () => {
      const token = await begun()
      await journal.settle(token, { state: 'failed' })
      expect(await journal.renew(token, LEASE_MS)).toBe(false)
      expect(await journal.renew('no such token', LEASE_MS)).toBe(false)
      expect(await journal.settle('no such token', { state: 'failed' })).toBe(false)
    })

    test('E3: time alone never makes an unknown begin again', async () => {
      await begun()
      everythingPasses()
      expect((await begin()).state).toBe('unknown')
      now += 365 * 24 * 60 * 60 * 1000
      expect((await begin()).state).toBe('unknown')
    })

    test('E3: the late outcome of an unknown is its outcome', async () => {
      const token = await begun()
      everythingPasses()
      expect((await begin()).state).toBe('unknown')
      expect(await journal.settle(token, { state: 'done', result: '"late"' })).toBe(true)
      expect(await begin()).toEqual({ state: 'done', result: '"late"' })
    })

    test('E3: of many retakes one wins, and what the loser says afterwards counts no more', async () => {
      const first = await begun()
      await journal.settle(first, { state: 'unknown' })
      const answers = await Promise.all(Array.from({ length: 10 }, () => begin(intent(), true)))
      expect(answers.filter((answer) => answer.state === 'begun')).toHaveLength(1)
      expect(answers.filter((answer) => answer.state === 'running')).toHaveLength(9)
      expect(await journal.settle(first, { state: 'done', result: '"old"' })).toBe(false)
      expect(await begin()).toEqual({ state: 'running' })
    })

    test('a retake counts from the first attempt, a key that was freed from the new one', async () => {
      await journal.settle(await begun(), { state: 'unknown' })
      now += 1000
      const retaken = await begun(intent(), true)
      await journal.settle(retaken, { state: 'unknown' })
      now += 1000
      expect(await begin()).toEqual({ state: 'unknown', sinceFirstAttemptMs: 2000 })
      await journal.resolveUnknown('k', { state: 'failed' })
      await journal.settle(await begun(), { state: 'unknown' })
      now += 500
      expect(await begin()).toEqual({ state: 'unknown', sinceFirstAttemptMs: 500 })
    })

    test('E3: an operator settles an unknown, once', async () => {
      await begun()
      expect(await journal.resolveUnknown('k', { state: 'done', result: '1' })).toBe(false)
      everythingPasses()
      expect(await journal.resolveUnknown('k', { state: 'done', result: '1' })).toBe(true)
      expect(await journal.resolveUnknown('k', { state: 'failed' })).toBe(false)
      expect(await journal.resolveUnknown('no such key', { state: 'failed' })).toBe(false)
      expect(await begin()).toEqual({ state: 'done', result: '1' })
    })

    test('the oldest unknown is the one whose first attempt is', async () => {
      await journal.settle(await begun(intent('freed')), { state: 'failed' })
      now += 1
      await journal.settle(await begun(intent('first')), { state: 'unknown' })
      now += 1
      await journal.settle(await begun(intent('freed')), { state: 'unknown' })
      now += 1
      await journal.settle(await begun(intent('first'), true), { state: 'unknown' })
      expect((await journal.listUnknown()).map((entry) => entry.key)).toEqual(['first', 'freed'])
    })

    test('an operator is shown unknown outcomes, oldest first, with what was asked', async () => {
      const startedAt = now
      await begun(intent('expired'))
      now += 1
      await journal.settle(await begun(intent('told', { runId: undefined, input: undefined })), {
        state: 'unknown',
      })
      await journal.settle(await begun(intent('done')), { state: 'done', result: undefined })
      expect((await journal.listUnknown()).map((entry) => entry.key)).toEqual(['told'])
      expect(await journal.countUnknown()).toBe(1)
      now = startedAt + LEASE_MS
      await begun(intent('young'))
      const unknown = await journal.listUnknown()
      expect(unknown).toEqual([
        {
          ...intent('expired'),
          state: 'unknown',
          changedAtMs: now,
          sinceFirstAttemptMs: LEASE_MS,
        },
        {
          ...intent('told', { runId: undefined, input: undefined }),
          state: 'unknown',
          changedAtMs: startedAt + 1,
          sinceFirstAttemptMs: LEASE_MS - 1,
        },
      ])
    })

    test('unknown outcomes are counted as they are listed: from the instant that lease and deadline have passed', async () => {
      expect(await journal.countUnknown()).toBe(0)
      await begun(intent('short'))
      await begun(intent('long', { deadlineMs: LEASE_MS + 1 }))
      await journal.settle(await begun(intent('done')), { state: 'done', result: undefined })
      await journal.settle(await begun(intent('told')), { state: 'unknown', leaseMs: LEASE_MS })
      const counts = []
      for (const afterMs of [LEASE_MS - 1, 1, 1]) {
        now += afterMs
        counts.push([await journal.countUnknown(), (await journal.listUnknown()).length])
      }
      expect(counts).toEqual([
        [1, 1],
        [2, 2],
        [3, 3],
      ])
      await journal.resolveUnknown('short', { state: 'failed' })
      expect(await journal.countUnknown()).toBe(2)
    })

    describe('E3: an unknown outcome whose own attempt is still at it', () => {
      const overdue = { state: 'unknown', leaseMs: LEASE_MS } as const

      test('is running to everybody, is listed, and nobody retakes or settles it', async () => {
        const token = await begun()
        expect(await journal.settle(token, overdue)).toBe(true)
        now += LEASE_MS - 1
        expect(await begin()).toEqual({ state: 'running' })
        expect(await begin(intent(), true)).toEqual({ state: 'running' })
        expect(await journal.resolveUnknown('k', { state: 'failed' })).toBe(false)
        expect(await journal.listUnknown()).toMatchObject([{ key: 'k', state: 'unknown' }])
        expect(await journal.settle(token, { state: 'done', result: '"late"' })).toBe(true)
        expect(await begin()).toEqual({ state: 'done', result: '"late"' })
      })

      test('stays so while it shows signs of life', async () => {
        const token = await begun()
        await journal.settle(token, overdue)
        for (let renewal = 0; renewal < 3; renewal += 1) {
          now += LEASE_MS - 1
          expect(await journal.renew(token, LEASE_MS)).toBe(true)
        }
        expect(await begin(intent(), true)).toEqual({ state: 'running' })
      })

      test('is anybody’s after a lease without one', async () => {
        const token = await begun()
        await journal.settle(token, overdue)
        now += LEASE_MS
        expect(await journal.renew(token, LEASE_MS)).toBe(false)
        expect(await begin()).toEqual({ state: 'unknown', sinceFirstAttemptMs: LEASE_MS })
        expect(await begin(intent(), true)).toMatchObject({ state: 'begun' })
      })

      test('is anybody’s at once when it ended without anybody knowing how', async () => {
        const token = await begun()
        await journal.settle(token, overdue)
        expect(await journal.settle(token, { state: 'unknown' })).toBe(true)
        expect(await journal.renew(token, LEASE_MS)).toBe(false)
        expect(await begin()).toMatchObject({ state: 'unknown' })
        expect(await journal.resolveUnknown('k', { state: 'failed' })).toBe(true)
      })

      test('is not revived by a clock that is set back', async () => {
        await journal.settle(await begun(), { state: 'unknown' })
        now -= LEASE_MS
        expect(await begin()).toMatchObject({ state: 'unknown' })
      })
    })

    describe('E3: the late outcome of an attempt that an operator settled as failed', () => {
      const settledAsFailed = async () => {
        const token = await begun()
        await journal.settle(token, { state: 'unknown' })
        expect(await journal.resolveUnknown('k', { state: 'failed' })).toBe(true)
        return token
      }

      test('counts for more when it is done, once', async () => {
        const token = await settledAsFailed()
        expect(await journal.settle(token, { state: 'done', result: '"late"' })).toBe('overruled')
        expect(await journal.settle(token, { state: 'done', result: '"again"' })).toBe(false)
        expect(await begin()).toEqual({ state: 'done', result: '"late"' })
      })

      test.each(['failed', 'denied', 'unknown'] as const)('counts no more when it is %s', async (state) => {
        const token = await settledAsFailed()
        expect(await journal.settle(token, { state })).toBe(false)
        expect(await begin()).toMatchObject({ state: 'begun' })
      })

      test('counts no more once the key has begun again, also when that has failed', async () => {
        const token = await settledAsFailed()
        const next = await begun()
        expect(await journal.settle(token, { state: 'done', result: undefined })).toBe(false)
        await journal.settle(next, { state: 'failed' })
        expect(await journal.settle(token, { state: 'done', result: undefined })).toBe(false)
      })

      test('an attempt that said itself that it failed is not done later', async () => {
        const token = await begun()
        await journal.settle(token, { state: 'failed' })
        expect(await journal.settle(token, { state: 'done', result: undefined })).toBe(false)
      })
    })

    test('what a run of a caller has on record is listed, oldest first, with results', async () => {
      const startedAt = now
      await journal.settle(await begun(intent('first')), { state: 'done', result: '{"receipt":1}' })
      now += 1
      await journal.settle(await begun(intent('second')), { state: 'failed' })
      now += 1
      await begun(intent('third', { deadlineMs: LEASE_MS }))
      await begun(intent('other caller', { caller: 'bob' }))
      await begun(intent('other run', { runId: 'run_2' }))
      await begun(intent('no run', { runId: undefined }))
      now += LEASE_MS - 1
      const listed = () => journal.listRun({ caller: 'alice', runId: 'run_1' })
      expect(await listed()).toMatchObject([
        { ...intent('first'), state: 'done', result: '{"receipt":1}', changedAtMs: startedAt },
        { ...intent('second'), state: 'failed', changedAtMs: startedAt + 1 },
        { ...intent('third', { deadlineMs: LEASE_MS }), state: 'intent', changedAtMs: startedAt + 2 },
      ])
      now += 1
      expect((await listed()).map((entry) => entry.state)).toEqual(['done', 'failed', 'unknown'])
    })

    test('an intent under the claim of a run that is not there does not begin, and leaves nothing', async () => {
      const fence = { runId: 'run_1', token: 'no such claim' }
      expect(await journal.begin(intent(), { leaseMs: LEASE_MS, fence })).toEqual({ state: 'unclaimed' })
      expect(await journal.listRun({ caller: 'alice', runId: 'run_1' })).toEqual([])
    })

    describe('an intent that needs an approval which is not there', () => {
      const approval = { approvalId: 'approval_none', useToken: 'use_1' }
      const unapproved = { state: 'unapproved', problem: 'missing' }

      test('does not begin, and leaves nothing', async () => {
        expect(await journal.begin(intent(), { leaseMs: LEASE_MS, approval })).toEqual(unapproved)
        expect(await journal.listRun({ caller: 'alice', runId: 'run_1' })).toEqual([])
        expect((await begin()).state).toBe('begun')
      })

      test('leaves the attempt before it as it was', async () => {
        const token = await begun()
        await journal.settle(token, { state: 'unknown' })
        const retaken = { leaseMs: LEASE_MS, retakeUnknown: true, approval }
        expect(await journal.begin(intent(), retaken)).toEqual(unapproved)
        expect(await journal.settle(token, { state: 'done', result: '"late"' })).toBe(true)
      })

      test('is told first that nothing would begin anyway', async () => {
        const asked = (what: Intent = intent()) => journal.begin(what, { leaseMs: LEASE_MS, approval })
        const token = await begun()
        expect(await asked()).toEqual({ state: 'running' })
        expect(await asked(intent('k', { inputDigest: 'digest-2' }))).toEqual({ state: 'conflict' })
        await journal.settle(token, { state: 'unknown' })
        expect(await asked()).toEqual({ state: 'unknown', sinceFirstAttemptMs: 0 })
        await journal.settle(token, { state: 'done', result: '1' })
        expect(await asked()).toEqual({ state: 'done', result: '1' })
      })
    })
  })
}
