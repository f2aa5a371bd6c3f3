import type { Instant } from '../clock.ts'
import type { Boundary, DenialCode } from './decision.ts'
import type { StopStream, StopStreamOptions } from './stop-stream.ts'

/** One question for one hold point: may work begin, for all of these devices at once? */
export interface Question {
  /** 1 to 16 device IDs, in question order: the server device first. */
  readonly deviceIds: readonly string[]
  readonly boundary: Boundary
  readonly tool?: string | undefined
  readonly callId?: string | undefined
  readonly runId?: string | undefined
  /** One deadline over everything from here on: DNS, TLS, pool wait, headers and body. In milliseconds. */
  readonly timeoutMs: number
  /** Gives up the question early. The answer is then a denial, `CALL_ABORTED`. */
  readonly signal?: AbortSignal | undefined
}

/** What the authority says of one device. `epoch` is that of its last stop or restore; absent with hosted MachineID. */
export type DeviceDecision =
  | { readonly deviceId: string; readonly allowed: true; readonly epoch: number | undefined }
  | {
      readonly deviceId: string
      readonly allowed: false
      readonly code: DenialCode
      readonly epoch: number | undefined
    }

/** A complete, well-formed and matching answer: one decision for each device, in question order. */
export interface Answered {
  readonly answered: true
  readonly decisions: readonly DeviceDecision[]
  readonly requestId: string
  /** Absent with hosted MachineID. */
  readonly orgId: string | undefined
  /** The org's epoch in the snapshot that decided. Absent with hosted MachineID. */
  readonly orgEpoch: number | undefined
  /** When the question that was answered left this process: a permit's age counts from here (G3). */
  readonly sentAt: Instant
}

/** Anything else: no usable answer, which is a denial (G4). */
export interface Unanswered {
  readonly answered: false
  readonly code: DenialCode
  /** `local_<uuid>` */
  readonly requestId: string
  /** For the log, never for a model or a caller. */
  readonly cause: unknown
}

/** What became of a question: the answer of the authority, or why there is none that counts. */
export type Answer = Answered | Unanswered

/** What became of a register: the device is known, or the authority refused it, or gave no answer. */
export type Registration =
  | { readonly answered: true; readonly registered: true; readonly requestId: string | undefined }
  /** The authority said no: `DEVICE_LIMIT_REACHED`, `DEVICE_REVOKED`, `DEVICE_REMOVED`, … */
  | {
      readonly answered: true
      readonly registered: false
      readonly code: DenialCode
      readonly requestId: string | undefined
    }
  | Unanswered

/** Who decides. The guard needs no more of it than this; `machineid/` fulfils it over HTTP. */
export interface Authority {
  /** Never rejects: whatever goes wrong is `answered: false` with a code. */
  ask(question: Question): Promise<Answer>
  /** Idempotent. Never rejects. */
  registerDevice(deviceId: string, options: { readonly timeoutMs: number }): Promise<Registration>
  /** Opens the stream of stops. Absent where the authority pushes none, as hosted MachineID. Never throws. */
  readonly openStops?: ((options: StopStreamOptions) => StopStream) | undefined
  /** Ends its connections. */
  close(): Promise<void>
}
