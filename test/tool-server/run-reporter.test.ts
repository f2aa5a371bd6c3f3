// What the control plane is told of runs: small servers that speak the wire, real sockets, MachineID's client.

import { afterAll, beforeEach, expect, onTestFinished, test } from 'vitest'
import type { RunWatcher } from '../../src/agents/hosted/run-watcher.ts'
import { createLogger } from '../../src/log.ts'
import { MachineID } from '../../src/machineid/client.ts'
import type { RunReports } from '../../src/machineid/run-reports.ts'
import {
  createRunReporter,
  REPORT_EVERY_MS,
  UNKNOWN_AGAIN_MS,
  UNKNOWN_EVERY_MS,
} from '../../src/tool-server/run-reporter.ts'
import { startDeskServer } from '../fixtures/desk-server.ts'
import { httpAnswer } from '../fixtures/raw-server.ts'
import { done, refundCall } from '../agents/helpers.ts'
import { ann, boss, cashierWorld, decideAll } from '../agents/hosted/world.ts'

const plane = await startDeskServer()
afterAll(() => plane.close())
beforeEach(() => plane.reset())

const start = { agent: 'cashier', input: 'pay the secret invoice', runId: 'run_1' }

/** A reporter on the runs of a world; its time moves only when told. */
async function reportedWorld(script = [[refundCall('c1')], done]) {
  const client = new MachineID({ orgKey: 'org_test', baseUrl: plane.url, timeoutMs: 500, replica: 'here/1' })
  onTestFinished(() => client.close())
  // Both need each other: the runs their watcher, and the reporter their store.
  const late: { watcher?: RunWatcher } = {}
  const world = await cashierWorld(script, {
    watcher: {
      runChanged: (run) => late.watcher?.runChanged(run),
      stepsStored: (steps) => late.watcher?.stepsStored(steps),
    },
  })
  const made = reporterOn(client.runReports as RunReports, world.store.runs)
  late.watcher = made.reporter
  return { ...world, ...made }
}

function reporterOn(reports: RunReports, store: Parameters<typeof createRunReporter>[0]['store']) {
  const timers: { ms: number; body: () => void }[] = []
  const clock = { ms: 0 }
  const lines: Record<string, unknown>[] = []
  const reporter = createRunReporter({
    reports,
    store,
    log: createLogger({ destination: { write: (line) => void lines.push(JSON.parse(line)) } }),
    every: (ms, body) => {
      timers.push({ ms, body })
      return () => void timers.splice(0)
    },
    nowMs: () => clock.ms,
  })
  const due = (ms: number) => {
    clock.ms += ms
    for (const timer of timers) if (timer.ms === ms) timer.body()
  }
  const advance = (ms: number) => void (clock.ms += ms)
  return { reporter, due, advance, told: lines }
}

const toldOf = (field: 'runs' | 'steps') => plane.reports.flatMap((report) => report[field] as unknown[])

test('every status and step arrives, in order, without arguments, outputs, input or keys', async () => {
  const { runs, reporter, due } = await reportedWorld([[refundCall('sk-abcdefgh12345678', 'INV-77')], done])
  reporter.begin()
  await runs.start(ann, start)
  due(REPORT_EVERY_MS)
  await expect.poll(() => toldOf('runs').at(-1)).toMatchObject({ runId: 'run_1', status: 'interrupted' })
  await decideAll(runs, 'run_1', true)
  await runs.resume(ann, { runId: 'run_1' })
  due(REPORT_EVERY_MS)
  await expect
    .poll(() => toldOf('runs').at(-1))
    .toMatchObject({
      runId: 'run_1',
      agent: 'cashier',
      caller: 'ann',
      status: 'completed',
      code: null,
    })
  const steps = plane.reports.flatMap((report) => report.steps)
  expect(steps.map(({ seq }) => seq)).toEqual(steps.map((_, at) => at))
  const stored = (await runs.show(ann, 'run_1')).steps
  expect(steps.map(({ type }) => type)).toEqual(stored.map(({ type }) => type))
  expect(steps.find(({ type }) => type === 'allowed')?.detail).toMatchObject({
    code: 'ALLOW',
    boundary: 'task',
  })
  expect(plane.reports.every(({ replica }) => replica === 'here/1')).toBe(true)
  const text = JSON.stringify(plane.reports)
  for (const secret of ['INV-77', 'amountCents', 'secret invoice', 'receipt', 'abcdefgh12345678', 'digest'])
    expect(text).not.toContain(secret)
})

