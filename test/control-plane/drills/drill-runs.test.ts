import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'

import type { DrillRunner } from '../../../src/control-plane/drills/drill-runs.ts'
import { PATHS } from '../../../src/machineid/paths.ts'
import { DrillRunResponse } from '../../../src/machineid/wire-drills.ts'
import { startTestControlPlane, type TestControlPlane } from '../../fixtures/control-plane.ts'
import { drillReport } from '../../fixtures/drill-report.ts'
import { auditOf } from '../dump.ts'

// How the control plane starts, shows and ends a drill. What runs it is a runner of this file; the real one is in
// test/cli/drill-run.test.ts.

type Drill = Parameters<DrillRunner['run']>[0]
type End = Awaited<ReturnType<DrillRunner['run']>>

let authority: TestControlPlane
let nowMs = Date.now()
/** The drill that runs, and how to end it. */
let running: { readonly drill: Drill; readonly end: (how: End | Error) => void } | undefined

const runner: DrillRunner = {
  get orgId() {
    return authority.orgId
  },
  run: (drill) =>
    new Promise((resolve, reject) => {
      drill.signal.addEventListener('abort', () => void sayLastWords(drill).then(resolve))
      running = { drill, end: (how) => (how instanceof Error ? reject(how) : resolve(how)) }
    }),
}

/** What a drill that is to end has to do before: its answer must come while it may still ask. */
let lastWords: number | undefined
async function sayLastWords({ controlPlaneUrl, key }: Drill): Promise<End> {
  const answer = await fetch(`${controlPlaneUrl}${PATHS.usage}`, { headers: { 'x-org-key': key } })
  lastWords = answer.status
  return 'failed'
}

beforeAll(async () => {
  const clock = { now: () => ({ wallMs: nowMs, monotonicMs: nowMs }) }
  authority = await startTestControlPlane({ drillRunner: runner, clock })
})
beforeEach(() => {
  running = undefined
})
afterAll(() => authority.close())

const start = (body: unknown = {}, key = authority.keys.operator) => authority.post(PATHS.drillRun, body, key)
const look = async (key = authority.keys.viewer) =>
  DrillRunResponse.parse((await authority.get(PATHS.drillRun, key)).body).run
const started = async (body: unknown = {}, key = authority.keys.operator): Promise<Drill> => {
  const answer = await start(body, key)
  expect(answer.status, JSON.stringify(answer.body)).toBe(200)
  expect(DrillRunResponse.parse(answer.body).run.state).toBe('running')
  return (running as NonNullable<typeof running>).drill
}
const ended = async (how: End | Error) => {
  running?.end(how)
  await expect.poll(async () => (await look()).state).not.toBe('running')
  return look()
}
const audit = () => auditOf(authority.file, authority.orgId)
const orgEpoch = async () => (await authority.service.usage(authority.orgId)).org.epoch

test('before the first one nothing is shown', async () => {
  expect(await look()).toEqual({
    state: 'idle',
    startedAt: null,
    endedAt: null,
    by: null,
    drillId: null,
    lines: [],
  })
})

