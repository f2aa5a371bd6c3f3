import type { CanaryCut } from '../control-plane/control-plane.ts'
import type { LaneBatch } from '../control-plane/decision-batch.ts'
import type { ValidateLimits } from '../control-plane/limits.ts'
import type { NodeCount } from '../control-plane/nodes/nodes.ts'
import type { ClockOffset } from '../control-plane/nodes/store-clock.ts'
import type { StopEvidence, StopRecord } from '../control-plane/stops/stop-store.ts'
import type { Superseded } from '../control-plane/stops/stop-streams.ts'
import type { ListenAddress, TlsOptions } from '../http.ts'
import type { LaneReport } from '../metrics.ts'
import type { ThreadSource } from '../store/decision-source.ts'
import type { Learned } from '../store/postgres/learned.ts'

/** What a lane in a thread of its own is started with. */
export interface LaneSettings {
  /** In figures. */
  readonly name: string
  /** Of the store that is open in the main thread. */
  readonly source: ThreadSource
  readonly address: ListenAddress
  readonly loopback: boolean
  readonly hosts: readonly string[] | undefined
  readonly tls: TlsOptions | undefined
  readonly recordAllows: boolean | undefined
  /** Of this lane alone. */
  readonly limits: ValidateLimits | undefined
  readonly maxConnections: number | undefined
  readonly stopHeartbeatMs: number | undefined
  /** Where it hands on what it does not answer itself. */
  readonly inner: { readonly port: number; readonly secret: string }
  readonly log: { readonly level: string; readonly name: string | undefined }
  /** Not 0 once the store can no longer be trusted: no thread may answer from then on, whatever is still unread. */
  readonly suspect: Int32Array<SharedArrayBuffer>
  readonly nodesCounted: NodeCount
  /** Of a store that nodes share: its time. */
  readonly clockOffset: ClockOffset | undefined
}

export type FromLane =
  | { readonly kind: 'listening'; readonly url: string; readonly port: number }
  | { readonly kind: 'failed'; readonly code: string; readonly message: string }
  | { readonly kind: 'batch'; readonly id: number; readonly batch: LaneBatch }
  | { readonly kind: 'evidence'; readonly evidence: StopEvidence }
  | { readonly kind: 'report'; readonly report: LaneReport }
  | { readonly kind: 'suspect'; readonly code: string; readonly message: string }
  /** It was led to a server that the main thread does not know. */
  | { readonly kind: 'unknown' }

export type ToLane =
  | { readonly kind: 'stored'; readonly id: number }
  | { readonly kind: 'stops'; readonly stops: readonly StopRecord[] }
  | { readonly kind: 'superseded'; readonly by: Superseded }
  | { readonly kind: 'lost' }
  | { readonly kind: 'cut'; readonly cut: CanaryCut }
  /** What the main thread has learned of the store. */
  | { readonly kind: 'learned'; readonly learned: Learned }
  | { readonly kind: 'close'; readonly graceMs: number | undefined }

/** How to tell each lane something. */
export type LaneTells = Set<(message: ToLane) => void>