test('a denied run is told with its code, and a cancelled one as such', async () => {
  const { runs, authority, guard, reporter, due } = await reportedWorld()
  reporter.begin()
  await runs.start(ann, start)
  await runs.cancel(ann, 'run_1')
  authority.stop(guard.serverDeviceId, 'DEVICE_REVOKED')
  await runs.start(ann, { ...start, runId: 'run_2' })
  due(REPORT_EVERY_MS)
  await expect
    .poll(
      () =>
        new Map(
          plane.reports.flatMap((report) => report.runs).map((run) => [run.runId, [run.status, run.code]]),
        ),
    )
    .toEqual(
      new Map([
        ['run_1', ['cancelled', null]],
        ['run_2', ['denied', 'DEVICE_REVOKED']],
      ]),
    )
})

test('at the start the newest runs are told as they are, and which outcomes nobody knows; then only what changes', async () => {
  const world = await reportedWorld()
  world.bank.before = () => Promise.reject(new Error('the line went dead'))
  await world.runs.start(ann, start)
  await decideAll(world.runs, 'run_1', true)
  await world.runs.resume(ann, { runId: 'run_1' })
  const restarted = reporterOn(
    new MachineID({ orgKey: 'org_test', baseUrl: plane.url, timeoutMs: 500 }).runReports as RunReports,
    world.store.runs,
  )
  restarted.reporter.begin()
  const unknown = () =>
    plane.reports.flatMap(({ unknownEffects }) => (unknownEffects === undefined ? [] : [unknownEffects]))
  await expect.poll(() => toldOf('runs')).toMatchObject([{ runId: 'run_1', status: 'completed' }])
  expect(unknown()).toMatchObject([[{ effect: 'refund', kind: 'payment', runId: 'run_1', callId: 'c1' }]])

  restarted.due(UNKNOWN_EVERY_MS)
  restarted.due(REPORT_EVERY_MS)
  // Now and then all the same: the control plane may have refused it, or lost it since.
  restarted.advance(UNKNOWN_AGAIN_MS)
  restarted.due(UNKNOWN_EVERY_MS)
  await expect.poll(() => (restarted.due(REPORT_EVERY_MS), unknown().length)).toBe(2)
  expect(unknown()[1]).toEqual(unknown()[0])
  const [effect] = await world.runs.unknownEffects(boss)
  await world.runs.settleEffect(boss, effect?.id ?? '', { outcome: 'failed', reason: 'not at the bank' })
  restarted.due(UNKNOWN_EVERY_MS)
  await expect.poll(() => (restarted.due(REPORT_EVERY_MS), unknown().length)).toBe(3)
  expect(unknown()[2]).toEqual([])
  await restarted.reporter.close()
})

test('while the control plane is away no run waits, what is kept is bounded, and how much was dropped is logged', async () => {
  const { runs, reporter, due, told } = await reportedWorld()
  reporter.begin()
  await expect.poll(() => plane.calls.length).toBeGreaterThan(0)
  plane.down = true
  const startedMs = performance.now()
  expect(await runs.start(ann, start)).toMatchObject({ status: 'interrupted' })
  expect(performance.now() - startedMs).toBeLessThan(2000)
  for (let at = 0; at < 7000; at += 1)
    reporter.stepsStored([{ runId: 'run_many', atMs: at, type: 'held', detail: { boundary: 'tool' } }])
  due(REPORT_EVERY_MS)
  await expect.poll(() => told).toMatchObject([{ level: 'warn', code: 'AUTHORITY_UNREACHABLE' }])
  // It is not asked at every turn.
  const calls = plane.calls.length
  plane.down = false
  await expect.poll(() => (due(REPORT_EVERY_MS), plane.reports.length)).toBeGreaterThan(10)
  expect(plane.calls.length).toBeGreaterThan(calls)
  const many = plane.reports.flatMap(({ steps }) => steps).filter(({ runId }) => runId === 'run_many')
  expect(many).toHaveLength(5000)
  expect(many.at(-1)?.seq).toBe(6999)
  expect(plane.reports.every(({ steps }) => steps.length <= 500)).toBe(true)
  expect(told.slice(1)).toMatchObject([
    { msg: 'the control plane is told of runs again' },
    { level: 'warn', dropped: expect.any(Number) },
  ])
  expect(told[2]?.['dropped']).toBeGreaterThanOrEqual(2000)
})

