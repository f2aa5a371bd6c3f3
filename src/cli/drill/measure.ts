import type { z } from 'zod'

import type { DrillMeasure } from '../../machineid/wire-drills.ts'
import { count } from '../plural.ts'
import { latestStartMs, type CanaryCall, type Cell } from './canary-call.ts'

export type Measure = z.infer<typeof DrillMeasure>
type Boundary = Measure['boundary']

/** A tool server, as it described itself before the drill. */
export interface Expected {
  readonly cell: Cell
  readonly replica: string
  /** G3: a body can start this long after the question that was answered with an allow. */
  readonly maxAgeMs: number
}

export interface StopAsked {
  /** When the 2xx for the stop was received. */
  readonly ackAtMs: number
  /** Every call sent before or after it, once all have ended. */
  readonly calls: readonly CanaryCall[]
  readonly expected: readonly Expected[]
  /** Whether a denial with this code comes of the stop, and not of something else. */
  readonly isOfStop: (code: string) => boolean
  /** Whether it ends what is in flight; a cut does not. Default true. */
  readonly endsWork?: boolean
}

export interface StopMeasured {
  readonly measures: readonly Measure[]
  /** From the ack to the end of each call that was in flight. */
  readonly ended: readonly { readonly boundary: Boundary; readonly ms: number }[]
  /** The stop did not hold. */
  readonly violations: readonly string[]
  /** What was not shown, so that nothing can be said of it. */
  readonly gaps: readonly string[]
  /** In flight at the ack, and ended by their own time and not by the stop. */
  readonly endedByTime: number
}

export const NO_ANSWER = 'NO_ANSWER'

/** What one stop did. Pure. G1 and G3 are judged here, and never in favour of the stop where a figure leaves it open. */
export function measureStop(asked: StopAsked): StopMeasured {
  const rows = grouped(asked).map((row) => ({ row, measured: measureRow(row, asked) }))
  const inFlight = inFlightOf(asked.calls, asked)
  return {
    measures: rows.map(({ measured }) => measured),
    ended: inFlight.map((call) => ({
      boundary: call.cell.boundary,
      ms: upTo(call.receivedAtMs - asked.ackAtMs),
    })),
    violations: rows.flatMap(({ row, measured }) => violationsOf(measured, row.maxAgeMs)),
    gaps: rows.flatMap(({ row, measured }) => gapsOf(row, measured, asked)),
    endedByTime: inFlight.filter(({ reply }) => reply?.endedBy === 'time').length,
  }
}

interface Row {
  readonly replica: string
  readonly surface: string
  readonly boundary: Boundary
  readonly maxAgeMs: number
  readonly calls: CanaryCall[]
}

/** One for each replica, surface and boundary: those that were expected, and those that answered. */
function grouped({ calls, expected }: StopAsked): readonly Row[] {
  const rows = new Map<string, Row>()
  const rowOf = ({ toolServer, surface, boundary }: Cell, replica: string) => {
    const key = JSON.stringify([replica, surface, boundary])
    const found = rows.get(key)
    if (found !== undefined) return found
    const ages = expected.filter(({ cell }) => cell.toolServer === toolServer).map((one) => one.maxAgeMs)
    const row = { replica, surface, boundary, maxAgeMs: Math.max(0, ...ages), calls: [] }
    rows.set(key, row)
    return row
  }
  for (const { cell, replica } of expected) rowOf(cell, replica)
  for (const call of calls) {
    const one = expected.find(({ cell }) => sameCell(cell, call.cell))
    rowOf(call.cell, call.reply?.replica ?? one?.replica ?? call.cell.toolServer).calls.push(call)
  }
  return [...rows.values()]
}

function sameCell(a: Cell, b: Cell): boolean {
  return a.toolServer === b.toolServer && a.surface === b.surface && a.boundary === b.boundary
}

function measureRow({ replica, surface, boundary, calls }: Row, asked: StopAsked): Measure {
  const { ackAtMs } = asked
  const after = calls.filter((call) => call.sentAtMs >= ackAtMs)
  const lateMs = calls
    .filter((call) => call.sentAtMs < ackAtMs)
    .map((call) => (latestStartMs(call) ?? -Infinity) - ackAtMs)
    .filter((ms) => ms > 0)
  const endedMs = inFlightOf(calls, asked).map(({ receivedAtMs }) => receivedAtMs - ackAtMs)
  return {
    replica,
    surface,
    boundary,
    sentAfterAck: after.length,
    startedAfterAck: after.filter(({ reply }) => reply?.started === true).length,
    startedInWindow: lateMs.length,
    windowMs: lateMs.length === 0 ? null : upTo(Math.max(...lateMs)),
    inFlight: endedMs.length,
    ended: latencyOf(endedMs),
    codes: countCodes(after),
  }
}

/** Those whose body may have been running when the ack was received. */
function inFlightOf(
  calls: readonly CanaryCall[],
  { ackAtMs, endsWork = true }: StopAsked,
): readonly CanaryCall[] {
  if (!endsWork) return []
  return calls.filter(
    ({ sentAtMs, receivedAtMs, reply }) =>
      reply?.started === true && sentAtMs < ackAtMs && receivedAtMs > ackAtMs,
  )
}

function countCodes(calls: readonly CanaryCall[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { reply } of calls) {
    const code = reply?.code ?? NO_ANSWER
    counts[code] = (counts[code] ?? 0) + 1
  }
  return counts
}

function violationsOf(measured: Measure, maxAgeMs: number): readonly string[] {
  const { startedAfterAck, windowMs } = measured
  const found: string[] = []
  if (startedAfterAck > 0)
    found.push(`${count(startedAfterAck, 'call')} sent after the ack started: ${nameOf(measured)} (G1)`)
  if (windowMs !== null && windowMs > maxAgeMs) {
    found.push(
      `a call sent before the ack may have started ${windowMs} ms after it, more than ${maxAgeMs} ms: ${nameOf(measured)} (G3)`,
    )
  }
  return found
}

function gapsOf({ calls }: Row, measured: Measure, { ackAtMs, isOfStop }: StopAsked): readonly string[] {
  const silent = calls.filter((call) => call.reply === undefined && call.receivedAtMs > ackAtMs)
  const gaps: string[] = []
  if (silent.length > 0) {
    gaps.push(
      `${count(silent.length, 'call')} got no answer, so that nobody knows whether they started: ${nameOf(measured)}`,
    )
  }
  if (measured.sentAfterAck === 0) gaps.push(`no call was sent after the ack: ${nameOf(measured)}`)
  else if (measured.startedAfterAck === 0 && !Object.keys(measured.codes).some(isOfStop)) {
    gaps.push(
      `no call was denied because of the stop, but ${Object.keys(measured.codes).join(', ')}: ${nameOf(measured)}`,
    )
  }
  return gaps
}

function nameOf({ replica, surface, boundary }: Pick<Measure, 'replica' | 'surface' | 'boundary'>): string {
  return `${surface} ${boundary} on ${replica}`
}

/** Nearest rank; undefined would be a lie where nothing was measured, so null. */
export function latencyOf(values: readonly number[]): Measure['ended'] {
  if (values.length === 0) return null
  const sorted = values.toSorted((a, b) => a - b)
  const rank = (share: number) => upTo(sorted[Math.ceil(share * sorted.length) - 1] ?? 0)
  return { count: sorted.length, p50Ms: rank(0.5), p99Ms: rank(0.99), maxMs: rank(1) }
}

/** To a tenth of a millisecond, never down: figures are upper bounds. */
function upTo(ms: number): number {
  return Math.ceil(ms * 10) / 10
}
