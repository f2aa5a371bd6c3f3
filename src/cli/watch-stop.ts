import { setTimeout as sleep } from 'node:timers/promises'

import { CALLS } from '../machineid/calls.ts'
import type { StopBody } from '../machineid/wire-stops.ts'
import { EXIT } from './cli.ts'
import { CliError } from './cli-error.ts'
import { shownStop } from '../key-cut.ts'
import type { OperatorClient } from './operator-client.ts'

const LOOK_EVERY_MS = 200
const LOOK_TIMEOUT_MS = 3000
/** Who listens is written down a little after the stop. */
const NOBODY_AFTER_MS = 600

/** What was last seen of a stop. A failing look is no failing stop: it stands here and is tried again. */
export interface Watched {
  readonly stop: StopBody | undefined
  readonly trouble: string | undefined
  readonly interrupted: boolean
}

export interface WatchOptions {
  readonly epoch: number
  readonly waitMs: number
  readonly signal: AbortSignal
  readonly onSeen: (stop: StopBody) => void
}

/** Looks at what replicas say about a stop, until all have confirmed it or the time is up. Never throws. */
export async function watchStop(operator: OperatorClient, options: WatchOptions): Promise<Watched> {
  const { epoch, waitMs, signal, onSeen } = options
  const begunMs = performance.now()
  const passedMs = () => performance.now() - begunMs
  let seen: Seen = { stop: undefined, trouble: undefined, isFinal: false }
  for (;;) {
    seen = await look(operator, epoch, seen)
    if (seen.stop !== undefined) onSeen(seen.stop)
    const passed = passedMs()
    const isSettled = seen.isFinal || (seen.stop?.state === 'no_replicas' && passed > NOBODY_AFTER_MS)
    if (isSettled || signal.aborted || passed + LOOK_EVERY_MS > waitMs) break
    await sleep(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined)
  }
  return { stop: seen.stop, trouble: seen.trouble, interrupted: signal.aborted }
}

interface Seen extends Pick<Watched, 'stop' | 'trouble'> {
  /** Asking again would tell nothing new. */
  readonly isFinal: boolean
}

async function look(operator: OperatorClient, epoch: number, before: Seen): Promise<Seen> {
  try {
    const stop = await stopOf(operator, epoch)
    return { stop, trouble: undefined, isFinal: stop.state === 'confirmed' }
  } catch (error) {
    const trouble = error instanceof Error ? error.message : String(error)
    // A key that may stop and not look will not be told the next time either.
    return { stop: before.stop, trouble, isFinal: error instanceof CliError && error.status !== EXIT.error }
  }
}

/** Throws `CliError` `NOT_FOUND` when there was no stop with this epoch. */
export async function stopOf(operator: OperatorClient, epoch: number): Promise<StopBody> {
  const { stops } = await operator.call(CALLS.stopHistory, { epoch }, { timeoutMs: LOOK_TIMEOUT_MS })
  const [stop] = stops
  if (stop !== undefined) return stop
  throw new CliError(
    'NOT_FOUND',
    `No stop of this org has the epoch ${epoch}. A restore has an epoch too. See the stops: holdpoint stops ls`,
  )
}

const RECENT_MS = 24 * 3_600_000

/** Those of the last day that somebody may still confirm: who was silent for longer will say nothing more of it. */
export function recentlyUnconfirmed(stops: readonly StopBody[], nowMs: number): StopBody[] {
  return stops.filter(
    (stop) => shownStop(stop).state === 'unconfirmed' && nowMs - Date.parse(stop.at) < RECENT_MS,
  )
}

/** How many replicas are how far, for a line that changes. */
export function countsOf({ replicas }: StopBody): string {
  const counts = new Map<string, number>()
  for (const { state } of replicas) counts.set(state, (counts.get(state) ?? 0) + 1)
  return [...counts].map(([state, count]) => `${count} ${state}`).join(', ') || 'nobody listens'
}
