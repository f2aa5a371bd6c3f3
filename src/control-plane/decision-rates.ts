import type { z } from 'zod'

import type { DecisionRatesResponse } from '../machineid/wire-evidence.ts'
import { MS_PER_MINUTE, RATE_CELLS, type DecisionCounts } from './decision-batch.ts'

export const RATE_MINUTES = 60
/** About 3 kB each. Beyond that the org that was silent longest is forgotten. */
const MAX_ORGS = 10_000

export type Rates = Pick<z.infer<typeof DecisionRatesResponse>, 'since' | 'minutes'>

/** How many decisions were made in each of the last 60 minutes. */
export interface DecisionRates {
  readonly add: (counts: DecisionCounts) => void
  readonly of: (orgId: string) => Promise<Rates>
  /** Resolves once all that was added counts. Never rejects. */
  readonly close: () => Promise<void>
}

interface OrgCounts {
  readonly sinceMs: number
  /** Which minute each place counts. */
  readonly minutes: Float64Array
  readonly counts: Uint32Array
}

/** In memory: a restart begins anew. */
export function createDecisionRates({
  nowMs,
  maxOrgs = MAX_ORGS,
}: {
  /** Wall-clock milliseconds. */
  readonly nowMs: () => number
  /** Default 10,000. */
  readonly maxOrgs?: number | undefined
}): DecisionRates {
  const orgs = new Map<string, OrgCounts>()
  const startedAtMs = nowMs()
  let hasForgotten = false

  const touched = (orgId: string): OrgCounts => {
    const known = orgs.get(orgId)
    orgs.delete(orgId)
    if (known === undefined) makeRoom()
    const org = known ?? {
      sinceMs: hasForgotten ? nowMs() : startedAtMs,
      minutes: new Float64Array(RATE_MINUTES).fill(-1),
      counts: new Uint32Array(RATE_MINUTES * RATE_CELLS.length),
    }
    // The last one is the one that was heard of last.
    orgs.set(orgId, org)
    return org
  }
  const makeRoom = () => {
    const [silent] = orgs.keys()
    if (orgs.size < maxOrgs || silent === undefined) return
    orgs.delete(silent)
    hasForgotten = true
  }

  return {
    add: (counts) => {
      for (const [minute, ofMinute] of counts) {
        for (const [orgId, cells] of ofMinute) addTo(touched(orgId), minute, cells)
      }
    },
    of: async (orgId) => {
      const last = Math.floor(nowMs() / MS_PER_MINUTE)
      const first = last - RATE_MINUTES + 1
      const known = orgs.get(orgId)
      const countedSinceMs = known?.sinceMs ?? (hasForgotten ? nowMs() : startedAtMs)
      const sinceMs = Math.max(Math.min(countedSinceMs, nowMs()), first * MS_PER_MINUTE)
      return {
        since: new Date(sinceMs).toISOString(),
        minutes: known === undefined ? [] : minutesOf(known, first, last),
      }
    },
    close: async () => {},
  }
}

function addTo({ minutes, counts }: OrgCounts, minute: number, cells: Uint32Array): void {
  const place = minute % RATE_MINUTES
  const begin = place * RATE_CELLS.length
  // A later one is from before the clock was set back.
  if (minutes[place] !== minute) {
    minutes[place] = minute
    counts.fill(0, begin, begin + RATE_CELLS.length)
  }
  for (const [cell, count] of cells.entries()) counts[begin + cell] = (counts[begin + cell] ?? 0) + count
}

function minutesOf({ minutes, counts }: OrgCounts, first: number, last: number): Rates['minutes'] {
  const found: Rates['minutes'] = []
  for (let minute = first; minute <= last; minute++) {
    const place = minute % RATE_MINUTES
    if (minutes[place] !== minute) continue
    const begin = place * RATE_CELLS.length
    const told = RATE_CELLS.map((cell, index) => ({ ...cell, count: counts[begin + index] ?? 0 }))
    found.push({
      at: new Date(minute * MS_PER_MINUTE).toISOString(),
      counts: told.filter(({ count }) => count > 0),
    })
  }
  return found
}
