import type { Logger } from '../log.ts'
import type { Authority } from './authority.ts'
import type { Allowed } from './decision.ts'
import { Floors } from './floors.ts'
import { InFlight, type Running, type Under } from './in-flight.ts'
import { StopRecord } from './stop-record.ts'
import type { Presence, PushedStop, StopStream, StopStreamState } from './stop-stream.ts'

export interface StopsOptions {
  readonly authority: Authority
  readonly deviceIds: readonly string[]
  readonly log: Logger
  readonly presence: () => Presence
  /** Calls a listener, whose throw changes nothing. */
  readonly tell: (listener: () => void) => void
}

interface Watch {
  readonly decision: Allowed
  readonly onStopped: () => void
}

/** Stops whose end is waited for, and those that are known when they come again. */
const REMEMBERED_STOPS = 1000

/**
 * Pushed stops, from their arrival to the word that nothing runs any more that they found (DESIGN 8).
 * P1: a stop only denies. P2: an allow of its epoch or a newer one is never touched. P3: the floor is raised before
 * anything is signalled, so that nothing starts in between. P4: `settled` is told only when all has truly ended.
 */
export class Stops {
  readonly inFlight = new InFlight((running, end) => {
    for (const record of this.#unsettled) {
      if (record.ended(running, end) && record.running === 0) this.#settle(record)
    }
  })
  readonly #options: StopsOptions
  readonly #floors = new Floors()
  readonly #watches = new Set<Watch>()
  readonly #records = new Map<number, StopRecord>()
  readonly #unsettled = new Set<StopRecord>()
  #stream: StopStream | undefined

  constructor(options: StopsOptions) {
    this.#options = options
  }

  get state(): StopStreamState | undefined {
    return this.#stream?.state
  }

  /**
   * Opens the stream, if there is one. Stops after `epoch` are told first. Answers without an epoch cannot be placed
   * before or after a stop, so there is no stream for them.
   */
  open(epoch: number | undefined): void {
    if (epoch === undefined || this.#stream !== undefined) return
    const { authority, deviceIds, presence } = this.#options
    const onStop = (stop: PushedStop): void => this.#onStop(stop)
    this.#stream = authority.openStops?.({ deviceIds, afterEpoch: epoch, onStop, presence })
  }

  /** The first device of this allow that was stopped after it was given. */
  stoppedDevice({ deviceIds, epoch }: Pick<Under, 'deviceIds' | 'epoch'>): string | undefined {
    return this.#floors.firstAbove(deviceIds, epoch)
  }

  /** Tells once, at once if a stop has come already. Gives back what ends it. */
  watch(decision: Allowed, onStopped: () => void): () => void {
    const watch: Watch = { decision, onStopped }
    this.#watches.add(watch)
    this.#tellWatches([watch])
    return () => void this.#watches.delete(watch)
  }

  async close(options: { readonly leaving: boolean }): Promise<void> {
    await this.#stream?.close(options)
  }

  #onStop(stop: PushedStop): void {
    const { epoch, deviceIds } = stop
    this.#floors.raise(deviceIds, epoch) // P3
    const hit = [...this.inFlight.all()].filter((running) => isHit(stop, running))
    const known = this.#records.get(epoch)
    if (known?.hasAll(hit) !== true) {
      const record = known ?? this.#remember(new StopRecord(epoch))
      this.#found(record, hit, deviceIds)
    }
    this.#tellWatches(this.#watches)
  }

  #found(record: StopRecord, hit: readonly Running[], deviceIds = this.#options.deviceIds): void {
    const { epoch } = record
    record.add(hit)
    const reason = new Error(`Stopped at epoch ${epoch}.`)
    for (const running of hit) running.abort(reason)
    this.#options.log.warn({ epoch, device_ids: deviceIds, in_flight: record.running }, 'stop pushed')
    this.#stream?.acknowledge(record.ack('received'))
    if (record.running === 0) this.#settle(record)
    else this.#unsettled.add(record)
  }

  #settle(record: StopRecord): void {
    this.#unsettled.delete(record)
    this.#stream?.acknowledge(record.ack('settled'))
  }

  #remember(record: StopRecord): StopRecord {
    if (this.#records.size >= REMEMBERED_STOPS) this.#forgetOne()
    this.#records.set(record.epoch, record)
    return record
  }

  /** The oldest that is settled: it has nothing left to tell. One that is not would never be told as settled. */
  #forgetOne(): void {
    const records = [...this.#records.values()]
    const forgotten = records.find((record) => !this.#unsettled.has(record)) ?? records[0]
    if (forgotten === undefined) return
    this.#records.delete(forgotten.epoch)
    this.#unsettled.delete(forgotten)
  }

  #tellWatches(watches: Iterable<Watch>): void {
    for (const watch of watches) {
      if (this.stoppedDevice(watch.decision) === undefined) continue
      this.#watches.delete(watch)
      this.#options.tell(watch.onStopped)
    }
  }
}

/** An effect goes with its body, unless it was allowed since. */
function isHit(stop: PushedStop, { under, within }: Running): boolean {
  // P2, written so that an epoch that is not a number is hit.
  if (under === undefined || (under.epoch ?? Number.NEGATIVE_INFINITY) >= stop.epoch) return false
  const { deviceIds } = stop
  const isNamed = deviceIds === undefined || under.deviceIds.some((one) => deviceIds.includes(one))
  return isNamed || (within !== undefined && isHit(stop, within))
}

/** Calls in flight on each device: an effect counts with its call, not once more. */
export function inFlightOf(deviceIds: readonly string[], running: Iterable<Running>): Presence['devices'] {
  const calls = new Map(deviceIds.map((deviceId) => [deviceId, new Set<Running>()]))
  for (const one of running) for (const id of one.under?.deviceIds ?? []) calls.get(id)?.add(one.call)
  return deviceIds.map((deviceId) => ({ deviceId, inFlight: calls.get(deviceId)?.size ?? 0 }))
}
