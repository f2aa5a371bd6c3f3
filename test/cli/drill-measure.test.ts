import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { latestStartMs, type CanaryCall } from '../../src/cli/drill/canary-call.ts'
import { measureStop, type Expected } from '../../src/cli/drill/measure.ts'
import { judgeWorks } from '../../src/cli/drill/started.ts'

const ACK_MS = 10_000
const MAX_AGE_MS = 2000
const CELL = { toolServer: 'http://a', surface: 'payments', boundary: 'tool' } as const
const EXPECTED: readonly Expected[] = [{ cell: CELL, replica: 'a/1', maxAgeMs: MAX_AGE_MS }]

function call(
  sentAtMs: number,
  receivedAtMs: number,
  reply?: Partial<NonNullable<CanaryCall['reply']>>,
): CanaryCall {
  const denied = { started: false, startedAgoMs: null, endedBy: null, code: 'DEVICE_REVOKED' }
  return {
    cell: CELL,
    holdMs: 20,
    sentAtMs,
    receivedAtMs,
    reply: reply && { replica: 'a/1', deviceId: 'd', ...denied, ...reply },
    problem: reply === undefined ? 'no answer' : undefined,
  }
}
const started = (
  sentAtMs: number,
  receivedAtMs: number,
  startedAgoMs: number | null,
  endedBy: 'stop' | 'time' = 'time',
) => call(sentAtMs, receivedAtMs, { started: true, startedAgoMs, endedBy, code: 'ALLOW' })
const denied = (sentAtMs: number, receivedAtMs: number, code = 'DEVICE_REVOKED') =>
  call(sentAtMs, receivedAtMs, { code })
const measure = (...calls: CanaryCall[]) =>
  measureStop({ ackAtMs: ACK_MS, calls, expected: EXPECTED, isOfStop: (code) => code === 'DEVICE_REVOKED' })
const row = (...calls: CanaryCall[]) => measure(...calls).measures[0]

describe('one call, and what is made of it', () => {
  const DENIED = denied(10_500, 10_502)
  test.each([
    ['sent after the ack and denied', denied(10_100, 10_103), { startedAfterAck: 0, inFlight: 0 }, 0, 0],
    [
      'sent in the very instant of the ack and started (G1)',
      started(10_000, 10_050, 40),
      { startedAfterAck: 1 },
      1,
      0,
    ],
    [
      'sent after the ack and started, however briefly (G1)',
      started(10_900, 10_901, 0),
      { startedAfterAck: 1 },
      1,
      0,
    ],
    [
      'running since before the ack, ended by the stop',
      started(9000, 10_012, 1000, 'stop'),
      { startedAfterAck: 0, startedInWindow: 0, inFlight: 1 },
      0,
      0,
    ],
    [
      'sent before the ack, may have started after it',
      started(9990, 10_200, 100),
      { startedInWindow: 1, windowMs: 100 },
      0,
      0,
    ],
    [
      'sent before the ack, may have started more than maxAgeMs after it (G3)',
      started(9990, 12_500, 400),
      { startedInWindow: 1, windowMs: 2100 },
      1,
      0,
    ],
    [
      'a start before the call was sent is not believed: the worst is taken',
      started(9990, 10_200, 5000),
      { startedInWindow: 1, windowMs: 200 },
      0,
      0,
    ],
    [
      'no word on when it started: the worst is taken',
      started(9990, 10_200, null),
      { startedInWindow: 1, windowMs: 200 },
      0,
      0,
    ],
    ['over before the ack', started(9000, 9100, 50), { startedInWindow: 0, inFlight: 0 }, 0, 0],
    ['in flight at the ack and denied', denied(9999, 10_004), { startedInWindow: 0, inFlight: 0 }, 0, 0],
    ['sent after the ack, no answer: nobody knows', call(10_100, 10_200), { startedAfterAck: 0 }, 0, 1],
    ['in flight at the ack, no answer: nobody knows', call(9900, 10_200), { inFlight: 0 }, 0, 1],
    ['no answer long before the ack is not of this stop', call(9000, 9100), { inFlight: 0 }, 0, 0],
  ] as const)('%s', (_, one, expected, violations, gaps) => {
    const measured = measure(one, DENIED)

    expect(measured.measures).toHaveLength(1)
    expect(measured.measures[0]).toMatchObject(expected)
    expect(measured.violations).toHaveLength(violations)
    expect(measured.gaps).toHaveLength(gaps)
  })

  test('a surface that was not called after the ack proves nothing', () => {
    expect(measure(denied(9000, 9010)).gaps).toEqual(['no call was sent after the ack: payments tool on a/1'])
  })

  test('denials for another reason are not the stop: nothing would start anyhow', () => {
    expect(measure(denied(10_100, 10_110, 'GUARD_OVERLOADED')).gaps[0]).toContain('GUARD_OVERLOADED')
  })

  test('a replica that nobody expected is measured as well', () => {
    const other = call(10_100, 10_110, { replica: 'b/2', started: true, startedAgoMs: 5, code: 'ALLOW' })
    const { measures, violations } = measure(denied(10_100, 10_101), other)

    expect(measures.map(({ replica }) => replica)).toEqual(['a/1', 'b/2'])
    expect(violations).toEqual(['1 call sent after the ack started: payments tool on b/2 (G1)'])
  })

  test('the end of what was in flight is from the ack to the answer, never rounded down', () => {
    const measured = row(
      started(9000, 10_010.01, 900, 'stop'),
      started(9100, 10_020, 800, 'stop'),
      denied(10_100, 10_101),
    )

    expect(measured?.ended).toEqual({ count: 2, p50Ms: 10.1, p99Ms: 20, maxMs: 20 })
  })
})

