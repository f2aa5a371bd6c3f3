import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'

import type { ApprovalRecord } from '../../../src/control-plane/approvals/approval-store.ts'
import type { AuditRow } from '../../../src/control-plane/records.ts'
import type { RunReport } from '../../../src/control-plane/runs/run-report-store.ts'
import { newSigningKey } from '../../../src/machineid/drill-signature.ts'
import {
  APPROVAL_STATEMENTS,
  approvalChanges,
  createApprovalStore,
} from '../../../src/store/postgres/approvals.ts'
import { deviceFinder } from '../../../src/store/postgres/control-plane-selection.ts'
import { createDrillStore } from '../../../src/store/postgres/drills.ts'
import { createRunReports, RUN_STATEMENTS } from '../../../src/store/postgres/run-reports.ts'
import { insertAll, rowsOf } from '../../../src/store/postgres/statements.ts'
import {
  auditWithStops,
  createStopReader,
  createStopReads,
  STOP_STATEMENTS,
} from '../../../src/store/postgres/stops.ts'
import { auditEntry, KEY, ORG } from '../../contract/control-plane-records.ts'
import { noPostgres, startPostgres, type TestPostgres } from '../../fixtures/postgres.ts'
import { openTwoNodes } from './desk-nodes.ts'

describe.skipIf(noPostgres)('the desk of several nodes', () => {
  let server: TestPostgres
  let nodes: Awaited<ReturnType<typeof openTwoNodes>>
  beforeAll(async () => {
    server = await startPostgres()
    nodes = await openTwoNodes(server)
  })
  beforeEach(async () => {
    await nodes.first.query(
      'TRUNCATE approvals, reported_runs, reported_steps, unknown_effects, signing_keys',
    )
  })
  afterAll(async () => {
    await nodes?.close()
    await server?.close()
  })

  test('an org has one signing key, whichever of its nodes made it', async () => {
    const [a, b] = [createDrillStore(nodes.first), createDrillStore(nodes.second)]
    const made = Array.from({ length: 8 }, newSigningKey)
    const keys = await Promise.all(made.map((key, n) => (n % 2 === 0 ? a : b).signingKey(ORG.orgId, key)))
    expect(new Set(keys.map(({ privateKey }) => privateKey)).size).toBe(1)
    expect(made).toContainEqual(keys[0])
  })

  describe('an approval that expires while somebody decides it', () => {
    const approval: ApprovalRecord = {
      approvalId: 'a1',
      runId: 'r',
      agent: 'a',
      caller: 'c',
      callId: 'c1',
      tool: 't',
      surface: 's',
      deviceIds: [],
      digest: 'ab'.repeat(32),
      schemaDigest: 'cd'.repeat(32),
      argumentsJson: '{}',
      askedAtMs: 1,
      askedBy: KEY.keyId,
      expiresAtMs: 10,
      state: 'waiting',
      endedAtMs: null,
      decidedBy: null,
      message: null,
    }
    const put = (record: ApprovalRecord) =>
      nodes.first.transact((session) => approvalChanges.write(session, ORG.orgId, [record], undefined))
    const stateNow = async () => (await nodes.first.query('SELECT state FROM approvals'))[0]?.['state']
    const read = (session: Parameters<typeof approvalChanges.read>[0]) =>
      approvalChanges.read(session, ORG.orgId, ['a1'])

    test('is left to the change that has read it', async () => {
      const desk = createApprovalStore(nodes.second, deviceFinder)
      await put(approval)
      await nodes.first.transact(async (session) => {
        const [waiting] = await read(session)
        expect(await desk.expireApprovals(10, 9)).toBe(0)
        const approved = { ...approval, ...waiting, state: 'approved', endedAtMs: 9, decidedBy: 'o' } as const
        await approvalChanges.write(session, ORG.orgId, [approved], undefined)
      })
      expect(await desk.expireApprovals(10, 9)).toBe(0)
      expect(await stateNow()).toBe('approved')
    })

    test('is read as expired by a change that comes after', async () => {
      await put(approval)
      let later: Promise<readonly ApprovalRecord[]> | undefined
      await nodes.second.transact(async (session) => {
        await session.run("UPDATE approvals SET state = 'expired', ended_at_ms = expires_at_ms")
        later = nodes.first.transact(read)
        await nodes.first.query('SELECT pg_sleep(0.02)')
      })
      expect((await later)?.[0]?.state).toBe('expired')
    })
  })

  describe('reports of one replica that reach two nodes at once', () => {
    const effect = (id: string) => ({
      id,
      effect: 'charge',
      kind: 'payment',
      tool: 't',
      runId: null,
      callId: null,
      changedAtMs: 1,
    })
    const of = {
      orgId: ORG.orgId,
      keyId: KEY.keyId,
      replica: 'r',
      ownerKeyIds: [KEY.keyId],
      runs: [],
      steps: [],
    }
    const limits = { runsOfKey: 30, stepsOfRun: 5, effectsOfKey: 100 }

    test('replace each other as a whole', async () => {
      const [a, b] = [createRunReports(nodes.first), createRunReports(nodes.second)]
      for (let atMs = 1; atMs <= 20; atMs++) {
        await Promise.all([
          a.recordRuns({ ...of, atMs, unknownEffects: ['e1', 'e2'].map(effect) }, limits),
          b.recordRuns({ ...of, atMs, unknownEffects: ['e3'].map(effect) }, limits),
        ])
        const ids = (await a.listUnknownEffects(ORG.orgId, 0, 9)).map(({ id }) => id)
        expect(['e1,e2', 'e3']).toContain(ids.toSorted().join())
      }
    })

    test('tell the same runs and steps in any order, and leave no more than is kept', async () => {
      const [a, b] = [createRunReports(nodes.first), createRunReports(nodes.second)]
      const run = (n: number, changedAtMs: number) => ({
        runId: `run-${n}`,
        agent: 'a',
        caller: 'c',
        status: 'running',
        code: null,
        createdAtMs: 1,
        changedAtMs,
      })
      const step = (n: number, seq: number) => ({ runId: `run-${n}`, seq, atMs: seq, type: 't', detail: {} })
      for (let round = 1; round <= 10; round++) {
        const some = Array.from({ length: 40 }, (_, n) => (n + round * 7) % 60)
        const report = (replica: string, order: number[]): RunReport => ({
          ...of,
          replica,
          atMs: round,
          runs: order.map((n) => run(n, round)),
          steps: order.flatMap((n) => [step(n, round), step(n, round + 1)]),
        })
        await Promise.all([
          a.recordRuns(report('r', some), limits),
          b.recordRuns(report('s', some.toReversed()), limits),
          b.pruneRunReports({ runsBeforeMs: round - 2, heardBeforeMs: 0 }, 5),
        ])
      }
      const kept = await a.listReportedRuns(ORG.orgId, {}, { limit: 100 })
      expect(kept).toHaveLength(30)
      for (const { runId } of kept) {
        const steps = (await a.findReportedRun(ORG.orgId, runId))?.steps.length
        expect(steps).toBeGreaterThan(0)
        expect(steps).toBeLessThanOrEqual(5)
      }
    })
  })

  test('a stop is found by what was written with it: who alters its JSON neither hides others nor breaks them', async () => {
    const stop = (seq: number): AuditRow => ({
      orgId: ORG.orgId,
      seq,
      prevHash: '',
      hash: '',
      ...auditEntry('device.revoke', {
        deviceId: `d${seq}`,
        before: { revoked: true },
        after: { epoch: seq },
      }),
    })
    // What Postgres cannot read as JSON is a stop like the others.
    const odd = { ...stop(3), after: { epoch: 3, reason: '\0\ud800' } }
    const { first } = nodes
    await first.query(insertAll('audit', auditWithStops.columns), [
      rowsOf(auditWithStops, [stop(1), stop(2), odd, { ...stop(4), action: 'device.unrevoke' }]),
    ])
    const epochs = async () =>
      (await createStopReader(first).since(ORG.orgId, 0, 9)).map(({ epoch }) => epoch)
    expect(await epochs()).toEqual([1, 2, 3])
    await first.query('UPDATE audit SET before = \'no JSON\', after = \'{"epoch":"2"}\' WHERE seq = 2')
    expect(await epochs()).toEqual([1, 3])
    await first.query("UPDATE audit SET after = 'no JSON' WHERE seq = 2")
    expect(await epochs()).toEqual([1, 3])
    const reads = createStopReads(first)
    expect((await reads.listStops(ORG.orgId, { limit: 9 })).map(({ epoch }) => epoch)).toEqual([3, 1])
    expect(await reads.listStopDevices(ORG.orgId, 2, { after: 0, limit: 9 })).toMatchObject([
      { wasRevoked: false },
    ])
  })

  const all = { ...STOP_STATEMENTS, ...APPROVAL_STATEMENTS, ...RUN_STATEMENTS }
  test.each(Object.entries(all))('%s is read along its index, and never sorted', async (_, sql) => {
    const { client, destroy } = await nodes.first.connect('plans')
    await client.query('SET enable_seqscan = off')
    const { rows } = await client.query<Record<string, string>>(`EXPLAIN (GENERIC_PLAN) ${sql}`)
    destroy()
    const lines = rows.map((row) => row['QUERY PLAN']).join('\n')
    expect(lines).toMatch(
      /Index (Only )?Scan.* using (audit_stops|approvals_waiting|approvals_others|reported_runs_newest) /,
    )
    expect(lines).not.toMatch(/Seq Scan on|Sort Key: (?!audit\.stop_epoch|.*stop_epoch)/)
  })
})
