import type { Output } from '../../api/routes.ts'

/** A decision as it is listed: without its explanation. */
export type Decision = Omit<Output<'decisions'>['decisions'][number], 'explanation'>

/** As many as a page keeps: what is older is in the record. */
export const MAX_KEPT = 500

/** One question about several devices is several decisions with one id. */
export function keyOf({ request_id: requestId, deviceId }: Decision): string {
  return `${requestId} ${deviceId}`
}

/** Both together, each once, newest first, and no more than are kept. */
export function merged(known: readonly Decision[], come: readonly Decision[]): readonly Decision[] {
  if (come.length === 0) return known
  const all = new Map([...come, ...known].map((decision) => [keyOf(decision), decision]))
  return [...all.values()].toSorted(newestFirst).slice(0, MAX_KEPT)
}

function newestFirst(one: Decision, other: Decision): number {
  return Date.parse(other.at) - Date.parse(one.at)
}
