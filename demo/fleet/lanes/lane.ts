import { setTimeout as sleep } from 'node:timers/promises'
import { defineEffect, type Effect, type Guard, type Surface, type SurfaceChoice } from 'holdpoint'
import type { LaneBook, ReplicaBook } from '../book.ts'
import type { Sink } from '../sink.ts'
import { SERVER_SURFACE, type LaneSpec } from '../topology.ts'

/** One piece of work. Delivered again, it has the same id. */
export interface Unit {
  readonly id: string
  /** Chooses the surface, where there are several. */
  readonly tenant: string
  /** The first attempt goes wrong after its effect. */
  readonly fails: boolean
}

export interface LaneContext {
  readonly guard: Guard
  readonly spec: LaneSpec
  readonly book: LaneBook
  /** For a lane whose tools are lanes of their own. */
  readonly replica: ReplicaBook
  readonly sink: Sink
  readonly paceMs: number
  /** Aborted when the replica leaves. */
  readonly leaving: AbortSignal
}

/** Work that goes on until `leaving`. Never rejects. */
export type Lane = (context: LaneContext) => Promise<void>

const FAILS_EVERY = 10
const WORK_MS = 2

/** Units of this lane, for its tenants by turns. */
export function unitsOf({ guard, spec: { name, on = [] } }: LaneContext): () => Unit {
  // A replica that is replaced goes on with new units.
  const incarnation = crypto.randomUUID().slice(0, 8)
  // Replicas do not fail in step.
  let last = Number(guard.serverDeviceId.split(':').at(-1)) % FAILS_EVERY
  return () => {
    const number = ++last
    const tenant = on[number % Math.max(1, on.length)] ?? SERVER_SURFACE
    return {
      id: `${guard.serverDeviceId}/${name}/${incarnation}/${number}`,
      tenant,
      fails: number % FAILS_EVERY === 0,
    }
  }
}

/** Where its units are asked for. */
export function placeOf<T extends { readonly tenant: string }>({
  guard,
  spec: { on = [SERVER_SURFACE] },
}: LaneContext): Surface | SurfaceChoice<T> {
  return on.length > 1
    ? guard.surfaceBy(on, ({ tenant }: T) => tenant)
    : guard.surface(on[0] ?? SERVER_SURFACE)
}

/** Says which devices its units may ask for. */
export function entersAt({ guard, spec: { on = [SERVER_SURFACE] }, book }: LaneContext): void {
  for (const name of on) book.entersAt(guard.surface(name).deviceIds)
}

/** The effect of a lane. */
export type Done = Effect<Unit, { readonly receipt: string }>

/** What a unit does to the world, once for each id. `isEntry`: nothing of the unit starts before it. */
export function effectOf({ spec, book, sink }: LaneContext, { isEntry = false } = {}): Done {
  const kind = spec.effect ?? 'write'
  const name = `${spec.name}_${kind}`
  return defineEffect<Unit, { readonly receipt: string }>({
    kind,
    name,
    key: ({ id }) => id,
    run: ({ id }, { idempotencyKey }) => {
      book.started('side_effect', isEntry ? undefined : { within: true })
      sink.happened(`${name} ${id}`)
      return { receipt: idempotencyKey }
    },
  })
}

/** Give or take a quarter, so that lanes do not go in step. Returns early when it is time to leave. */
export async function pause(paceMs: number, signal: AbortSignal): Promise<void> {
  await sleep(paceMs * (0.75 + Math.random() / 2), undefined, { signal }).catch(() => undefined)
}

/** What the work itself takes. */
export function atWork(): Promise<void> {
  return sleep(WORK_MS)
}
