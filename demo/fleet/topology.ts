import { SERVER_SURFACE } from '../../src/guard/surface.ts'
import type { PLAN_LIMITS } from '../../src/machineid/wire.ts'

/** What one question may take, and so the longest after it that a body may start (G3), in milliseconds. */
export const BUDGET_MS = 3000

/** One kind of work that a replica does all the time, behind one gate. */
export interface LaneSpec {
  readonly gate: 'consumer' | 'loop' | 'job' | 'tool' | 'commit' | 'agent' | 'resume'
  /** Without a space; unique in its replica. */
  readonly name: string
  /** Surfaces; of several, one is chosen for each unit by its tenant. Default: the server device alone. */
  readonly on?: readonly string[]
  /** What each unit does to the world, on the surface that it is on. Default: nothing. */
  readonly effect?: 'payment' | 'email' | 'write'
  /** Into so many parts, each behind a hold point of its own. Default: none. */
  readonly fanOut?: number
}

/** One guard: in production a process of its own. */
export interface ReplicaSpec {
  /** Its server device. */
  readonly deviceId: string
  /** Devices that it shares with others, by the name of the surface. */
  readonly surfaces: Readonly<Record<string, string>>
  readonly lanes: readonly LaneSpec[]
}

export interface Scaling {
  /** So many join, leave, and are rolled out. */
  readonly by: number
  /** The replica with this instance number. */
  readonly replica: (instance: number) => ReplicaSpec
}

export interface Topology {
  readonly name: string
  readonly about: string
  readonly plan: keyof typeof PLAN_LIMITS
  readonly replicas: readonly ReplicaSpec[]
  /** The one that finds no slot left. */
  readonly tooMany: ReplicaSpec
  /** Stopped on its own. */
  readonly oneDevice: string
  /** The surface that is locked. */
  readonly pattern: string
  /** So many processes carry the replicas. */
  readonly processes: number
  /** Each lane of each replica does one unit about so often, in milliseconds. */
  readonly paceMs: number
  readonly scaling?: Scaling
}

/** `devices('job:prod:nightly', 4)`: `…:01` to `…:04`. */
export function devices(prefix: string, count: number, digits = 2): readonly string[] {
  return Array.from({ length: count }, (_, index) => deviceOf(prefix, index + 1, digits))
}

export function deviceOf(prefix: string, instance: number, digits = 2): string {
  return `${prefix}:${String(instance).padStart(digits, '0')}`
}

/** The one for replica `index`, where there are fewer of them than replicas. */
export function shared(all: readonly string[], index: number): string {
  return all[index % all.length] as string
}

/** Every device of these replicas, each once. */
export function devicesOf(replicas: readonly ReplicaSpec[]): readonly string[] {
  return [...new Set(replicas.flatMap(({ deviceId, surfaces }) => [deviceId, ...Object.values(surfaces)]))]
}

export { SERVER_SURFACE }
