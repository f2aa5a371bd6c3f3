import { describe, expect, test } from 'vitest'

import type { RunStoreUnderTest } from './run-store.ts'
import {
  bytes,
  DENIAL,
  LEASE_MS,
  newApproval,
  newRun,
  paused,
  queuedRun,
  runActions,
  runSave,
} from './runs.ts'

/** Who is at a run: claims, the queue, lost runs, cancelled ones. R1 to R3. */
export function describeClaims(under: () => RunStoreUnderTest): void {
  describe('R1: claims', () => {
    test('of many claims at once one wins, and the others are told that it runs', async () => {
      const { store } = under()
      await runActions(store).saved('run_1', paused())
      const claims = await Promise.all(Array.from({ length: 20 }, () => store.claim('run_1', LEASE_MS)))
      expect(claims.filter((claim) => claim?.claimed === true)).toHaveLength(1)
      expect(claims.filter((claim) => claim?.claimed === false && claim.why === 'running')).toHaveLength(19)
    })

    test('the winner gets the state to go on from', async () => {
      const { store } = under()
      await runActions(store).saved('run_1', paused())
      expect(await store.claim('run_1', LEASE_MS)).toMatchObject({
        claimed: true,
        run: { status: 'running', version: 1, state: bytes('sealed') },
      })
    })

    test.each([
      ['interrupted', runSave('interrupted')],
      ['denied, resumable', runSave('denied', { resumable: true, state: bytes('s') })],
      ['failed, resumable', runSave('failed', { resumable: true, state: bytes('s') })],
    ])('a run that is %s can be claimed', async (_name, save) => {
      const { store } = under()
      await runActions(store).saved('run_1', save)
      expect(await store.claim('run_1', LEASE_MS)).toMatchObject({ claimed: true })
    })

    test.each([
      ['completed', runSave('completed')],
      ['cancelled', runSave('cancelled')],
      ['denied for good', runSave('denied', { denial: DENIAL })],
      ['failed for good', runSave('failed')],
    ])('a run that is %s cannot', async (_name, save) => {
      const { store } = under()
      await runActions(store).saved('run_1', save)
      expect(await store.claim('run_1', LEASE_MS)).toMatchObject({ claimed: false, why: 'not_resumable' })
    })

    test('one that waits in the queue cannot, one that nobody knows neither', async () => {
      const { store } = under()
      await store.create(queuedRun('run_1'), LEASE_MS)
      expect(await store.claim('run_1', LEASE_MS)).toMatchObject({ claimed: false, why: 'not_resumable' })
      expect(await store.claim('run_2', LEASE_MS)).toBeUndefined()
    })

    test('a release leaves the run as it was, with the denial, and it can be claimed again', async () => {
      const { store } = under()
      const { saved, claimed, states } = runActions(store)
      await saved('run_1', paused(newApproval('call_1')))
      expect(await store.release(await claimed('run_1'), { denial: DENIAL })).toBe(true)
      expect(await store.find('run_1')).toMatchObject({
        status: 'interrupted',
        version: 1,
        resumable: true,
        denial: DENIAL,
        state: bytes('sealed'),
      })
      expect(await states('run_1')).toEqual({ call_1: 'waiting' })
      await store.release(await claimed('run_1'), {})
      expect(await store.find('run_1')).toMatchObject({ status: 'interrupted', denial: DENIAL })
    })

    test('R2: a claim that was saved, released or lost changes nothing any more', async () => {
      const at = under()
      const { saved, claimed } = runActions(at.store)
      await saved('run_1', paused())
      const old = [await claimed('run_1')]
      await at.store.save(old[0] as string, paused())
      old.push(await claimed('run_1'))
      await at.store.release(old[1] as string, {})
      old.push(await claimed('run_1'))
      at.nowMs += LEASE_MS
      const token = await claimed('run_1')
      for (const one of [...old, 'no such token']) {
        expect(await at.store.save(one, runSave('completed'))).toBe(false)
        expect(await at.store.release(one, { denial: DENIAL })).toBe(false)
        expect(await at.store.markStarted(one)).toBe(false)
        expect(await at.store.renew(one, LEASE_MS)).toBe('lost')
      }
      expect(await at.store.find('run_1')).toMatchObject({ status: 'running', version: 2, denial: undefined })
      expect(await at.store.renew(token, LEASE_MS)).toBe('ours')
    })
  })

  describe('R3: runs whose process died', () => {
    test('a sign of life keeps a claim', async () => {
      const at = under()
      const { saved, claimed } = runActions(at.store)
      await saved('run_1', paused())
      const token = await claimed('run_1')
      at.nowMs += LEASE_MS - 1
      expect(await at.store.renew(token, LEASE_MS)).toBe('ours')
      at.nowMs += LEASE_MS - 1
      expect(await at.store.claim('run_1', LEASE_MS)).toMatchObject({ claimed: false, why: 'running' })
      expect(await at.store.sweepLost()).toEqual([])
      at.nowMs += 1
      expect(await at.store.claim('run_1', LEASE_MS)).toMatchObject({ claimed: true })
    })

    test('one with a state goes back to what it was, and its approvals still wait', async () => {
      const at = under()
      const { saved, claimed, states, status } = runActions(at.store)
      await saved('run_1', paused(newApproval('call_1')))
      await saved('run_2', runSave('denied', { resumable: true, state: bytes('s'), denial: DENIAL }))
      await claimed('run_1')
      await claimed('run_2')
      at.nowMs += LEASE_MS - 1
      expect(await at.store.sweepLost()).toEqual([])
      at.nowMs += 1
      expect((await at.store.sweepLost()).toSorted()).toEqual(['run_1', 'run_2'])
      expect(await at.store.sweepLost()).toEqual([])
      expect([await status('run_1'), await status('run_2')]).toEqual(['interrupted', 'denied'])
      expect(await at.store.find('run_2')).toMatchObject({ denial: DENIAL, resumable: true })
      expect(await states('run_1')).toEqual({ call_1: 'waiting' })
    })

    test('one without a state has failed with RUN_LOST, and cannot be resumed', async () => {
      const at = under()
      await runActions(at.store).created('run_1')
      at.nowMs += LEASE_MS
      expect(await at.store.sweepLost()).toEqual(['run_1'])
      expect(await at.store.find('run_1')).toMatchObject({
        status: 'failed',
        resumable: false,
        problem: { code: 'RUN_LOST' },
      })
      expect(await at.store.claim('run_1', LEASE_MS)).toMatchObject({ claimed: false, why: 'not_resumable' })
    })

    test.each(['lost', 'given back'])(
      'one that went beyond its state and is %s has failed with RUN_LOST',
      async (how) => {
        const at = under()
        const { saved, claimed } = runActions(at.store)
        await saved('run_1', paused(newApproval('call_1')))
        const token = await claimed('run_1')
        expect(await at.store.markBeyond(token)).toBe(true)
        expect(await at.store.find('run_1')).toMatchObject({ status: 'running' })
        if (how === 'given back') expect(await at.store.release(token, { denial: DENIAL })).toBe(true)
        at.nowMs += LEASE_MS
        await at.store.sweepLost()
        const run = await at.store.find('run_1')
        expect(run).toMatchObject({ status: 'failed', resumable: false, problem: { code: 'RUN_LOST' } })
        expect(run?.state).toBeUndefined()
        expect(await at.store.waitingApprovals(10)).toEqual([])
        expect(await at.store.claim('run_1', LEASE_MS)).toMatchObject({
          claimed: false,
          why: 'not_resumable',
        })
      },
    )

    test('one that went beyond its state and was saved has a new one to go back to', async () => {
      const at = under()
      const { saved, claimed, status } = runActions(at.store)
      await saved('run_1', paused())
      const token = await claimed('run_1')
      await at.store.markBeyond(token)
      expect(await at.store.save(token, paused())).toBe(true)
      await claimed('run_1')
      at.nowMs += LEASE_MS
      expect(await at.store.sweepLost()).toEqual(['run_1'])
      expect(await status('run_1')).toBe('interrupted')
    })

    test('one that went beyond its state and was cancelled is cancelled', async () => {
      const at = under()
      const { saved, claimed, status } = runActions(at.store)
      await saved('run_1', paused())
      await at.store.markBeyond(await claimed('run_1'))
      await at.store.cancel('run_1', 'olga', undefined)
      at.nowMs += LEASE_MS
      await at.store.sweepLost()
      expect(await status('run_1')).toBe('cancelled')
    })

    test('R2: a claim that is lost marks nothing', async () => {
      const at = under()
      const { saved, claimed, status } = runActions(at.store)
      await saved('run_1', paused())
      const lost = await claimed('run_1')
      at.nowMs += LEASE_MS
      await claimed('run_1')
      expect(await at.store.markBeyond(lost)).toBe(false)
      expect(await at.store.markBeyond('no such token')).toBe(false)
      at.nowMs += LEASE_MS
      await at.store.sweepLost()
      expect(await status('run_1')).toBe('interrupted')
    })

    test('whoever creates the id of a lost run again is told that it is lost', async () => {
      const at = under()
      await runActions(at.store).created('run_1')
      at.nowMs += LEASE_MS
      expect(await at.store.create(newRun('run_1'), LEASE_MS)).toMatchObject({
        created: false,
        run: { status: 'failed' },
      })
    })
  })

  describe('the queue', () => {
    const pick = async () => (await under().store.claimQueued(LEASE_MS))?.run.runId

    test('gives the run that has waited longest of those whose time has come', async () => {
      const at = under()
      await at.store.create(queuedRun('late', 1000), LEASE_MS)
      await at.store.create(queuedRun('second', 10), LEASE_MS)
      at.nowMs += 1
      await at.store.create(queuedRun('first'), LEASE_MS)
      await at.store.create(queuedRun('first too'), LEASE_MS)
      at.nowMs += 9
      expect([await pick(), await pick(), await pick(), await pick()]).toEqual([
        'first',
        'first too',
        'second',
        undefined,
      ])
      at.nowMs += 990
      expect(await pick()).toBe('late')
    })

    test('R1: of many that pick at once each gets another run', async () => {
      const { store } = under()
      for (let run = 0; run < 10; run += 1) await store.create(queuedRun(`run_${run}`), LEASE_MS)
      const picked = await Promise.all(Array.from({ length: 20 }, pick))
      const runs = picked.filter((runId) => runId !== undefined)
      expect(runs).toHaveLength(10)
      expect(new Set(runs).size).toBe(10)
    })

    test('a pick that was denied goes back, to be picked later, with the denial', async () => {
      const at = under()
      await at.store.create(queuedRun('run_1'), LEASE_MS)
      const picked = await at.store.claimQueued(LEASE_MS)
      expect(picked?.run.state).toEqual(bytes('input of run_1'))
      expect(await at.store.release(picked?.token ?? '', { denial: DENIAL, retryInMs: 5000 })).toBe(true)
      expect(await at.store.find('run_1')).toMatchObject({ status: 'queued', denial: DENIAL })
      at.nowMs += 4999
      expect(await pick()).toBeUndefined()
      at.nowMs += 1
      expect(await pick()).toBe('run_1')
    })

    test('R3: a picked run that is lost before it started is queued again', async () => {
      const at = under()
      await at.store.create(queuedRun('run_1'), LEASE_MS)
      await pick()
      at.nowMs += LEASE_MS
      expect(await at.store.sweepLost()).toEqual(['run_1'])
      expect(await pick()).toBe('run_1')
    })

    test('R3: one that is lost after it started is not: it may have done something', async () => {
      const at = under()
      await at.store.create(queuedRun('run_1'), LEASE_MS)
      const picked = await at.store.claimQueued(LEASE_MS)
      expect(await at.store.markStarted(picked?.token ?? '')).toBe(true)
      at.nowMs += LEASE_MS
      await at.store.sweepLost()
      expect(await pick()).toBeUndefined()
      expect(await at.store.find('run_1')).toMatchObject({ status: 'failed', problem: { code: 'RUN_LOST' } })
    })

    test('a resumed run that started keeps its state', async () => {
      const at = under()
      const { saved, claimed, status } = runActions(at.store)
      await saved('run_1', paused())
      expect(await at.store.markStarted(await claimed('run_1'))).toBe(true)
      at.nowMs += LEASE_MS
      await at.store.sweepLost()
      expect(await status('run_1')).toBe('interrupted')
    })
  })

  describe('cancel', () => {
    test.each([
      ['queued', () => under().store.create(queuedRun('run_1'), LEASE_MS)],
      ['interrupted', () => runActions(under().store).saved('run_1', paused(newApproval('call_1')))],
      [
        'denied but resumable',
        () =>
          runActions(under().store).saved(
            'run_1',
            runSave('denied', { resumable: true, state: bytes('s'), approvals: [newApproval('call_1')] }),
          ),
      ],
    ])('a run that is %s ends at once: nothing waits, nothing to go on from', async (_name, make) => {
      const { store } = under()
      await make()
      expect(await store.cancel('run_1', 'olga', undefined)).toBe('cancelled')
      expect(await store.find('run_1')).toMatchObject({ status: 'cancelled', resumable: false })
      expect((await store.find('run_1'))?.state).toBeUndefined()
      expect(Object.values(await runActions(store).states('run_1'))).not.toContain('waiting')
      expect(await store.claim('run_1', LEASE_MS)).toMatchObject({ claimed: false, why: 'not_resumable' })
      expect(await store.claimQueued(LEASE_MS)).toBeUndefined()
    })

    test.each(['completed', 'cancelled', 'denied', 'failed'] as const)(
      'a run that is %s has ended',
      async (status) => {
        const { store } = under()
        await runActions(store).saved('run_1', runSave(status))
        expect(await store.cancel('run_1', 'olga', undefined)).toBe(false)
        expect((await store.find('run_1'))?.status).toBe(status)
        expect(await store.cancel('run_2', 'olga', undefined)).toBe(false)
        expect(await store.operatorLog({ limit: 10 })).toEqual([])
      },
    )

    test('the process of a running one is asked to end it', async () => {
      const { store } = under()
      const token = await runActions(store).created('run_1')
      expect(await store.cancel('run_1', 'olga', undefined)).toBe('requested')
      expect(await store.find('run_1')).toMatchObject({ status: 'running', cancelRequested: true })
      expect(await store.renew(token, LEASE_MS)).toBe('cancel')
      expect(await store.save(token, runSave('cancelled'))).toBe(true)
      expect(await store.find('run_1')).toMatchObject({ status: 'cancelled', cancelRequested: false })
    })

    test.each([
      ['pauses', paused(newApproval('call_1'))],
      ['is denied', runSave('denied', { resumable: true, state: bytes('s'), denial: DENIAL })],
    ])('one that %s before it hears of it ends all the same', async (_name, save) => {
      const { store } = under()
      const token = await runActions(store).created('run_1')
      await store.cancel('run_1', 'olga', undefined)
      expect(await store.save(token, save)).toBe(true)
      const run = await store.find('run_1')
      expect(run).toMatchObject({ status: 'cancelled', resumable: false, version: 1 })
      expect(run?.state).toBeUndefined()
      expect(await store.waitingApprovals(10)).toEqual([])
    })

    test('one that completes before it hears of it has completed', async () => {
      const { store } = under()
      const token = await runActions(store).created('run_1')
      await store.cancel('run_1', 'olga', undefined)
      await store.save(token, runSave('completed', { output: bytes('42') }))
      expect(await store.find('run_1')).toMatchObject({ status: 'completed', output: bytes('42') })
    })

    test('R3: one whose process died before it heard of it is cancelled, and so is one that it gives back', async () => {
      const at = under()
      const { saved, claimed, status } = runActions(at.store)
      for (const runId of ['run_1', 'run_2']) await saved(runId, paused(newApproval(runId)))
      await claimed('run_1')
      const given = await claimed('run_2')
      for (const runId of ['run_1', 'run_2']) await at.store.cancel(runId, 'olga', undefined)
      expect(await at.store.release(given, { denial: DENIAL })).toBe(true)
      expect(await status('run_2')).toBe('cancelled')
      at.nowMs += LEASE_MS
      await at.store.sweepLost()
      expect(await status('run_1')).toBe('cancelled')
      expect(await at.store.waitingApprovals(10)).toEqual([])
    })

    test('a lost run is cancelled at once', async () => {
      const at = under()
      const { saved, claimed } = runActions(at.store)
      await saved('run_1', paused())
      await claimed('run_1')
      at.nowMs += LEASE_MS
      expect(await at.store.cancel('run_1', 'olga', undefined)).toBe('cancelled')
    })
  })
}
