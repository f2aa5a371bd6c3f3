import type { DenialCode } from '../guard/decision.ts'
import { AuthorityFailure } from '../guard/fail-closed.ts'
import type { StopAck, StopStream, StopStreamOptions, StopStreamState } from '../guard/stop-stream.ts'
import { jittered } from '../jitter.ts'
import { requestHeaders, type Connection } from './profile.ts'
import { stopEventReader } from './stop-stream-events.ts'
import { StopReports, type ReportTiming } from './stop-stream-reports.ts'
import { openEventSocket } from './stop-stream-socket.ts'
import { Transport } from './transport.ts'
import { PATHS } from './paths.ts'
import { MAX_STREAM_DEVICES, type StopEventBody } from './wire-stops.ts'

/** What a stream needs; the connection's own transport is for questions, and is not used. */
export interface StopStreamConnection extends Connection {
  readonly origin: string
  readonly caPem: string | undefined
  readonly replica: string
  /** Of a connection attempt and of one report. */
  readonly timeoutMs: number
}

export interface StopStreamTiming extends ReportTiming {
  /** From the request until everything missed has been told. */
  readonly openWithinMs: number
  /** A stream that was up for this long comes back at once when it is lost. */
  readonly stableMs: number
}

const TIMING: StopStreamTiming = {
  retryMinMs: 500,
  retryMaxMs: 30_000,
  openWithinMs: 10_000,
  stableMs: 5000,
  presenceEveryMs: 10_000,
  presenceChangedMs: 5000,
}

/** Within this many heartbeats something must come, whatever heartbeat the authority says it has. */
const WATCHDOG_HEARTBEATS = 2.5
const HEARTBEAT_MS = { min: 200, max: 60_000 }

/**
 * Opens the stream of stops (`GET /stops`), which comes back by itself until it is closed. What it is told can only
 * deny; a stream that is not what it should be is hung up on, and an event that is not is passed over.
 */
export function openStopStream(
  connection: StopStreamConnection,
  options: StopStreamOptions,
  timing: StopStreamTiming = TIMING,
): OpenStopStream {
  return new OpenStopStream(connection, options, timing)
}

class OpenStopStream implements StopStream {
  readonly #connection: StopStreamConnection
  readonly #options: StopStreamOptions
  readonly #timing: StopStreamTiming
  readonly #deviceIds: readonly string[]
  readonly #transport: Transport
  readonly #reports: StopReports
  #hangUp: (failure: AuthorityFailure) => void = () => {}
  #retryTimer: NodeJS.Timeout | undefined
  #watchdog: NodeJS.Timeout | undefined
  #heartbeatMs = 0
  #greeted = false
  #up = false
  #sinceMs: number
  #code: DenialCode | undefined
  #keyKind: string | undefined
  #lastEpoch: number | undefined
  #openedWith: string | undefined
  #failures = 0
  #closing: Promise<void> | undefined
  /** Events that should have been ours and were not: not 0 means that the two ends differ. */
  badEvents = 0

  constructor(connection: StopStreamConnection, options: StopStreamOptions, timing: StopStreamTiming) {
    const { origin, caPem, clock, timeoutMs, replica } = connection
    this.#connection = connection
    this.#options = options
    this.#timing = timing
    // Beyond that a device is stopped by asking alone.
    this.#deviceIds = options.deviceIds.slice(0, MAX_STREAM_DEVICES)
    this.#sinceMs = clock.now().wallMs
    this.#transport = new Transport({ origin, caPem, clock, keepAlive: true, connectTimeoutMs: timeoutMs })
    this.#reports = new StopReports(
      { ...connection, transport: this.#transport },
      {
        replica,
        timeoutMs,
        timing,
        presence: () => {
          const presence = options.presence()
          return { ...presence, devices: presence.devices.slice(0, MAX_STREAM_DEVICES) }
        },
        onKeyKind: (kind) => {
          this.#keyKind = kind
        },
      },
    )
    this.#connect()
    this.#reports.begin()
  }

