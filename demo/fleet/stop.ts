import { setTimeout as sleep } from 'node:timers/promises'
import { matchesDevicePattern } from '../../src/device-patterns.ts'
import { CALLS } from '../../src/machineid/calls.ts'
import type { Seen } from './book.ts'
import type { Org } from './control.ts'
import type { Processes } from './processes.ts'
import { machineMs } from './remote.ts'
import { timesOf, type StopResult } from './result.ts'
import { BUDGET_MS, type Topology } from './topology.ts'

/** A stop: what it fits, how it is made, and how exactly this one is undone (G6). */
interface Stop {
  readonly action: StopResult['action']
  readonly pattern: string
  /** Resolves with the 2xx. Gives what undoes it. */
  readonly make: () => Promise<() => Promise<unknown>>
}

const REASON = 'the fleet shows a stop'
/** At least so long it is watched what goes on after a stop. */
const WATCHED_MS = 500
/** So long everything has to show itself, beyond a few times its pace. */
const GRACE_MS = 20_000

/** One device, then one surface, then all. */
export function stopsOf({ oneDevice, pattern }: Topology, { operator, admin }: Org): readonly Stop[] {
  return [
    {
      action: 'device.revoke',
      pattern: oneDevice,
      make: async () => {
        const { epoch } = await operator.call(CALLS.revoke, { deviceId: oneDevice, reason: REASON })
        return () => operator.call(CALLS.unrevoke, { deviceId: oneDevice, ifEpoch: epoch, reason: REASON })
      },
    },
    {
      action: 'lock.add',
      pattern,
      make: async () => {
        const { lockId, epoch } = await operator.call(CALLS.lock, { pattern, reason: REASON })
        return () => operator.call(CALLS.lockRelease, { id: lockId, ifEpoch: epoch, reason: REASON })
      },
    },
    {
      action: 'org.disable',
      pattern: '*',
      make: async () => {
        const { epoch } = await admin.call(CALLS.orgDisable, { reason: REASON })
        return () => admin.call(CALLS.orgEnable, { ifEpoch: epoch, reason: REASON })
      },
    },
  ]
}

/** Stops, watches until all that is stopped was denied and all else has started again, restores, watches it come back. */
export async function proveStop(
  { action, pattern, make }: Stop,
  {
    processes,
    paceMs,
    deviceIds,
  }: { readonly processes: Processes; readonly paceMs: number; readonly deviceIds: readonly string[] },
): Promise<StopResult> {
  // So long before it too, so that counts before and after can be compared.
  await sleep(WATCHED_MS)
  const sentAtMs = machineMs()
  const undo = await make()
  const ackedAtMs = machineMs()
  await processes.told()
  const lookWithin = { paceMs, withinMs: 4 * paceMs + GRACE_MS }
  const { hit, others } = await lookUntil(
    () => processes.look({ pattern, sinceMs: ackedAtMs }),
    (seen) => allDenied(seen.hit) && allStarted(seen.others) && machineMs() - ackedAtMs > WATCHED_MS,
    lookWithin,
  )
  const observedMs = machineMs() - ackedAtMs
  const undoneFromMs = machineMs()
  await undo()
  const restoredAtMs = machineMs()
  // Once more, so that not even what started after the last look is missed.
  const { hit: all } = await processes.look({ pattern, sinceMs: ackedAtMs, untilMs: undoneFromMs })
  const { hit: back } = await lookUntil(
    () => processes.look({ pattern, sinceMs: restoredAtMs }),
    (seen) => allStarted(seen.hit),
    lookWithin,
  )
  const ok =
    hit.entries > 0 &&
    all.starts === 0 &&
    all.startsSinceTold === 0 &&
    all.inFlightMs <= BUDGET_MS &&
    allDenied(hit) &&
    allStarted(others) &&
    allStarted(back)
  return {
    action,
    target: pattern,
    devices: deviceIds.filter((id) => matchesDevicePattern(pattern, id)).length,
    stopped: hit.entries,
    denied: hit.denied,
    goingOn: others.entries,
    wentOn: others.started,
    startsAfterAck: all.starts,
    startsAfterTold: all.startsSinceTold,
    inFlightAtAck: all.inFlight,
    inFlightMs: all.inFlightMs,
    ackMs: ackedAtMs - sentAtMs,
    deniedAfterMs: timesOf(hit.deniedAfterMs),
    codes: hit.codes,
    requestId: hit.requestId,
    unanswered: hit.unanswered + others.unanswered + back.unanswered,
    observedMs,
    othersBefore: others.startsBefore,
    othersAfter: others.starts,
    back: back.started,
    backAfterMs: timesOf(back.startedAfterMs),
    ok,
  }
}

export const allStarted = ({ started, entries }: Seen) => started === entries
const allDenied = ({ denied, entries }: Seen) => denied === entries

/** The first look that fits, or the last one when the time is up. */
export async function lookUntil<T>(
  look: () => Promise<T>,
  fits: (seen: T) => boolean,
  { paceMs, withinMs }: { readonly paceMs: number; readonly withinMs: number },
): Promise<T> {
  const endMs = machineMs() + withinMs
  for (;;) {
    const seen = await look()
    if (fits(seen) || machineMs() > endMs) return seen
    await sleep(Math.max(25, paceMs / 15))
  }
}
