import { describe, expect, test } from 'vitest'

import { canonicalJson } from '../../src/canonical-json.ts'
import type { RunView } from '../../src/agents/hosted/run-types.ts'
import { loadAirline } from '../fixtures/airline.ts'
import { agentName, inputsOf, startAirlineRuns, type AirlineRuns } from '../fixtures/airline-runs.ts'
import { PAYMENTS, SERVER } from '../fixtures/hosted-runs.ts'
import { randomFrom, seedFrom } from '../fixtures/random.ts'

const airline = loadAirline()
const DECLINED = 'Not this one, please.'

/** What becomes of a call on payments. */
interface Fate {
  readonly approve: boolean
  /** What is revoked between pause and resume. The server device is restored before the run is resumed again. */
  readonly revoke: 'payments' | 'server' | undefined
}

describe.skipIf(airline.absent)('recorded conversations as hosted runs', () => {
  const { conversations, calls } = airline
  const seed = seedFrom('AIRLINE_SEED')
  const fates = fatesOf(
    seed,
    [...calls.values()].flatMap(({ surface, callId }) => (surface === 'payments' ? [callId] : [])),
  )

  test('each payment waits for a person; half are declined, a tenth meets a revoked surface: all counts come out exactly (G1, G8)', async () => {
    console.warn(`AIRLINE_SEED=${seed}`)
    await using runs = await startAirlineRuns(airline)
    const { world, starts, told } = runs
    let paused = 0
    let runCount = 0
    let resumesDenied = 0
    for (const [index, conversation] of conversations.entries()) {
      for (const [turn, input] of inputsOf(conversation).entries()) {
        const runId = `airline_${index}_${turn}`
        const posted = await world.post('/runs', { agent: agentName(index), runId, input })
        expect(posted.status).toBe(200)
        let view = posted.body as RunView
        runCount += 1
        while (view.status === 'interrupted') {
          paused += 1
          const settled = await settle(runs, view, fates)
          resumesDenied += settled.denied
          view = settled.view
        }
        expect(view).toMatchObject({ runId, status: 'completed', approvals: [], resumable: false })
      }
    }

    const all = [...calls.values()]
    const fateOf = (callId: string) => fates.get(callId)
    const paid = all.filter(({ callId }) => fateOf(callId)?.approve && fateOf(callId)?.revoke !== 'payments')
    const denied = all.filter(
      ({ callId }) => fateOf(callId)?.approve && fateOf(callId)?.revoke === 'payments',
    )
    const declined = all.filter(({ callId }) => fateOf(callId)?.approve === false)
    expect([paid.length, denied.length, declined.length]).toEqual([54, 6, 60])
    expect({ paused, runCount, resumesDenied }).toEqual({ paused: 120, runCount: 749, resumesDenied: 12 })

    // Everything that was allowed ran once, and nothing else ran.
    const notRun = new Set([...denied, ...declined].map(({ callId }) => callId))
    const ran = all.filter(({ callId }) => !notRun.has(callId)).map(({ callId }) => callId)
    const effects = ran.filter((callId) => calls.get(callId)?.surface !== 'tool-server')
    const started = (what: string) => starts.filter((one) => one.what === what)
    expect(ran).toHaveLength(572 - 66)
    expect(started('body').map(({ call }) => call.callId)).toEqual(ran)
    expect(started('effect').map(({ call }) => call.callId)).toEqual(effects)
    expect(new Set(started('effect').map((one) => one.idempotencyKey)).size).toBe(effects.length)
    expect(world.journal()).toEqual({ done: effects.length })

    // The models were told what was recorded, that a person declined, or that payments are revoked.
    expect(told.size).toBe(572)
    for (const { callId, output } of all) {
      if (!notRun.has(callId)) expect(told.get(callId)).toBe(output)
    }
    for (const { callId } of declined) expect(told.get(callId)).toBe(DECLINED)
    const requestIds = new Set<unknown>()
    for (const { callId } of denied) {
      const refusal = JSON.parse(told.get(callId) as string) as Record<string, unknown>
      expect(refusal).toMatchObject({ code: 'DEVICE_REVOKED', device_id: PAYMENTS, executed: false })
      requestIds.add(refusal['request_id'])
    }
    expect(requestIds.size).toBe(6)

    // The log has each denial, by code and boundary; and the store each approval.
    const denials = world.lines.filter(({ allowed }) => allowed === false)
    const byKind = Object.groupBy(denials, (line) => `${String(line['code'])} at ${String(line['boundary'])}`)
    expect(Object.fromEntries(Object.entries(byKind).map(([kind, lines]) => [kind, lines?.length]))).toEqual({
      'DEVICE_REVOKED at resume': 12,
      'DEVICE_REVOKED at tool': 6,
    })
    const states = world.rows('SELECT state, count(*) AS count FROM approvals GROUP BY state ORDER BY state')
    expect(states.map(({ state, count }) => [state, count])).toEqual([
      ['declined', 60],
      ['ended', 6],
      ['used', 54],
    ])
  }, 300_000)
})

/** Half of the calls are approved; of each half a tenth meets revoked payments, and another one a revoked server. */
function fatesOf(seed: number, callIds: readonly string[]): ReadonlyMap<string, Fate> {
  const fates = randomFrom(seed)
    .shuffled(callIds)
    .map((callId, place, { length }): [string, Fate] => {
      const approve = place < length / 2
      const tenth = Math.floor((place % (length / 2)) / (length / 20))
      return [callId, { approve, revoke: tenth === 0 ? 'payments' : tenth === 1 ? 'server' : undefined }]
    })
  return new Map(fates)
}

/** Decides on the call that waits as its fate says, and resumes the run. */
async function settle({ world }: AirlineRuns, view: RunView, fates: ReadonlyMap<string, Fate>) {
  const { runId, approvals } = view
  const [approval] = approvals
  if (approval === undefined || approvals.length > 1)
    throw new Error(`${runId} waits for ${approvals.length}`)
  const { callId, tool, digest } = approval
  const recorded = airline.calls.get(callId)
  expect(recorded).toMatchObject({ tool, surface: 'payments' })
  expect(canonicalJson(approval.arguments)).toBe(canonicalJson(JSON.parse(recorded?.arguments ?? '')))
  const { approve, revoke } = fates.get(callId) as Fate

  const decision = { callId, digest, approve, ...(approve ? {} : { message: DECLINED }) }
  const decided = await world.post(
    `/runs/${runId}/decisions`,
    { decisions: [decision] },
    world.tokens.approver,
  )
  expect(decided.status).toBe(200)

  let denied = 0
  const device = revoke === 'payments' ? PAYMENTS : SERVER
  if (revoke !== undefined) await world.authority.revoke(device)
  if (revoke === 'server') {
    denied += 1
    const refused = await world.resume(runId)
    expect(refused).toMatchObject({
      status: 403,
      body: { code: 'DEVICE_REVOKED', boundary: 'resume', device_id: SERVER, executed: false },
    })
    expect(refused.body.request_id).toMatch(/^[0-9a-f-]{36}$/)
    await world.authority.restore(SERVER)
    expect((await world.show(runId)).status).toBe('interrupted')
  }
  const resumed = await world.resume(runId)
  if (revoke === 'payments') await world.authority.restore(PAYMENTS)
  expect(resumed.status).toBe(200)
  return { view: resumed.body as RunView, denied }
}
