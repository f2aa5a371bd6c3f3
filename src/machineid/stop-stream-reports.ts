import type { Presence, StopAck } from '../guard/stop-stream.ts'
import { jittered } from '../jitter.ts'
import { manage, type Result } from './management.ts'
import { OrgKey } from './org-key.ts'
import type { Connection } from './profile.ts'
import { PATHS } from './paths.ts'
import type { KeyKind } from './wire.ts'
import { MAX_TOLD_CALLS, PresenceResponse, StopAckResponse, type StopAckBody } from './wire-stops.ts'

export interface ReportTiming {
  /** How often presence is told at least, and at most while it changes. */
  readonly presenceEveryMs: number
  readonly presenceChangedMs: number
  readonly retryMinMs: number
  readonly retryMaxMs: number
}

export interface ReportsOptions {
  readonly replica: string
  readonly timeoutMs: number
  readonly presence: () => Presence
  readonly timing: ReportTiming
  readonly onKeyKind: (kind: KeyKind) => void
}

/** What waits to be delivered; beyond it the oldest is dropped, and that stop stays unconfirmed. */
const MAX_WAITING_ACKS = 1000
const MAX_ACKS_PER_POST = 100
/** Below `MAX_BODY_BYTES`, which whatever stands between may hold every call to. */
const MAX_POST_BYTES = 15_000
const MAX_COUNT = 1_000_000
/** Nobody waits longer for word from a process that ends. */
const CLOSE_TIMEOUT_MS = 1000

/** What this process tells of itself: its acknowledgements, until they are delivered, and its presence. */
export class StopReports {
  readonly #connection: Connection
  readonly #options: ReportsOptions
  readonly #waiting = new Set<StopAckBody>()
  #delivering: Promise<void> | undefined
  #telling: Promise<void> | undefined
  #failures = 0
  #quietUntilMs = 0
  #retryTimer: NodeJS.Timeout | undefined
  #presenceTimer: NodeJS.Timeout | undefined
  #presenceTold: { readonly devices: string; readonly atMs: number } | undefined
  #keyCut = false
  #isKnown = false
  #closed = false

  constructor(connection: Connection, options: ReportsOptions) {
    this.#connection = connection
    this.#options = options
  }

  /** The stream is open, so the key counts. */
  streamUp(): void {
    this.#keyCut = false
    this.#isKnown = true
    this.#deliverNow()
    this.#presenceTold = undefined
    this.#tellPresence()
  }

