import { messageOf } from '../errors.ts'
import type { Guard } from '../guard/guard.ts'
import type { Alerts } from './alerts.ts'

/** How long running work may take to end where `startupGate` says nothing else, in milliseconds. */
export const GRACE_MS = 10_000

/** How the process of a guard ends, whichever gate ends it. */
export interface GuardEnd {
  readonly graceMs: number
  /** Told what is left to tell, and closed, when the guard is. */
  readonly alerts?: Alerts | undefined
}

const ends = new WeakMap<Guard, GuardEnd>()

export function setGuardEnd(guard: Guard, end: GuardEnd): void {
  ends.set(guard, end)
}

const closings = new WeakMap<Guard, Promise<boolean>>()

/** True when everything had ended; what had not is cut off then, and logged. Throws what the guard's `onClose` throws. */
export function closeGuard(guard: Guard, gate: string): Promise<boolean> {
  const closing = closings.get(guard) ?? close(guard, gate)
  closings.set(guard, closing)
  return closing
}

async function close(guard: Guard, gate: string): Promise<boolean> {
  const { graceMs, alerts } = ends.get(guard) ?? { graceMs: GRACE_MS }
  try {
    const allEnded = await guard.close({ graceMs })
    if (!allEnded) guard.log.error({ gate, grace_ms: graceMs, ...running(guard) }, CUT_OFF)
    return allEnded
  } finally {
    await alerts?.close()
  }
}

/** The same for a process that is to end: never rejects. */
export async function closeWell(guard: Guard, gate: string): Promise<boolean> {
  try {
    return await closeGuard(guard, gate)
  } catch (cause) {
    guard.log.error({ gate, err: messageOf(cause) }, 'the guard could not be closed')
    return false
  }
}

const CUT_OFF = 'work did not end in time, and is cut off'

/** Bodies, and calls by device: an effect that has outlived its deadline is no body any more. */
function running(guard: Guard) {
  const busy = guard.presence().devices.filter(({ inFlight }) => inFlight > 0)
  const calls = Object.fromEntries(busy.map(({ deviceId, inFlight }) => [deviceId, inFlight]))
  return { in_flight: guard.inFlight, calls }
}
