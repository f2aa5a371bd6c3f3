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
  readonly bodies = new InFlight((running, end) => {
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

  async close(): Promise<void> {
    await this.#stream?.close()
  }

  #onStop({ epoch, deviceIds }: PushedStop): void {
    this.#floors.raise(deviceIds, epoch) // P3
    const floors = new Floors()
    floors.raise(deviceIds, epoch)
    const hit = [...this.bodies.all()].filter(({ under }) => isHit(floors, under))
    const known = this.#records.get(epoch)
    if (known?.hasAll(hit) === true) return
    const record = known ?? this.#remember(new StopRecord(epoch))
    record.add(hit)
    const reason = new Error(`Stopped at epoch ${epoch}.`)
    for (const running of hit) running.abort(reason)
    this.#tellWatches(this.#watches)
    const line = { epoch, device_ids: deviceIds ?? this.#options.deviceIds, in_flight: record.running }
    this.#options.log.warn(line, 'stop pushed')
    this.#stream?.acknowledge(record.ack('received'))
    if (record.running === 0) this.#settle(record)
    else this.#unsettled.add(record)
  }

  #settle(record: StopRecord): void {
    this.#unsettled.delete(record)
    this.#stream?.acknowledge(record.ack('settled'))
  }

  #remember(record: StopRecord): StopRecord {
    this.#records.set(record.epoch, record)
    const [oldest] = this.#records.values()
    if (oldest !== undefined && this.#records.size > REMEMBERED_STOPS) {
      this.#records.delete(oldest.epoch)
      this.#unsettled.delete(oldest)
    }
    return record
  }

  #tellWatches(watches: Iterable<Watch>): void {
    for (const watch of watches) {
      if (this.stoppedDevice(watch.decision) === undefined) continue
      this.#watches.delete(watch)
      this.#options.tell(watch.onStopped)
    }
  }
}

/** P2. */
function isHit(floors: Floors, under: Under | undefined): boolean {
  return under !== undefined && floors.firstAbove(under.deviceIds, under.epoch) !== undefined
}

/** Calls in flight on each device: an effect counts with its call, not once more. */
export function inFlightOf(deviceIds: readonly string[], running: Iterable<Running>): Presence['devices'] {
  const calls = new Map(deviceIds.map((deviceId) => [deviceId, new Set<Running>()]))
  for (const one of running) for (const id of one.under?.deviceIds ?? []) calls.get(id)?.add(one.call)
  return deviceIds.map((deviceId) => ({ deviceId, inFlight: calls.get(deviceId)?.size ?? 0 }))
}
