import { describe, expect, test } from 'vitest'

import type { RunFilter } from '../../src/agents/hosted/run-store.ts'
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

/** What is stored of a run, how runs are listed, and who did what to them. */
export function describeRecords(under: () => RunStoreUnderTest): void {
  describe('what is stored of a run', () => {
    test('a new one runs at once, claimed by whoever created it', async () => {
      const { store, nowMs } = under()
      const made = await store.create(newRun('run_1'), LEASE_MS)
      const run = {
        runId: 'run_1',
        caller: 'alice',
        agent: 'accounts',
        status: 'running',
        version: 0,
        state: undefined,
        output: undefined,
        requestDigest: 'request-1',
        resumable: false,
        denial: undefined,
        problem: undefined,
        cancelRequested: false,
        startAtMs: nowMs,
        createdAtMs: nowMs,
        changedAtMs: nowMs,
      }
      expect(made).toEqual({ created: true, run, token: expect.any(String) })
      expect(await store.find('run_1')).toEqual(run)
      expect(await store.find('run_2')).toBeUndefined()
    })

    test('the digest of its context is kept, and its status is found alone', async () => {
      const { store } = under()
      const token = await runActions(store).created('run_1', { contextDigest: 'key.hash' })
      expect((await store.find('run_1'))?.contextDigest).toBe('key.hash')
      expect(await store.statusOf('run_1')).toBe('running')
      expect(await store.statusOf('run_2')).toBeUndefined()
      await store.save(token, paused())
      expect((await store.find('run_1'))?.contextDigest).toBe('key.hash')
      await store.save(await runActions(store).claimed('run_1'), { ...paused(), contextDigest: 'other.hash' })
      expect((await store.find('run_1'))?.contextDigest).toBe('other.hash')
    })

    test('one that waits has its input, no owner, and a time to begin', async () => {
      const { store, nowMs } = under()
      const made = await store.create(queuedRun('run_1', 5000), LEASE_MS)
      expect(made).toMatchObject({ created: true, run: { status: 'queued', startAtMs: nowMs + 5000 } })
      expect(made).toHaveProperty('token', undefined)
      expect((await store.find('run_1'))?.state).toEqual(bytes('input of run_1'))
    })

    test('an id that is taken gives the run that has it, and changes nothing', async () => {
      const { store } = under()
      await runActions(store).saved('run_1', runSave('completed', { output: bytes('42') }))
      const again = await store.create(newRun('run_1', { caller: 'bob', requestDigest: 'other' }), LEASE_MS)
      expect(again).toMatchObject({ created: false, run: { caller: 'alice', requestDigest: 'request-1' } })
      expect(again.run.output).toEqual(bytes('42'))
      expect(await store.find('run_1')).toMatchObject({ status: 'completed', caller: 'alice' })
    })

    test('of many that create one id at once one creates it', async () => {
      const { store } = under()
      const all = await Promise.all(Array.from({ length: 20 }, () => store.create(newRun('run_1'), LEASE_MS)))
      expect(all.filter(({ created }) => created)).toHaveLength(1)
    })

    test('a save stores everything at once and raises the version', async () => {
      const at = under()
      const { created, claimed } = runActions(at.store)
      const token = await created('run_1')
      at.nowMs += 10
      expect(await at.store.save(token, paused(newApproval('call_1')))).toBe(true)
      expect(await at.store.find('run_1')).toMatchObject({
        status: 'interrupted',
        version: 1,
        resumable: true,
        state: bytes('sealed'),
        changedAtMs: at.nowMs,
      })
      const problem = { code: 'MODEL_FAILED', message: 'The model gave no answer.' }
      const failed = runSave('failed', { denial: DENIAL, problem, output: bytes('part'), state: bytes('s2') })
      expect(await at.store.save(await claimed('run_1'), failed)).toBe(true)
      expect(await at.store.find('run_1')).toMatchObject({
        status: 'failed',
        version: 2,
        denial: DENIAL,
        problem,
        output: bytes('part'),
        state: bytes('s2'),
        resumable: false,
      })
    })

    test('a state of 2 MB comes back byte for byte', async () => {
      const { store } = under()
      const state = crypto.getRandomValues(new Uint8Array(65_536))
      const big = new Uint8Array(2_097_152)
      for (let at = 0; at < big.length; at += state.length) big.set(state, at)
      await runActions(store).saved('run_1', runSave('interrupted', { state: big }))
      expect((await store.find('run_1'))?.state).toEqual(big)
    })
  })

  describe('lists of runs', () => {
    const ids = async (filter: Parameters<RunStoreUnderTest['store']['list']>[0]) =>
      (await under().store.list(filter)).map(({ runId }) => runId)

    async function four(): Promise<void> {
      const at = under()
      const { saved, created } = runActions(at.store)
      await saved('run_d', runSave('completed', { output: bytes('42') }))
      at.nowMs += 1
      await saved('run_c', paused())
      at.nowMs += 1
      await saved('run_b', paused(), { caller: 'bob', agent: 'other' })
      await created('run_a')
    }

    test('are newest first, and those of one millisecond by id', async () => {
      await four()
      expect(await ids({ limit: 10 })).toEqual(['run_b', 'run_a', 'run_c', 'run_d'])
    })

    test('go on where the last page ended', async () => {
      await four()
      expect(await ids({ limit: 2 })).toEqual(['run_b', 'run_a'])
      expect(await ids({ limit: 2, beforeRunId: 'run_b' })).toEqual(['run_a', 'run_c'])
      expect(await ids({ limit: 2, beforeRunId: 'run_c' })).toEqual(['run_d'])
      expect(await ids({ limit: 2, beforeRunId: 'no such run' })).toEqual([])
    })

    test('a list of one caller goes on from runs of that caller only: it tells nothing of when others had theirs', async () => {
      const at = under()
      const { created } = runActions(at.store)
      for (const [runId, caller] of [
        ['one', 'alice'],
        ['two', 'bob'],
        ['three', 'alice'],
      ] as const) {
        await created(runId, { caller })
        at.nowMs += 1
      }
      const ids = async (filter: RunFilter) => (await at.store.list(filter)).map(({ runId }) => runId)
      expect(await ids({ caller: 'alice', limit: 9, beforeRunId: 'three' })).toEqual(['one'])
      expect(await ids({ caller: 'alice', limit: 9, beforeRunId: 'two' })).toEqual([])
      expect(await ids({ limit: 9, beforeRunId: 'two' })).toEqual(['one'])
    })

    test('hold what was asked for', async () => {
      await four()
      expect(await ids({ limit: 10, caller: 'alice' })).toEqual(['run_a', 'run_c', 'run_d'])
      expect(await ids({ limit: 10, status: 'interrupted' })).toEqual(['run_b', 'run_c'])
      expect(await ids({ limit: 10, agent: 'other' })).toEqual(['run_b'])
      expect(await ids({ limit: 10, caller: 'alice', status: 'interrupted' })).toEqual(['run_c'])
      expect(await ids({ limit: 10, caller: 'bob', status: 'completed' })).toEqual([])
    })

    test('leave states and outputs out', async () => {
      await four()
      const listed = await under().store.list({ limit: 10 })
      expect(listed.every(({ state, output }) => state === undefined && output === undefined)).toBe(true)
    })

    test('are counted by what an operator waits for', async () => {
      const at = under()
      await four()
      const { saved } = runActions(at.store)
      const short = newApproval('call_2', { ttlMs: 5 })
      await saved('run_e', paused(newApproval('call_1'), short))
      await at.store.create(queuedRun('run_f'), LEASE_MS)
      const counts = { queued: 1, running: 1, interrupted: 3, waitingApprovals: 2 }
      expect(await at.store.counts()).toEqual(counts)
      at.nowMs += 5
      expect(await at.store.counts()).toEqual({ ...counts, waitingApprovals: 1 })
    })
  })

  describe('the timeline of a run', () => {
    test('keeps its steps in order, across processes that add to it', async () => {
      const { store } = under()
      await runActions(store).saved('run_1', runSave('completed'))
      await store.addSteps('run_1', [
        { atMs: 5, type: 'run_started', detail: {} },
        { atMs: 6, type: 'denied', detail: { code: 'DEVICE_REVOKED', request_id: 'req_1' } },
      ])
      await store.addSteps('run_1', [])
      await store.addSteps('run_1', [{ atMs: 4, type: 'run_ended', detail: {} }])
      expect(await store.stepsOf('run_1')).toEqual([
        { seq: 1, atMs: 5, type: 'run_started', detail: {} },
        { seq: 2, atMs: 6, type: 'denied', detail: { code: 'DEVICE_REVOKED', request_id: 'req_1' } },
        { seq: 3, atMs: 4, type: 'run_ended', detail: {} },
      ])
      expect(await store.stepsOf('run_2')).toEqual([])
    })
  })

  describe('the operator log', () => {
    test('holds who decided, cancelled and settled what, newest first, of one run or of all', async () => {
      const at = under()
      const { saved, begin, approve } = runActions(at.store)
      await saved('run_1', paused(newApproval('call_1'), newApproval('call_2')))
      await saved('run_2', paused())
      await at.store.decide(
        'run_1',
        [{ approvalId: 'approval_call_2', approve: false, message: 'Wrong invoice' }],
        'olga',
      )
      await approve('run_1', 'call_1')
      const begun = await begin('call_1', 'use_1')
      if (begun.state !== 'begun') throw new Error(begun.state)
      await at.store.journal.settle(begun.token, { state: 'unknown' })
      const settlement = { by: 'otto', reason: 'Seen at the bank' }
      at.nowMs += 1
      const key = 'effect of call_1'
      expect(await at.store.journal.resolveUnknown(key, { state: 'done', result: '1' }, settlement)).toBe(
        true,
      )
      expect(await at.store.journal.resolveUnknown(key, { state: 'failed' }, settlement)).toBe(false)
      await at.store.cancel('run_2', 'olga', 'Not needed')
      const all = await at.store.operatorLog({ limit: 10 })
      expect(
        all.map(({ by, action, subject, runId, reason }) => [by, action, subject, runId, reason]),
      ).toEqual([
        ['olga', 'run.cancel', 'run_2', 'run_2', 'Not needed'],
        ['otto', 'effect.settle', expect.stringMatching(/^hp_/), 'run_1', 'Seen at the bank'],
        ['olga', 'approval.approve', 'approval_call_1', 'run_1', undefined],
        ['olga', 'approval.decline', 'approval_call_2', 'run_1', 'Wrong invoice'],
      ])
      expect(all[0]?.atMs).toBe(at.nowMs)
      expect(await at.store.operatorLog({ runId: 'run_1', limit: 2 })).toEqual(all.slice(1, 3))
    })
  })
}