  /** Presence is told from now on, whether the stream is open or not: a process that only lost it is not silent. */
  begin(): void {
    clearTimeout(this.#presenceTimer)
    const delayMs = jittered(this.#options.timing.presenceChangedMs)
    this.#presenceTimer = setTimeout(() => this.#tellPresence(), delayMs).unref()
  }

  #tellPresence(): void {
    // The last word is that it leaves.
    if (this.#closed) return
    this.begin()
    if (!this.#keyCut && this.#presenceIsNews()) this.#telling = this.#postPresence(this.#options.timeoutMs)
  }

  /** Nothing can be delivered with this key any more. What waits is kept for one that replaces it. */
  keyCut(): void {
    this.#keyCut = true
    clearTimeout(this.#retryTimer)
  }

  add(ack: StopAck): void {
    this.#waiting.add(ackBody(ack))
    const [oldest] = this.#waiting
    if (oldest !== undefined && this.#waiting.size > MAX_WAITING_ACKS) this.#waiting.delete(oldest)
    const waitMs = this.#quietUntilMs - performance.now()
    // Those of one tick go together.
    if (waitMs <= 0) queueMicrotask(() => this.#deliverNow())
    else this.#deliverIn(waitMs)
  }

  /** Nothing is acknowledged before some of this time is over: the authority has others to tell first. */
  waitFor(delayMs: number): void {
    this.#quietUntilMs = Math.max(this.#quietUntilMs, performance.now() + jittered(delayMs))
  }

  /** Under this key nobody is to wait for word from us any more. */
  leave(orgKey: string): void {
    const { clock } = this.#connection
    const connection = { ...this.#connection, key: new OrgKey({ orgKey }, clock) }
    void this.#postPresence(this.#options.timeoutMs, { leaving: true, connection })
  }

  /** The last word: what waits, once more, and with `leaving` that this process leaves. */
  async close({ leaving }: { readonly leaving: boolean }): Promise<void> {
    this.#closed = true
    clearTimeout(this.#retryTimer)
    clearTimeout(this.#presenceTimer)
    await Promise.all([this.#delivering, this.#telling])
    if (!this.#isKnown || this.#keyCut) return
    const untilMs = performance.now() + CLOSE_TIMEOUT_MS
    await this.#deliver(() => untilMs - performance.now())
    if (leaving && this.#waiting.size === 0) await this.#postPresence(CLOSE_TIMEOUT_MS, { leaving: true })
  }

  #deliverNow(): void {
    if (this.#delivering !== undefined || this.#keyCut || this.#closed) return
    clearTimeout(this.#retryTimer)
    this.#delivering = this.#deliver(() => (this.#closed ? 0 : this.#options.timeoutMs)).finally(() => {
      this.#delivering = undefined
      if (this.#waiting.size > 0 && !this.#keyCut && !this.#closed) this.#deliverLater()
    })
  }

  #deliverLater(): void {
    const { retryMinMs, retryMaxMs } = this.#options.timing
    this.#deliverIn(jittered(Math.min(retryMinMs * 2 ** Math.max(this.#failures - 1, 0), retryMaxMs)))
  }

  #deliverIn(delayMs: number): void {
    clearTimeout(this.#retryTimer)
    this.#retryTimer = setTimeout(() => this.#deliverNow(), delayMs).unref()
  }

  /** Until all are delivered, one post was not, or there is no time for another. */
  async #deliver(timeLeftMs: () => number): Promise<void> {
    while (this.#waiting.size > 0) {
      const timeoutMs = timeLeftMs()
      if (timeoutMs <= 0) return
      const acks = nextPost(this.#waiting)
      const result = await this.#post(PATHS.stopsAck, { acks }, StopAckResponse, { timeoutMs })
      // What the authority itself refuses it would refuse again.
      if (!result.ok && !result.answered) {
        this.#failures += 1
        return
      }
      this.#failures = 0
      for (const ack of acks) this.#waiting.delete(ack)
    }
  }

  /** Counts that have changed, or that were told long enough ago. */
  #presenceIsNews(): boolean {
    const devices = JSON.stringify(this.#options.presence().devices)
    const nowMs = performance.now()
    const told = this.#presenceTold
    if (told?.devices === devices && nowMs - told.atMs < this.#options.timing.presenceEveryMs) return false
    this.#presenceTold = { devices, atMs: nowMs }
    return true
  }

  async #postPresence(
    timeoutMs: number,
    { leaving = false, connection = this.#connection } = {},
  ): Promise<void> {
    const { devices, timeoutMs: budgetMs, latencyMs = null } = this.#options.presence()
    const body = { devices, timeoutMs: budgetMs, latencyMs, ...(leaving ? { leaving } : {}) }
    const result = await this.#post(PATHS.presence, body, PresenceResponse, { timeoutMs, connection })
    if (!result.ok || leaving) return
    this.#isKnown = true
    this.#options.onKeyKind(result.value.keyKind)
  }

  #post<T>(
    path: string,
    body: object,
    schema: Parameters<typeof manage<T>>[1]['schema'],
    { timeoutMs, connection = this.#connection }: { timeoutMs: number; connection?: Connection },
  ): Promise<Result<T>> {
    return manage(connection, {
      method: 'POST',
      path,
      body: { replica: this.#options.replica, ...body },
      schema,
      timeoutMs,
      retry: true,
    })
  }
}

function ackBody({ epoch, phase, running, calls }: StopAck): StopAckBody {
  const count = (end: string) => Math.min(calls.filter((call) => call.end === end).length, MAX_COUNT)
  return {
    epoch,
    phase,
    aborted: count('aborted'),
    finished: count('finished'),
    unknown: count('unknown'),
    running: Math.min(running, MAX_COUNT),
    calls: toldCalls(calls),
  }
}

/** One by one only as many as fit: the counts say the rest. */
function toldCalls(calls: StopAck['calls']): NonNullable<StopAckBody['calls']> {
  const told: NonNullable<StopAckBody['calls']> = []
  let bytes = 0
  for (const { callId, runId, tool, end } of calls.slice(0, MAX_TOLD_CALLS)) {
    const call = { callId: shown(callId), runId: shown(runId), tool: shown(tool), end }
    bytes += bytesOf(call)
    if (bytes > MAX_POST_BYTES / 2) break
    told.push(call)
  }
  return told
}

function nextPost(waiting: Iterable<StopAckBody>): StopAckBody[] {
  const acks: StopAckBody[] = []
  let bytes = 0
  for (const ack of waiting) {
    bytes += bytesOf(ack)
    if (acks.length > 0 && (bytes > MAX_POST_BYTES || acks.length === MAX_ACKS_PER_POST)) break
    acks.push(ack)
  }
  return acks
}

function bytesOf(value: object): number {
  return Buffer.byteLength(JSON.stringify(value)) + 1
}

/** As the authority stores texts: whole characters, no NUL, at most 256. Ids of callers may be anything. */
function shown(text: string | undefined): string | null {
  const clean = text?.slice(0, 256).toWellFormed().replaceAll('\0', '')
  return clean === undefined || clean === '' ? null : clean
}