describe('any mixture of calls', () => {
  const ms = (min: number, max: number) => fc.double({ min, max, noNaN: true })
  /** A true history: when it was sent, how long the way there was, when it started, ran and how long the way back was. */
  const history = (startMin: number, startMax: number) =>
    fc
      .record({
        startAtMs: ms(startMin, startMax),
        thereMs: ms(0, 400),
        runMs: ms(0, 3000),
        backMs: ms(0, 300),
      })
      .map(({ startAtMs, thereMs, runMs, backMs }) => ({
        startAtMs,
        call: started(startAtMs - thereMs, startAtMs + runMs + backMs, runMs),
      }))
  const refusal = fc
    .record({ sentAtMs: ms(8000, 12_000), tookMs: ms(0, 500) })
    .map(({ sentAtMs, tookMs }) => denied(sentAtMs, sentAtMs + tookMs))
  const shuffled = <T>(items: readonly T[]) => fc.shuffledSubarray([...items], { minLength: items.length })

  test('a planted start after the ack is always found, whatever else there is (G1)', () => {
    const planted = history(ACK_MS, 14_000).filter(({ call: one }) => one.sentAtMs >= ACK_MS)
    fc.assert(
      fc.property(
        fc
          .tuple(fc.array(refusal), fc.array(history(7000, ACK_MS)), planted)
          .chain(([no, before, bad]) => shuffled([...no, ...before.map((one) => one.call), bad.call])),
        (calls) => {
          expect(measure(...calls).violations).not.toEqual([])
        },
      ),
    )
  })

  test('a start later than maxAgeMs after the ack is always found, also of a call sent before it (G3)', () => {
    const late = history(ACK_MS + MAX_AGE_MS + 1, 16_000).map(({ call: one }) => ({
      ...one,
      sentAtMs: ACK_MS - 1,
    }))
    fc.assert(
      fc.property(
        fc.tuple(fc.array(refusal), late).chain(([no, bad]) => shuffled([...no, bad])),
        (calls) => {
          expect(measure(...calls).violations).not.toEqual([])
        },
      ),
    )
  })

  test('the window is never smaller than the truth', () => {
    const inWindow = history(ACK_MS, ACK_MS + 300).filter(({ call: one }) => one.sentAtMs < ACK_MS)
    fc.assert(
      fc.property(inWindow, ({ startAtMs, call: one }) => {
        expect(latestStartMs(one)).toBeGreaterThanOrEqual(startAtMs - 1e-6)
        expect(row(one)?.windowMs ?? 0).toBeGreaterThanOrEqual(startAtMs - ACK_MS - 1e-6)
      }),
    )
  })

  test('a stop that held is never called broken: nothing sent after the ack, and nothing later than the answers', () => {
    const honest = history(7000, ACK_MS).filter(({ call: one }) => one.sentAtMs < ACK_MS)
    fc.assert(
      fc.property(fc.array(refusal), fc.array(honest), (no, before) => {
        expect(measure(...no, ...before.map((one) => one.call)).violations).toEqual([])
      }),
    )
  })
})

describe('whether the canary works', () => {
  test('every cell was called, and everything started', () => {
    expect(judgeWorks([CELL], [started(100, 130, 20)], 100)).toMatchObject({ held: true, missing: false })
  })

  test.each([
    ['one was denied', [started(100, 130, 20), denied(101, 110)], false],
    ['one got no answer', [started(100, 130, 20), call(101, 110)], false],
    ['the only call was sent before', [started(99, 130, 20)], true],
  ])('does not work: %s', (_, calls, missing) => {
    expect(judgeWorks([CELL], calls, 100)).toMatchObject({ held: false, missing })
  })
})
