import type { DenialCode } from './decision.ts'

/** A stop that the authority pushed. It can only deny: late, twice or out of order it does nothing more (DESIGN 8). */
export interface PushedStop {
  /** Answers and permits of an older epoch no longer count for these devices. */
  readonly epoch: number
  /** Those of our devices that it stops. Undefined: all of them, because our key was burned. */
  readonly deviceIds: readonly string[] | undefined
}

/** What became of a body that a stop found running. `unknown`: nobody can tell whether its effect happened. */
export type StoppedEnd = 'aborted' | 'finished' | 'unknown'

export interface StoppedCall {
  readonly callId: string | undefined
  readonly runId: string | undefined
  readonly tool: string | undefined
  readonly end: StoppedEnd
}

/** Sent twice for each stop: when it denies from now on, and when nothing that it found in flight runs any more. */
export interface StopAck {
  readonly epoch: number
  readonly phase: 'received' | 'settled'
  readonly running: number
  /** Those that have ended so far. */
  readonly calls: readonly StoppedCall[]
}

/** How busy this process is, as it is told to operators. */
export interface Presence {
  readonly devices: readonly { readonly deviceId: string; readonly inFlight: number }[]
  readonly timeoutMs: number
  /** Of the questions that were answered of late; undefined before the first. */
  readonly latencyMs: { readonly p50: number; readonly p99: number } | undefined
}

/** What an authority is given to listen for stops. */
export interface StopStreamOptions {
  /** Every device of this process. */
  readonly deviceIds: readonly string[]
  /** Stops after this epoch are told first. Undefined: none before now. */
  readonly afterEpoch: number | undefined
  /** Told of each stop as it comes; late, twice or out of order does no harm. */
  readonly onStop: (stop: PushedStop) => void
  /** Asked now and then, and when the stream opens. */
  readonly presence: () => Presence
}

export interface StopStreamState {
  readonly up: boolean
  /** ISO 8601: since when it is up or down. */
  readonly since: string
  /** Why it is down. */
  readonly code: DenialCode | undefined
  /** What kind of key this process holds, once the authority has said so. */
  readonly keyKind: string | undefined
  /** How operators see this process. */
  readonly replica: string
}

/** One open stream, which comes back by itself when it is lost. Losing it changes nothing but latency. */
export interface StopStream {
  readonly state: StopStreamState
  /** Delivered as soon as it can be; kept and tried again until then. */
  acknowledge(ack: StopAck): void
  /**
   * Ends the stream. Never rejects. `leaving`: says that this process leaves, so that no stop waits for word from it any
   * more; false while anything is in flight here.
   */
  close(options: { readonly leaving: boolean }): Promise<void>
}