test('no report is larger than the control plane takes, and a step is cut to what it keeps', async () => {
  const { reporter, due } = await reportedWorld()
  reporter.begin()
  const long = 'ü"\u0000\ud800'.repeat(400)
  for (let at = 0; at < 500; at += 1)
    reporter.stepsStored([
      {
        runId: 'run_1',
        atMs: at,
        type: 'tool_called',
        detail: { call_id: long, tool: long, nested: { a: 1 }, n: NaN },
      },
    ])
  due(REPORT_EVERY_MS)
  await expect.poll(() => plane.reports.flatMap(({ steps }) => steps).length).toBe(500)
  for (const report of plane.reports)
    expect(Buffer.byteLength(JSON.stringify(report))).toBeLessThan(256 * 1024)
  expect(plane.reports.length).toBeGreaterThan(2)
  const [step] = plane.reports.flatMap(({ steps }) => steps)
  expect(Object.keys(step?.detail ?? {})).toEqual(['call_id', 'tool'])
  expect(String(step?.detail['tool']).length).toBeLessThanOrEqual(512)
})

test('what the control plane itself refuses is not sent again', async () => {
  const { reporter, due } = await reportedWorld()
  reporter.begin()
  await expect.poll(() => plane.reports.length).toBe(1)
  const refused = JSON.stringify({
    status: 'error',
    error: 'bad_request',
    code: 'BAD_REQUEST',
    request_id: 'r1',
  })
  plane.instead = () => httpAnswer(refused, { status: '400 Bad Request' })
  reporter.stepsStored([{ runId: 'run_1', atMs: 1, type: 'held', detail: {} }])
  due(REPORT_EVERY_MS)
  await expect.poll(() => plane.reports.length).toBe(2)
  plane.instead = () => undefined
  for (let at = 0; at < 100; at += 1) due(REPORT_EVERY_MS)
  reporter.stepsStored([{ runId: 'run_1', atMs: 2, type: 'held', detail: {} }])
  await expect.poll(() => (due(REPORT_EVERY_MS), plane.reports.at(-1)?.steps)).toMatchObject([{ seq: 1 }])
})

test('what comes too fast for the control plane waits and is sent again', async () => {
  const { reporter, due, told } = await reportedWorld()
  reporter.begin()
  await expect.poll(() => plane.reports.length).toBe(1)
  const limited = JSON.stringify({ status: 'error', error: 'rate_limited', code: 'RATE_LIMITED' })
  plane.instead = () => httpAnswer(limited, { status: '429 Too Many Requests' })
  reporter.stepsStored([{ runId: 'run_1', atMs: 1, type: 'held', detail: {} }])
  due(REPORT_EVERY_MS)
  await expect.poll(() => told).toMatchObject([{ level: 'warn', code: 'AUTHORITY_RATE_LIMITED' }])
  plane.instead = () => undefined
  const before = plane.reports.length
  await expect
    .poll(() => (due(REPORT_EVERY_MS), plane.reports.slice(before).flatMap(({ steps }) => steps)))
    .toMatchObject([{ seq: 0 }])
})

test('the end tells what waits, and waits for nobody that does not answer', async () => {
  const { runs, reporter } = await reportedWorld()
  reporter.begin()
  await expect.poll(() => plane.calls.length).toBeGreaterThan(0)
  await runs.start(ann, start)
  await reporter.close()
  expect(toldOf('runs').at(-1)).toMatchObject({ status: 'interrupted' })

  const other = await reportedWorld()
  plane.instead = () => Buffer.alloc(0)
  other.reporter.stepsStored([{ runId: 'run_1', atMs: 1, type: 'held', detail: {} }])
  const startedMs = performance.now()
  await other.reporter.close()
  expect(performance.now() - startedMs).toBeLessThan(2500)
  expect(other.told.at(-1)).toMatchObject({ dropped: 1 })
})
