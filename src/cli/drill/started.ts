import { count } from '../plural.ts'
import { NO_ANSWER, latencyOf } from './measure.ts'
import type { CanaryCall, Cell } from './canary-call.ts'

/** Whether the canary works: every call that was sent from `sinceMs` on and has ended must have started. */
export interface Works {
  readonly held: boolean
  readonly note: string
  /** A cell has had no answer yet. */
  readonly missing: boolean
}

/** Pure. Each of `cells` must have been called. */
export function judgeWorks(cells: readonly Cell[], calls: readonly CanaryCall[], sinceMs: number): Works {
  const asked = calls.filter(({ sentAtMs }) => sentAtMs >= sinceMs)
  const refused = asked.filter(({ reply }) => reply?.started !== true)
  const unheard = cells.filter((cell) => !asked.some((call) => isSame(call.cell, cell)))
  if (refused.length > 0) {
    const codes = [...new Set(refused.map(({ reply }) => reply?.code ?? NO_ANSWER))]
    const [first] = refused
    const where =
      first === undefined
        ? ''
        : `, first ${first.cell.surface} ${first.cell.boundary} on ${first.cell.toolServer}`
    const why = refused.find(({ problem }) => problem !== undefined)?.problem
    const note = `${refused.length} of ${count(asked.length, 'call')} did not start: ${codes.join(', ')}${where}`
    return { held: false, note: why === undefined ? note : `${note} (${why})`, missing: false }
  }
  if (unheard.length > 0) {
    const names = unheard.map(
      ({ surface, boundary, toolServer }) => `${surface} ${boundary} on ${toolServer}`,
    )
    return { held: false, note: `Not one call ended: ${names.slice(0, 3).join('; ')}`, missing: true }
  }
  // What it takes to get an answer, without the time that the body waited.
  const overhead = latencyOf(
    asked.map((call) => Math.max(0, call.receivedAtMs - call.sentAtMs - call.holdMs)),
  )
  return {
    held: true,
    missing: false,
    note: `${count(asked.length, 'call')} ended, all had started (p50 ${overhead?.p50Ms ?? 0} ms besides the wait)`,
  }
}

function isSame(a: Cell, b: Cell): boolean {
  return a.toolServer === b.toolServer && a.surface === b.surface && a.boundary === b.boundary
}
