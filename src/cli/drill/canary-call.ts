import type { CanaryBody } from '../../tool-server-wire.ts'

/** Where the canary is called: one tool server, one surface, one boundary to wait at. */
export interface Cell {
  readonly toolServer: string
  readonly surface: string
  readonly boundary: 'tool' | 'side_effect'
}

/** What the tool server said of a canary call. */
export type CanaryReply = Pick<
  CanaryBody,
  'replica' | 'started' | 'startedAgoMs' | 'endedBy' | 'code' | 'deviceId'
>

/** A canary call that ended, on the drill's own monotonic clock. No clock of another machine is ever compared with it. */
export interface CanaryCall {
  readonly cell: Cell
  readonly holdMs: number
  /** Before the first byte was sent. */
  readonly sentAtMs: number
  /** After the last byte was read, or when it was given up. */
  readonly receivedAtMs: number
  /** Undefined when no answer came that can be read: nobody knows whether it started. */
  readonly reply: CanaryReply | undefined
  /** Why there is no answer. */
  readonly problem: string | undefined
}

/** How much two clocks may differ over the time of a call: a thousandth, and a millisecond. */
const driftMs = (spanMs: number) => 1 + spanMs / 1000

/**
 * The latest instant at which its body can have started. The answer left the tool server before it was received, so the
 * body started at least `startedAgoMs` before `receivedAtMs`. A figure that cannot be true, such as a start before the
 * call was sent, is not believed: then it may have started as late as the answer came.
 */
export function latestStartMs({ sentAtMs, receivedAtMs, reply }: CanaryCall): number | undefined {
  if (reply?.started !== true) return undefined
  const agoMs = reply.startedAgoMs
  const tookMs = receivedAtMs - sentAtMs
  const isPossible = agoMs !== null && agoMs >= 0 && agoMs <= tookMs + driftMs(tookMs)
  return isPossible ? Math.max(sentAtMs, receivedAtMs - agoMs) : receivedAtMs
}
