import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { PATHS } from '../../../src/machineid/paths.ts'
import {
  RunResponse,
  RunsResponse,
  UnknownEffectsResponse,
  type RunReportBody,
} from '../../../src/machineid/wire-runs.ts'
import { runReport } from '../../fixtures/approvals.ts'
import { startTestControlPlane, type TestControlPlane } from '../../fixtures/control-plane.ts'

const DAY_MS = 86_400_000
let nowMs = Date.parse('2026-11-22T09:00:00Z')
const clock = { now: () => ({ monotonicMs: nowMs, wallMs: nowMs }) }

let authority: TestControlPlane
let keys: TestControlPlane['keys']
beforeAll(async () => {
  authority = await startTestControlPlane({ clock })
  ;({ keys } = authority)
  await authority.controlPlane.housekeeping.close()
})
afterAll(() => authority.close())

let made = 0
const newId = () => `run-${++made}`
const tell = (report: unknown, key = keys.runtime) => authority.post(PATHS.runsReport, report, key)
const told = async (report: RunReportBody, key?: string) => {
  const { status, body } = await tell(report, key)
  expect({ status, body }).toMatchObject({ status: 200 })
}
const get = async (path: string, key = keys.viewer) => (await authority.get(path, key)).body
const show = async (runId: string) =>
  RunResponse.parse(await get(PATHS.run.replace(':id', encodeURIComponent(runId))))
const list = async (query = '') => RunsResponse.parse(await get(`${PATHS.runs}?${query}`))
const effects = async () => UnknownEffectsResponse.parse(await get(PATHS.unknownEffects)).effects
/** As it is some time later, with another agent, so that one sees who told of it. */
const later = (runId: string, agent: string, seconds = 1): RunReportBody => {
  const [run] = runReport(runId).runs
  const changedAt = new Date(Date.parse(run!.changedAt) + seconds * 1000).toISOString()
  return { ...runReport(runId), runs: [{ ...run!, agent, changedAt }], steps: [] }
}
const unknown = (id: string) => ({
  id,
  effect: 'charge',
  kind: 'payment',
  tool: 'send_payment',
  runId: null,
  callId: 'call_1',
  changedAt: '2026-11-22T08:00:00.000Z',
})
const issue = (bindings?: readonly string[]) =>
  authority.service.issueKey({ orgId: authority.orgId, kind: 'runtime', bindings })

describe('what a tool server tells of a run', () => {
  test('is shown as it was told, hostile texts too, and told twice it is there once', async () => {
    const runId = '../<b>\u202e"\'; --'
    const report = runReport(runId)
    const detail = { '<script>': '=cmd|\u202e🙂', ms: 1.5, ok: false, code: null }
    const hostile = {
      ...report,
      runs: [{ ...report.runs[0]!, agent: '<img onerror=x>', status: 'denied', code: 'DEVICE_REVOKED' }],
      steps: [{ ...report.steps[0]!, seq: 2, detail }, ...report.steps],
    }
    await told(hostile)
    await told(hostile)
    const { run, steps } = await show(runId)
    expect(run).toEqual({ ...hostile.runs[0], replica: 'tool-server-1' })
    expect(steps).toEqual(
      hostile.steps.toReversed().map(({ at, type, detail: shown }) => ({ at, type, detail: shown })),
    )
    expect((await list()).runs.filter((one) => one.runId === runId)).toHaveLength(1)
  })

  test('holds no key that slipped in, and of long details what there is room for', async () => {
    const key = 'org_runtime_aaaaaaaaaaaaaaaa_x'
    const report = runReport(key)
    const long = Object.fromEntries(Array.from({ length: 50 }, (_, at) => [`name-${at}`, 'x'.repeat(500)]))
    await told({
      replica: key,
      runs: [{ ...report.runs[0]!, agent: key, caller: key, status: key, code: key }],
      steps: [{ ...report.steps[0]!, type: key, detail: { [key]: key, ...long } }],
      unknownEffects: [{ ...unknown(key), effect: key, tool: key, kind: key, runId: key, callId: key }],
    })
    const shown = await show(key)
    expect(JSON.stringify([shown, await list(), await effects()])).not.toContain('aaaaaaaa')
    expect(Object.keys(shown.steps[0]?.detail ?? {}).length).toBeLessThan(10)
    expect(RunsResponse.parse(await get(`${PATHS.runs}?agent=${key}`)).runs).toHaveLength(1)
    await told({ replica: key, runs: [], steps: [], unknownEffects: [] })
  })

  test('is listed newest first, in pages, by status and agent', async () => {
    const ids = [newId(), newId(), newId()]
    const agent = `pages-${newId()}`
    for (const [at, runId] of ids.entries()) {
      const createdAt = `2026-11-22T08:00:0${at}.000Z`
      const [run] = runReport(runId).runs
      await told({
        ...runReport(runId),
        runs: [{ ...run!, agent, createdAt, status: at === 0 ? 'failed' : 'running' }],
      })
    }
    const first = await list(`agent=${agent}&limit=2`)
    const next = await list(`agent=${agent}&limit=2&cursor=${encodeURIComponent(first.nextCursor ?? '')}`)
    expect([...first.runs, ...next.runs].map(({ runId }) => runId)).toEqual(ids.toReversed())
    expect(next.nextCursor).toBeNull()
    expect((await list(`agent=${agent}&status=failed`)).runs).toMatchObject([{ runId: ids[0] }])
    expect((await get(`${PATHS.runs}?cursor=x`)).code).toBe('BAD_REQUEST')
    expect((await get(PATHS.run.replace(':id', 'none'))).code).toBe('NOT_FOUND')
  })

  test.each([
    ['too many steps', () => ({ ...runReport('r'), steps: Array(501).fill(runReport('r').steps[0]) })],
    [
      'a detail that is an object',
      () => ({ ...runReport('r'), steps: [{ ...runReport('r').steps[0], detail: { a: {} } }] }),
    ],
    ['no time', () => ({ ...runReport('r'), runs: [{ ...runReport('r').runs[0], createdAt: 'now' }] })],
  ])('with %s is refused whole', async (_, report) => {
    expect((await tell(report())).body.code).toBe('BAD_REQUEST')
  })

  test('survives a kill, and is forgotten some time after the last word of it', async () => {
    const runId = newId()
    await told(runReport(runId))
    await authority.kill()
    await authority.restart()
    await authority.controlPlane.housekeeping.close()
    expect((await show(runId)).steps).toHaveLength(1)
    const { housekeeping } = authority.controlPlane
    nowMs += 30 * DAY_MS
    await housekeeping.tick()
    expect((await show(runId)).steps).toHaveLength(1)
    nowMs += 1
    await housekeeping.tick()
    expect((await get(PATHS.run.replace(':id', runId))).code).toBe('NOT_FOUND')
  })
})

