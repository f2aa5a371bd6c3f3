import { describe, expect, test } from 'vitest'

import type {
  ReportedEffect,
  ReportedRun,
  ReportedStep,
  RunReport,
} from '../../src/control-plane/runs/run-report-store.ts'
import { KEY, ORG } from './control-plane-records.ts'
import type { Fixture } from './control-plane-store.ts'

const run = (runId: string, changes: Partial<ReportedRun> = {}): ReportedRun => ({
  runId,
  agent: 'assistant',
  caller: 'backend',
  status: 'running',
  code: null,
  createdAtMs: 10,
  changedAtMs: 20,
  ...changes,
})
const step = (runId: string, seq: number, atMs = seq): ReportedStep => ({
  runId,
  seq,
  atMs,
  type: 'tool_called',
  detail: { tool: 'é\u202e', ms: 1.5, ok: true, code: null },
})
const effect = (id: string, changes: Partial<ReportedEffect> = {}): ReportedEffect => ({
  id,
  effect: 'charge',
  kind: 'payment',
  tool: 'send_payment',
  runId: 'r1',
  callId: null,
  changedAtMs: 5,
  ...changes,
})

export function describeRunReports(fixture: Fixture): void {
  const { addOrg, reopen } = fixture
  const LIMITS = { runsOfKey: 100, stepsOfRun: 3, effectsOfKey: 100 }
  const tell = (report: Partial<RunReport>, limits = LIMITS) => {
    const of = { orgId: ORG.orgId, keyId: KEY.keyId, replica: 'r', atMs: 100, runs: [], steps: [] }
    const keyId = report.keyId ?? of.keyId
    return fixture.store.recordRuns({ ...of, ownerKeyIds: [keyId], ...report }, limits)
  }
  const find = async (runId: string) => fixture.store.findReportedRun(ORG.orgId, runId)
  const idsOf = async (filter = {}, page: object = {}) =>
    (await fixture.store.listReportedRuns(ORG.orgId, filter, { limit: 100, ...page })).map(
      ({ runId }) => runId,
    )
  const effectsOf = async (sinceMs = 0) =>
    (await fixture.store.listUnknownEffects(ORG.orgId, sinceMs, 10)).map(({ id, replica }) => [id, replica])

  describe('runs that were told of', () => {
    test('are kept with their steps, each once, in their order', async () => {
      const steps = [step('r1', 2), step('r1', 1), step('r2', 1)]
      await tell({ runs: [run('r1', { status: 'failed', code: 'RUN_LOST' })], steps })
      await tell({ steps: [step('r1', 1)] })
      await reopen()
      expect(await find('r1')).toEqual({
        run: {
          ...run('r1', { status: 'failed', code: 'RUN_LOST' }),
          keyId: KEY.keyId,
          replica: 'r',
          reportedAtMs: 100,
        },
        steps: [step('r1', 1), step('r1', 2)],
      })
      expect(await find('r2')).toBeUndefined()
    })

    test('go forward only: what comes late changes nothing that is newer', async () => {
      await tell({ runs: [run('r1', { changedAtMs: 20, status: 'completed' })] })
      await tell({ runs: [run('r1', { changedAtMs: 19, status: 'running' })] })
      expect((await find('r1'))?.run.status).toBe('completed')
      await tell({ runs: [run('r1', { changedAtMs: 20, status: 'denied' })], replica: 's' })
      expect((await find('r1'))?.run).toMatchObject({ status: 'denied', replica: 's' })
    })

    test('that were told by a clock which was ahead go on once it is set right', async () => {
      await tell({ runs: [run('r1', { changedAtMs: 9_000_000, status: 'running' })], atMs: 1000 })
      await tell({ runs: [run('r1', { changedAtMs: 1001, status: 'completed' })], atMs: 1002 })
      expect((await find('r1'))?.run).toMatchObject({ status: 'completed' })
    })

    test('belong to the key that told of them, and to those that it says may go on', async () => {
      await tell({ runs: [run('r1')] })
      const other = { keyId: 'other', runs: [run('r1', { agent: 'forged', changedAtMs: 99 })] }
      await tell({ ...other, steps: [step('r1', 1)] })
      expect(await find('r1')).toMatchObject({ run: { agent: 'assistant' }, steps: [] })
      const owners = (runIds: string[], replica: string) =>
        fixture.store.runOwners(ORG.orgId, { runIds, replica })
      expect(await owners(['r1', 'none'], 'r')).toEqual([KEY.keyId])
      await tell({ keyId: 'third', unknownEffects: [effect('e1')] })
      expect((await owners(['r1'], 'r')).toSorted()).toEqual([KEY.keyId, 'third'].toSorted())
      expect(await owners([], 's')).toEqual([])
      await tell({ ...other, steps: [step('r1', 1)], ownerKeyIds: ['other', KEY.keyId] })
      expect(await find('r1')).toMatchObject({
        run: { agent: 'forged', keyId: 'other' },
        steps: [{ seq: 1 }],
      })
    })

    test('are listed newest first, in pages, by status and agent; none is from the future', async () => {
      const runs = [run('a'), run('b', { createdAtMs: 30 }), run('c', { createdAtMs: 10, status: 'denied' })]
      await tell({ runs: [...runs, run('d', { createdAtMs: 1e12, agent: 'x' })] })
      expect(await idsOf()).toEqual(['d', 'b', 'c', 'a'])
      expect((await find('d'))?.run.createdAtMs).toBe(100)
      expect(await idsOf({}, { limit: 2, after: { createdAtMs: 30, runId: 'b' } })).toEqual(['c', 'a'])
      expect(await idsOf({ status: 'denied' })).toEqual(['c'])
      expect(await idsOf({ agent: 'x' })).toEqual(['d'])
    })

    test('are bounded for each key, and so are the steps of each: the oldest go', async () => {
      await tell({ runs: [run('mine')], steps: [1, 2, 3, 4, 5].map((seq) => step('mine', seq)) })
      expect((await find('mine'))?.steps.map(({ seq }) => seq)).toEqual([3, 4, 5])
      const limits = { ...LIMITS, runsOfKey: 2 }
      for (const [at, runId] of ['a', 'b', 'c'].entries()) {
        await tell({ keyId: 'flood', atMs: 101 + at, runs: [run(runId)] }, limits)
      }
      expect((await idsOf()).toSorted()).toEqual(['b', 'c', 'mine'])
    })

    test('are deleted with their steps when nothing was told of them for long', async () => {
      await tell({ atMs: 10, runs: [run('old')], steps: [step('old', 1)] })
      await tell({ atMs: 20, runs: [run('new')] })
      const prune = (runsBeforeMs: number, limit = 10) =>
        fixture.store.pruneRunReports({ runsBeforeMs, heardBeforeMs: 0 }, limit)
      expect(await prune(20)).toBe(1)
      expect(await find('old')).toBeUndefined()
      await tell({ runs: [run('old')] })
      expect((await find('old'))?.steps).toEqual([])
      expect([await prune(1000, 1), await prune(1000), await prune(1000)]).toEqual([1, 1, 0])
    })

    test('belong to their org', async () => {
      await addOrg({ orgId: 'o_other' }, 'key-of-other')
      await tell({ runs: [run('r1')], unknownEffects: [effect('e1')] })
      expect(await fixture.store.findReportedRun('o_other', 'r1')).toBeUndefined()
      expect(await fixture.store.listReportedRuns('o_other', {}, { limit: 9 })).toEqual([])
      expect(await fixture.store.listUnknownEffects('o_other', 0, 9)).toEqual([])
    })
  })

  describe('effects of unknown outcome', () => {
    test('are what each replica said last, each once, oldest first', async () => {
      await tell({ replica: 'r', atMs: 1, unknownEffects: [effect('e2', { changedAtMs: 9 }), effect('e1')] })
      await tell({ replica: 's', atMs: 2, unknownEffects: [effect('e1')] })
      expect(await effectsOf()).toEqual([
        ['e1', 's'],
        ['e2', 'r'],
      ])
      await tell({ replica: 'r', atMs: 3, unknownEffects: [effect('e2')] })
      await tell({ replica: 's', atMs: 4, runs: [run('r1')] })
      expect((await effectsOf()).map(([id]) => id)).toEqual(['e1', 'e2'])
      await tell({ replica: 's', atMs: 5, unknownEffects: [] })
      expect(await effectsOf()).toEqual([['e2', 'r']])
      await reopen()
      expect(await fixture.store.listUnknownEffects(ORG.orgId, 0, 10)).toEqual([
        { ...effect('e2'), replica: 'r', reportedAtMs: 3 },
      ])
    })

    test('of another key are not replaced, and none is hidden by one of the same id', async () => {
      await tell({ unknownEffects: [effect('e1')] })
      await tell({ keyId: 'other', unknownEffects: [] })
      await tell({ keyId: 'other', replica: 's', unknownEffects: [effect('e1', { tool: 'forged' })] })
      expect(await effectsOf()).toHaveLength(2)
      await tell({ keyId: 'other', ownerKeyIds: ['other', KEY.keyId], unknownEffects: [] })
      expect(await effectsOf()).toEqual([['e1', 's']])
    })

    test('are forgotten when nothing was heard of their replica, by report or stream', async () => {
      const heard = async (sinceMs: number) => (await effectsOf(sinceMs)).length
      await tell({ atMs: 1, unknownEffects: [effect('e1')] })
      expect([await heard(1), await heard(2)]).toEqual([1, 0])
      await tell({ atMs: 200_000 })
      expect([await heard(200_000), await heard(200_001)]).toEqual([1, 0])
      const seen = {
        orgId: ORG.orgId,
        keyId: KEY.keyId,
        replica: 'r',
        keyKind: 'runtime',
        atMs: 300_000,
      } as const
      await fixture.store.recordStopEvidence({ seen: [seen], told: [], acks: [] })
      expect([await heard(300_000), await heard(300_001)]).toEqual([1, 0])
      const prune = (heardBeforeMs: number) =>
        fixture.store.pruneRunReports({ runsBeforeMs: 0, heardBeforeMs }, 10)
      expect([await prune(300_000), await prune(300_001)]).toEqual([0, 1])
    })

    test('are bounded for each key: those of the replica that was silent longest go', async () => {
      const limits = { ...LIMITS, effectsOfKey: 2 }
      await tell({ keyId: 'other', unknownEffects: [effect('e0')] }, limits)
      for (const [at, id] of ['e1', 'e2', 'e3'].entries()) {
        await tell({ replica: id, atMs: 101 + at, unknownEffects: [effect(id)] }, limits)
      }
      expect((await effectsOf()).map(([id]) => id).toSorted()).toEqual(['e0', 'e2', 'e3'])
    })
  })
}
