import { setTimeout as sleep } from 'node:timers/promises'
import { exit } from '../exit.ts'
import type { Guard } from '../guard/guard.ts'
import type { Refusal } from '../guard/refusal.ts'
import { jittered } from '../jitter.ts'
import { closeWell } from './guard-end.ts'

/**
 * What a gate does once it was denied. `exit`: takes nothing more, lets running units settle, closes the guard, writes
 * the log and exits with status 1. `stop`: takes nothing more and ends; the process goes on. `wait`: takes nothing, asks
 * again every `retryMs`, and goes on where it stopped once it is allowed again.
 */
export type OnGateDenied = 'exit' | 'stop' | 'wait'

/** How long after a denial it is asked again, in milliseconds: at least half of it, at most all. */
export const RETRY_MS = 5000

/** False when `signal` was aborted meanwhile. */
export async function waitToAskAgain(retryMs: number, signal: AbortSignal): Promise<boolean> {
  await sleep(jittered(retryMs), undefined, { signal }).catch(() => undefined)
  return !signal.aborted
}

/** What a log says of a denial, beside its gate. */
export function denialLine({ code, requestId, deviceId }: Refusal) {
  return { code, request_id: requestId, device_id: deviceId }
}

/**
 * Call it when no unit of the gate runs any more; what other gates run gets the grace of the process. Ends that, so
 * nothing behind it runs: it never settles.
 */
export async function exitDenied(guard: Guard, gate: string, refusal: Refusal): Promise<never> {
  guard.log.fatal({ gate, ...denialLine(refusal) }, 'denied, exiting')
  await closeWell(guard, gate)
  exit(guard.log, 1)
  return new Promise<never>(() => {})
}