  get state(): StopStreamState {
    return {
      up: this.#up,
      since: new Date(this.#sinceMs).toISOString(),
      code: this.#up ? undefined : this.#code,
      keyKind: this.#keyKind,
      replica: this.#connection.replica,
    }
  }

  acknowledge(ack: StopAck): void {
    this.#reports.add(ack)
  }

  close({ leaving }: { readonly leaving: boolean }): Promise<void> {
    return (this.#closing ??= this.#close(leaving))
  }

  async #close(leaving: boolean): Promise<void> {
    clearTimeout(this.#retryTimer)
    await this.#reports.close({ leaving })
    this.#hangUp(new AuthorityFailure('GUARD_SHUTTING_DOWN', 'The stream is closed.'))
    await this.#transport.close()
  }

  #connect(): void {
    const { origin, caPem, timeoutMs, pathPrefix, key, replica } = this.#connection
    const { afterEpoch } = this.#options
    const devices = this.#deviceIds.map((id) => encodeURIComponent(id)).join(',')
    const after = afterEpoch === undefined ? '' : `&after=${afterEpoch}`
    const headers = requestHeaders(key, { hasBody: false, accept: 'text/event-stream' })
    if (this.#lastEpoch !== undefined) headers.push('last-event-id', String(this.#lastEpoch))
    this.#openedWith = key.current()
    this.#greeted = false
    this.#watch(this.#timing.openWithinMs)
    const read = stopEventReader({
      onEvent: (event) => this.#onEvent(event),
      onBadEvent: () => {
        this.badEvents += 1
      },
      onAlive: () => this.#isAlive(),
      onTooLarge: () => this.#drop('AUTHORITY_BODY_TOO_LARGE', 'An event of the stream is too large.'),
    })
    this.#hangUp = openEventSocket({
      origin,
      caPem,
      connectTimeoutMs: timeoutMs,
      path: `${pathPrefix}${PATHS.stops}?replica=${encodeURIComponent(replica)}&devices=${devices}${after}`,
      headers,
      onText: read,
      onEnd: (failure, retryAfterMs) => this.#onEnd(failure, retryAfterMs),
    })
  }

  #onEvent(event: StopEventBody): void {
    if (event.type === 'hello') return this.#onHello(event)
    // Whose stops these are is not known before.
    if (!this.#greeted) {
      this.badEvents += 1
      return
    }
    switch (event.type) {
      case 'stop': {
        this.#reached(event.epoch)
        const deviceIds = event.deviceIds.filter((id) => this.#deviceIds.includes(id))
        if (event.ackAfterMs !== undefined) this.#reports.waitFor(event.ackAfterMs)
        if (deviceIds.length > 0) this.#options.onStop({ epoch: event.epoch, deviceIds })
        return
      }
      case 'current':
        this.#reached(event.epoch)
        if (!this.#up) this.#isUp()
        return
      case 'key_cut':
        this.#reports.keyCut()
        this.#options.onStop({ epoch: event.epoch, deviceIds: undefined })
        this.#drop('AUTHORITY_UNAUTHORIZED', 'The key that opened the stream is burned.')
    }
  }

  #onHello({ orgId, heartbeatMs, keyKind }: StopEventBody & { type: 'hello' }): void {
    const { org } = this.#connection
    if (orgId !== (org.orgId ?? orgId))
      return this.#drop('AUTHORITY_WRONG_DEVICE', 'The stream of stops is of another org.')
    this.#greeted = true
    this.#keyKind = keyKind
    this.#heartbeatMs = Math.min(Math.max(heartbeatMs, HEARTBEAT_MS.min), HEARTBEAT_MS.max)
  }

  #isAlive(): void {
    if (!this.#up) return
    this.#watch(this.#heartbeatMs * WATCHDOG_HEARTBEATS)
    const { key } = this.#connection
    if (this.#openedWith === undefined || key.current() === this.#openedWith) return
    // Replicas are told apart by their key too, and one that was replaced may be burned without anything to stop here.
    this.#reports.leave(this.#openedWith)
    this.#drop('AUTHORITY_UNAUTHORIZED', 'The key that opened the stream was replaced.')
  }

  #reached(epoch: number): void {
    this.#lastEpoch = Math.max(this.#lastEpoch ?? 0, epoch)
  }

  #isUp(): void {
    this.#up = true
    this.#sinceMs = this.#connection.clock.now().wallMs
    this.#watch(this.#heartbeatMs * WATCHDOG_HEARTBEATS)
    this.#reports.streamUp()
  }

  #onEnd({ code }: AuthorityFailure, retryAfterMs: number): void {
    clearTimeout(this.#watchdog)
    this.#greeted = false
    const { clock, key } = this.#connection
    const nowMs = clock.now().wallMs
    const { retryMinMs, retryMaxMs, stableMs } = this.#timing
    if (this.#up) {
      if (nowMs - this.#sinceMs >= stableMs) this.#failures = 0
      this.#up = false
      this.#sinceMs = nowMs
    }
    this.#code = code
    if (this.#closing !== undefined) return
    // A rotated key may be in its file already.
    if (code === 'AUTHORITY_UNAUTHORIZED') key.refused()
    const delayMs = jittered(Math.min(retryMinMs * 2 ** this.#failures, retryMaxMs))
    this.#failures += 1
    this.#retryTimer = setTimeout(
      () => this.#connect(),
      Math.max(delayMs, retryAfterMs + jittered(retryMinMs)),
    )
    this.#retryTimer.unref()
  }

  #watch(withinMs: number): void {
    clearTimeout(this.#watchdog)
    this.#watchdog = setTimeout(
      () => this.#drop('AUTHORITY_TIMEOUT', `Nothing came over the stream of stops for ${withinMs} ms.`),
      withinMs,
    ).unref()
  }

  #drop(code: DenialCode, message: string): void {
    this.#hangUp(new AuthorityFailure(code, message))
  }
}