describe('a drill that is started here', () => {
  test('asks with a key of its own, which ends with it: expired, and no stop', async () => {
    const before = (await authority.get(PATHS.stopHistory, authority.keys.viewer)).body.stops.length
    const drill = await started({ forSeconds: 1, surface: 'payments' })
    expect(drill.asked).toEqual({ forSeconds: 1, surface: 'payments' })
    expect(drill.controlPlaneUrl).toBe(authority.operatorUrl)
    expect(drill.key).toMatch(/^org_operator_/)
    const report = drillReport(authority.orgId, 'run-1')
    expect((await authority.post(PATHS.drills, { report }, drill.key)).status).toBe(200)
    expect((await look()).drillId).toBeNull()

    expect(await ended('held')).toMatchObject({
      state: 'held',
      drillId: 'run-1',
      by: expect.stringMatching(/^operator:[a-z2-7]{16}$/),
      startedAt: new Date(nowMs).toISOString(),
      endedAt: new Date(nowMs).toISOString(),
    })
    const refused = await authority.get(PATHS.usage, drill.key)
    expect(refused).toMatchObject({ status: 401, body: { code: 'KEY_EXPIRED' } })
    expect(
      audit()
        .slice(-4)
        .map(({ action }) => action),
    ).toEqual(['drill.run', 'key.issue', 'drill.store', 'key.expired'])
    const issued = audit().find(({ action, after }) => action === 'key.issue' && after.name === 'drill')
    expect(issued?.after).toMatchObject({
      kind: 'operator',
      endsAtMs: nowMs + 15 * 60_000,
    })
    const { stops } = (await authority.get(PATHS.stopHistory, authority.keys.viewer)).body
    expect(stops).toHaveLength(before)
    expect(await orgEpoch()).toBe(0)
  })

  test('ends its key by itself when nobody does, and not before', async () => {
    const drill = await started()
    expect((await authority.get(PATHS.usage, drill.key)).status).toBe(200)
    nowMs += 15 * 60_000 - 1
    expect((await authority.get(PATHS.usage, drill.key)).status).toBe(200)
    nowMs += 1
    expect((await authority.get(PATHS.usage, drill.key)).body.code).toBe('KEY_EXPIRED')
    await ended('held')
  })

  test('is the only one: a second one is refused until it has ended, even one that is asked for at the same time', async () => {
    const both = await Promise.all([start(), start()])
    expect(both.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 409])
    expect(await start()).toMatchObject({ status: 409, body: { code: 'DRILL_RUNNING' } })
    await ended('held')
    await started()
    await ended('held')
  })

  test('shows what it says: the newest 200 lines, without keys and without what steers a terminal', async () => {
    const { onLine, key } = await started()
    onLine(`with ${key} \u001B[31mred\u202E\u0007`)
    onLine('x'.repeat(5000))
    const [first = '', second = ''] = (await look()).lines
    expect(first).toBe('with org_[redacted]  [31mred  ')
    expect(second).toHaveLength(500)
    for (let line = 1; line <= 300; line++) onLine(`line ${line}`)
    const { lines } = await ended('not_held')
    expect(lines).toHaveLength(200)
    expect([lines[0], lines.at(-1)]).toEqual(['line 101', 'line 300'])
    expect((await look()).state).toBe('not_held')
  })

  test('failed when it could not begin, and says why', async () => {
    await started()
    const run = await ended(new Error('DRILL_TOKEN_FILE cannot be read'))
    expect(run).toMatchObject({ state: 'failed', lines: ['DRILL_TOKEN_FILE cannot be read'], drillId: null })
  })

  test('names no drill that another key stored meanwhile', async () => {
    await started()
    const report = drillReport(authority.orgId, 'of-another')
    expect((await authority.post(PATHS.drills, { report }, authority.keys.operator)).status).toBe(200)
    expect((await ended('held')).drillId).toBeNull()
  })
})

describe('who may', () => {
  test('the whole org takes whoever may enable it again; the key is then of kind admin', async () => {
    expect(await start({ org: true })).toMatchObject({ status: 403, body: { code: 'INSUFFICIENT_SCOPE' } })
    const drill = await started({ org: true }, authority.keys.admin)
    expect(drill.key).toMatch(/^org_admin_/)
    await ended('held')
  })

  test.each([
    [{ surface: '' }, '"surface" must be'],
    [{ callsPerSecond: 101 }, '"callsPerSecond" must be'],
    [{ forSeconds: 0 }, '"forSeconds" must be'],
  ])('not with %j', async (body, said) => {
    expect(await start(body)).toMatchObject({ status: 400, body: { message: expect.stringContaining(said) } })
    expect(running).toBeUndefined()
  })

  test('another org sees nothing of it, and its drills are off', async () => {
    await started()
    const { keys } = await authority.service.createOrg({ kinds: ['operator'] })
    expect((await look(keys.operator)).state).toBe('off')
    expect(await start({}, keys.operator)).toMatchObject({
      status: 409,
      body: { code: 'DRILLS_NOT_CONFIGURED', message: expect.stringContaining('Set DRILL_TOOL_SERVER_URL') },
    })
    await ended('held')
  })

  test('a key that was burned on the way starts nothing', async () => {
    const { key, keyId } = await authority.service.issueKey({ orgId: authority.orgId, kind: 'operator' })
    const burning = authority.post(PATHS.keyBurn.replace(':id', keyId), {}, authority.keys.admin)
    await burning
    expect((await start({}, key)).status).toBe(401)
    expect(running).toBeUndefined()
    await started()
    await ended('held')
  })
})

test('a control plane that is being stopped lets the drill restore first what it has stopped', async () => {
  const { key } = await started()
  await authority.restart()
  expect(lastWords).toBe(200)
  expect((await look()).state).toBe('idle')
  expect((await authority.get(PATHS.usage, key)).body.code).toBe('KEY_EXPIRED')
})
