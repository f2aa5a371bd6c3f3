import { describe, expect, test } from 'vitest'

import { createSeen, RATE_CELLS, type Decision } from '../../src/control-plane/decision-batch.ts'
import { createDecisionRates } from '../../src/control-plane/decision-rates.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { DecisionRatesResponse } from '../../src/machineid/wire-evidence.ts'
import { startTestLanes } from '../fixtures/control-plane.ts'

const MINUTE = 60_000
const START = Date.UTC(2027, 0, 1, 12)
const decision = (changes: Partial<Decision> = {}): Decision => ({
  requestId: 'r',
  ordinal: 0,
  orgId: 'o',
  keyId: 'k',
  deviceId: 'd',
  code: 'ALLOW',
  asked: 'validate',
  boundary: 'tool',
  tool: null,
  callId: null,
  runId: null,
  replica: null,
  ...changes,
})

/** A control plane's figures, fed as by a lane. */
function figures(maxOrgs?: number) {
  let nowMs = START
  const seen = createSeen()
  const rates = createDecisionRates({ nowMs: () => nowMs, maxOrgs })
  return {
    decided: (changes: Partial<Decision> = {}, times = 1) => {
      for (let made = 0; made < times; made++) seen.decided(decision(changes), true, nowMs)
    },
    handOver: () => rates.add(seen.take()?.rates ?? new Map()),
    advance: (minutes: number) => void (nowMs += minutes * MINUTE),
    of: (orgId = 'o') => rates.of(orgId),
  }
}
const at = (minutes: number) => new Date(START + minutes * MINUTE).toISOString()

describe('decisions are counted', () => {
  test('by minute, boundary and whether they were allowed; names that callers made up count as none', async () => {
    const { decided, handOver, advance, of } = figures()
    decided({ boundary: 'tool' }, 3)
    decided({ boundary: 'tool', code: 'DEVICE_REVOKED' })
    decided({ boundary: 'tool', code: 'ORG_DISABLED' })
    for (const boundary of [null, 'mine', '', 'constructor', 'TOOL']) decided({ boundary })
    advance(2)
    for (const boundary of ['startup', 'task', 'side_effect', 'resume']) decided({ boundary, code: 'X' })
    handOver()
    decided({ boundary: 'task', code: 'X' })
    handOver()
    expect(await of()).toEqual({
      since: at(0),
      minutes: [
        {
          at: at(0),
          counts: [
            { boundary: null, allowed: true, count: 5 },
            { boundary: 'tool', allowed: true, count: 3 },
            { boundary: 'tool', allowed: false, count: 2 },
          ],
        },
        {
          at: at(2),
          counts: [
            { boundary: 'startup', allowed: false, count: 1 },
            { boundary: 'task', allowed: false, count: 2 },
            { boundary: 'side_effect', allowed: false, count: 1 },
            { boundary: 'resume', allowed: false, count: 1 },
          ],
        },
      ],
    })
  })

  test('also after the clock was ahead for a while: nothing is lost in the minutes that it had been in', async () => {
    const { decided, handOver, advance, of } = figures()
    advance(600)
    decided()
    handOver()
    advance(-600)
    decided({}, 2)
    handOver()
    expect(await of()).toEqual({
      since: at(0),
      minutes: [{ at: at(0), counts: [{ boundary: 'tool', allowed: true, count: 2 }] }],
    })
  })

  test('for 60 minutes, this one included', async () => {
    const { decided, handOver, advance, of } = figures()
    decided()
    handOver()
    advance(59)
    decided()
    handOver()
    expect(await of()).toMatchObject({ since: at(0), minutes: [{ at: at(0) }, { at: at(59) }] })
    advance(1)
    decided({}, 2)
    handOver()
    const minutes = [{ at: at(59) }, { at: at(60), counts: [{ count: 2 }] }]
    expect(await of()).toMatchObject({ since: at(1), minutes })
    advance(600)
    expect(await of()).toEqual({ since: at(601), minutes: [] })
  })

  test('for each org apart, and for a bounded number: the one that was silent longest is forgotten, and says so', async () => {
    const { decided, handOver, advance, of } = figures(2)
    for (const orgId of ['one', 'two']) decided({ orgId })
    handOver()
    advance(1)
    decided({ orgId: 'one' })
    handOver()
    decided({ orgId: 'three' })
    handOver()
    expect(await of('one')).toMatchObject({ since: at(0), minutes: [{}, {}] })
    expect(await of('two')).toEqual({ since: at(1), minutes: [] })
    expect(await of('three')).toMatchObject({ since: at(1), minutes: [{ counts: [{ count: 1 }] }] })
  })
})

test('a lane in a thread counts allows too, though only denials are stored', async () => {
  await using authority = await startTestLanes()
  await authority.register('a:test:worker:01')
  const ask = (deviceId: string, boundary: string) =>
    authority.post(PATHS.validate, { deviceId, context: { boundary } }, authority.keys.runtime)
  for (let asked = 0; asked < 5; asked++) await ask('a:test:worker:01', 'task')
  await ask('a:test:unknown:01', 'side_effect')
  const counts = async () => {
    const { body } = await authority.get(PATHS.decisionRates, authority.keys.stop)
    const totals: Record<string, number> = {}
    for (const minute of DecisionRatesResponse.parse(body).minutes) {
      for (const { boundary, allowed, count } of minute.counts) {
        const name = `${boundary} ${allowed}`
        totals[name] = (totals[name] ?? 0) + count
      }
    }
    return totals
  }
  await expect.poll(counts, { timeout: 5000 }).toEqual({ 'task true': 5, 'side_effect false': 1 })
  const other = await authority.service.createOrg({ kinds: ['viewer'] })
  const { body } = await authority.get(PATHS.decisionRates, other.keys.viewer)
  expect(DecisionRatesResponse.parse(body).minutes).toEqual([])
  expect(RATE_CELLS).toHaveLength(12)
})
