import { setTimeout as sleep } from 'node:timers/promises'
import { pendingCall, type PendingCall } from '../pending-approvals.ts'
import type { RunEnd } from './run-end.ts'

/** Enough for a default that is the time to be another one. */
const LATER_MS = 2

/**
 * The calls that wait, as people are asked about them. Arguments with a default that is made anew at each parse could
 * never be approved, since what was shown would never run: a run that waits for such a call has failed, for good.
 */
export async function waitingCalls(
  end: RunEnd,
): Promise<{ readonly end: RunEnd; readonly calls: readonly PendingCall[] }> {
  const parse = () => Promise.all(end.waiting.map(pendingCall))
  const calls = await parse()
  if (calls.length === 0) return { end, calls }
  await sleep(LATER_MS)
  const again = await parse()
  const unstable = calls.find(({ digest }, at) => digest !== again[at]?.digest)
  return unstable === undefined ? { end, calls } : { end: unstableEnd(unstable), calls: [] }
}

function unstableEnd({ tool, callId }: PendingCall): RunEnd {
  const problem = {
    code: 'ARGUMENTS_UNSTABLE',
    message:
      `The arguments of ${tool} (call ${callId}) are others each time they are parsed, so nobody can approve them. Make ` +
      'what is new each time, such as a random id or the time, when the tool runs and not as a default; then start a new run.',
  }
  return { status: 'failed', resumable: false, problem, waiting: [] }
}