describe('a run belongs to the key that told of it', () => {
  test('another key of the org, of other devices or of the same, rewrites nothing and adds nothing', async () => {
    const runId = newId()
    await told(runReport(runId))
    for (const { key } of [await issue(['a:b:*']), await issue()]) {
      await told({ ...later(runId, 'forged'), steps: [{ ...runReport(runId).steps[0]!, seq: 7 }] }, key)
    }
    expect(await show(runId)).toMatchObject({ run: { agent: 'accounts-assistant' }, steps: [{}] })
  })

  test('a rotated key goes on, under its overlap too, and as often as it is rotated', async () => {
    const runId = newId()
    const first = await issue(['a:b:*'])
    await told(runReport(runId), first.key)
    const rotate = async (keyId: string) =>
      (await authority.post(PATHS.keyRotate.replace(':id', keyId), { overlapSeconds: 60 }, keys.admin)).body
    const second = await rotate(first.keyId)
    await told(later(runId, 'second', 1), second.key)
    expect((await show(runId)).run.agent).toBe('second')
    await told(later(runId, 'first', 2), first.key)
    expect((await show(runId)).run.agent).toBe('first')
    const third = await rotate(second.keyId)
    await told(later(runId, 'third', 3), third.key)
    expect((await show(runId)).run.agent).toBe('third')
  })

  test('in place of a burned key goes on whoever speaks for exactly the same devices', async () => {
    const runId = newId()
    const burned = await issue(['a:b:*', 'c:d:*'])
    await told(runReport(runId), burned.key)
    const successor = await issue(['c:d:*', 'a:b:*'])
    await told(later(runId, 'too soon', 1), successor.key)
    await authority.post(PATHS.keyBurn.replace(':id', burned.keyId), {}, keys.admin)
    expect((await tell(later(runId, 'burned', 2), burned.key)).body.code).toBe('KEY_BURNED')
    await told(later(runId, 'other', 2), (await issue(['a:b:*'])).key)
    expect((await show(runId)).run.agent).toBe('accounts-assistant')
    await told(later(runId, 'successor', 3), successor.key)
    expect((await show(runId)).run.agent).toBe('successor')
  })
})

describe('effects of unknown outcome', () => {
  test('are those that each replica told last, until it is silent for a day', async () => {
    const say = (replica: string, ids: readonly string[] | undefined, key?: string) =>
      told({ replica, runs: [], steps: [], ...(ids && { unknownEffects: ids.map(unknown) }) }, key)
    await say('one', ['e1', 'e2'])
    await say('two', ['e2'])
    expect((await effects()).map(({ id }) => id)).toEqual(['e1', 'e2'])
    await say('one', [])
    await say('one', undefined)
    expect(await effects()).toEqual([
      { ...unknown('e2'), replica: 'two', reportedAt: new Date(nowMs).toISOString() },
    ])
    // A rotated key speaks for what it told before.
    const first = await issue(['a:b:*'])
    await say('three', ['e3'], first.key)
    const rotated = await authority.post(PATHS.keyRotate.replace(':id', first.keyId), {}, keys.admin)
    await say('three', [], rotated.body.key)
    expect((await effects()).map(({ id }) => id)).toEqual(['e2'])
    // Another key speaks for none of them.
    const other = await issue()
    await say('two', [], other.key)
    expect(await effects()).toHaveLength(1)
    nowMs += DAY_MS
    await authority.controlPlane.housekeeping.tick()
    expect(await effects()).toHaveLength(1)
    nowMs += 1
    expect(await effects()).toEqual([])
  })
})
