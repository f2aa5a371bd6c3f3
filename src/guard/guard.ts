import { systemClock, type Clock } from '../clock.ts'
import { GuardMisconfiguredError, messageOf } from '../errors.ts'
import { createLogger, type Logger } from '../log.ts'
import type { Answer, Authority } from './authority.ts'
import { guardCall, type ActiveCall, type CallOutcome, type CallRequest } from './call.ts'
import {
  localRequestId,
  type Allowed,
  type Boundary,
  type Decision,
  type Denied,
  type DenialCode,
  type LocalDenialCode,
} from './decision.ts'
import type { AtCrashPoint, CrashPoint } from './crash-points.ts'
import { assertDeviceId } from './device.ts'
import { logDecision } from './decision-log.ts'
import { failClosed } from './fail-closed.ts'
import { InFlight, type Work } from './in-flight.ts'
import type { Journal } from './journal.ts'
import { assertAnswer, judge } from './judge.ts'
import { Permit } from './permit.ts'
import { Registrar } from './registrar.ts'
import { resolveSurfaces, SERVER_SURFACE, type Surface, type SurfaceOptions } from './surface.ts'
import { timeBudget } from './time-budget.ts'

export interface GuardOptions {
  readonly authority: Authority
  /** The device of this process, for example `openai-agent:prod:tool-server:01`. */
  readonly serverDeviceId: string
  /** Default: none but the server device. */
  readonly surfaces?: SurfaceOptions
  /** Where effects are stored: `createSqliteJournal`, or `createMemoryJournal`, which forgets on exit. */
  readonly journal: Journal
  /** Default: pino to standard output. */
  readonly log?: Logger
  /** The whole budget of one question, in milliseconds, 100 to 3,000. Default 2,000. */
  readonly timeoutMs?: number
  /** How long after its question a body may start, in milliseconds; not less than `timeoutMs`, which is the default (G3). */
  readonly maxAgeMs?: number
  /** Questions that may wait for an answer at once; more are denied `GUARD_OVERLOADED`. Default 1,024. */
  readonly maxPendingQuestions?: number
  /** Told when the authority denies the server device after the start. */
  readonly onServerDenied?: (denied: Denied) => void
  /** Runs last in `close()`. */
  readonly onClose?: () => Promise<void>
  readonly clock?: Clock
  /** For tests that kill the process there. */
  readonly atCrashPoint?: AtCrashPoint
}

/** One hold point: where it stands, and for what. */
export interface HoldPoint {
  readonly surface: Surface
  readonly boundary: Boundary
  readonly tool?: string | undefined
  readonly callId?: string | undefined
  readonly runId?: string | undefined
  readonly signal?: AbortSignal | undefined
}

export type Checked =
  | { readonly allowed: true; readonly permit: Permit; readonly decision: Allowed }
  | { readonly allowed: false; readonly decision: Denied }

export type RunOutcome<T> =
  | { readonly allowed: true; readonly value: T; readonly decision: Allowed }
  | { readonly allowed: false; readonly decision: Denied }

export interface LastAnswer {
  readonly answered: boolean
  /** Why there was none. */
  readonly code: DenialCode | undefined
  /** ISO 8601. */
  readonly at: string
}

/** For tracing. Must not throw. */
export type QuestionObserver = (at: HoldPoint, verdict: Promise<Decision>) => void

type State = 'new' | 'started' | 'shutting_down'

/** Decides whether to go on. Build it with `createGuard`, begin with `start`, end with `close`. */
export class Guard {
  readonly serverDeviceId: string
  readonly journal: Journal
  readonly log: Logger
  readonly timeoutMs: number
  readonly clock: Clock
  /** Keys of effects that outlived their deadline and still run here. For commits only. */
  readonly overdueKeys = new Set<string>()
  readonly #options: GuardOptions
  readonly #surfaces: ReadonlyMap<string, Surface>
  readonly #maxAgeMs: number
  readonly #registrar: Registrar
  readonly #bodies = new InFlight()
  readonly #observers = new Set<QuestionObserver>()
  readonly #shutdown = new AbortController()
  #state: State = 'new'
  #pendingQuestions = 0
  #closing: Promise<boolean> | undefined
  #lastAnswer: { readonly answer: Answer; readonly atMs: number } | undefined

  /** Use `createGuard`. */
  constructor(options: GuardOptions) {
    assertDeviceId(options.serverDeviceId, 'MACHINEID_DEVICE_ID')
    this.serverDeviceId = options.serverDeviceId
    this.timeoutMs = timeBudget(options.timeoutMs)
    this.#maxAgeMs = permitAge(options.maxAgeMs, this.timeoutMs)
    this.journal = options.journal
    this.log = options.log ?? createLogger()
    this.#options = options
    this.clock = options.clock ?? systemClock
    const surfaces = resolveSurfaces(options.serverDeviceId, options.surfaces ?? [])
    this.#surfaces = new Map(
      [...surfaces].map(([name, deviceIds]) => [name, Object.freeze({ name, deviceIds, guard: this })]),
    )
    const devices = new Set([...surfaces.values()].flat())
    this.#registrar = new Registrar({
      authority: options.authority,
      deviceIds: [...devices],
      timeoutMs: this.timeoutMs,
      log: this.log,
    })
  }

  /** True between an allowed start and the beginning of a shutdown. */
  get started(): boolean {
    return this.#state === 'started'
  }

  /** Whether the last question got a usable answer. Undefined before the first. For health checks only. */
  get lastAnswer(): LastAnswer | undefined {
    if (this.#lastAnswer === undefined) return undefined
    const { answer, atMs } = this.#lastAnswer
    const code = answer.answered ? undefined : answer.code
    return { answered: answer.answered, code, at: new Date(atMs).toISOString() }
  }

  /** Bodies that are running now. */
  get inFlight(): number {
    return this.#bodies.count
  }

  /** Aborted when the grace time of a shutdown is over: also effects that wanted to finish must end now. */
  get shutdownSignal(): AbortSignal {
    return this.#shutdown.signal
  }

  /** The surface of that name. Throws `GUARD_MISCONFIGURED` when it was not declared. */
  surface(name: string): Surface {
    const surface = this.#surfaces.get(name)
    if (surface !== undefined) return surface
    throw new GuardMisconfiguredError(
      `Surface "${name}" is not declared. Declared: ${[...this.#surfaces.keys()].join(', ')}. ` +
        `Add it where the guard is made: { surfaces: ['${name}'] }, or map it: MACHINEID_SURFACES=${name}=tool-server`,
    )
  }

  /**
   * The startup boundary: registers every declared device, then asks for the server device. Until it is
   * allowed every hold point denies `GUARD_NOT_STARTED`. May be called again after a denial.
   */
  async start(): Promise<Decision> {
    const at: HoldPoint = { surface: this.surface(SERVER_SURFACE), boundary: 'startup' }
    const noAnswer = await this.#registrar.registerAll(this.serverDeviceId)
    if (noAnswer !== undefined) return this.#deny(at, noAnswer)
    const checked = await this.#ask(at)
    if (!checked.allowed) return checked.decision
    const started = checked.permit.start(() => {
      this.#state = 'started'
      this.#registrar.retryUnanswered()
    })
    return started.started ? checked.decision : started.denied
  }

  /** One hold point: asks the authority now, for exactly these devices (G2). The permit starts at most one body. */
  async check(at: HoldPoint): Promise<Checked> {
    const code = this.#notServing()
    if (code !== undefined) return { allowed: false, decision: this.#deny(at, { code }) }
    const asked = this.#ask(at)
    if (this.#observers.size > 0) {
      const verdict = asked.then((checked) => checked.decision)
      for (const observe of this.#observers) this.#tell(() => observe(at, verdict))
    }
    return asked
  }

  /** Shows `observer` each question and its verdict, which it cannot change. Adding it again changes nothing. */
  observe(observer: QuestionObserver): void {
    this.#observers.add(observer)
  }

  /** Asks, and starts `body` only on a fresh allow. What `body` throws is thrown. */
  async run<T>(at: HoldPoint, body: (work: Work) => T | Promise<T>): Promise<RunOutcome<T>> {
    const checked = await this.check(at)
    if (!checked.allowed) return checked
    const started = checked.permit.start(() => this.track(at.signal, body))
    if (!started.started) return { allowed: false, decision: started.denied }
    return { allowed: true, value: await started.value, decision: checked.decision }
  }

  /** One guarded call: a hold point, then a body that reaches effects only through `commit`. Never rejects. */
  call<T, Context = unknown>(
    request: CallRequest<Context>,
    body: (call: ActiveCall<Context>) => T | Promise<T>,
  ): Promise<CallOutcome<T>> {
    return guardCall(this, request, body)
  }

  /** Says that this instant has come. Does nothing but in tests. */
  reach(point: CrashPoint): void {
    this.#options.atCrashPoint?.(point)
  }

  /** Counts `body` as in flight, so that a shutdown signals it and waits. */
  track<T>(signal: AbortSignal | undefined, body: (work: Work) => T | Promise<T>): Promise<T> {
    return this.#bodies.track(signal, body)
  }

  /** A denial made here, logged. */
  denyNow(at: HoldPoint, code: LocalDenialCode): Denied {
    return this.#deny(at, { code })
  }

  /**
   * Denies every new boundary, signals running bodies, waits for them at most `graceMs` (default 10,000), then
   * aborts effects too. True when everything had ended.
   */
  close({ graceMs = 10_000 }: { readonly graceMs?: number } = {}): Promise<boolean> {
    return (this.#closing ??= this.#close(graceMs))
  }

  async #close(graceMs: number): Promise<boolean> {
    this.#state = 'shutting_down'
    this.#registrar.stop()
    this.#bodies.abortAll(new Error('The guard is shutting down.'))
    const ended = await this.#bodies.idle(graceMs)
    this.#shutdown.abort(new Error('The grace time of the shutdown is over.'))
    // Effects that heed their signal settle and write their outcome; the others stay an intent, which becomes unknown.
    const settled = ended || (await this.#bodies.idle(SETTLE_MS))
    await this.#options.onClose?.()
    return settled
  }

  /** Whoever only wants to know cannot change a decision by throwing. */
  #tell(listener: () => void): void {
    try {
      listener()
    } catch (cause) {
      this.log.error({ err: messageOf(cause) }, 'a listener of the guard threw')
    }
  }

  #notServing(): LocalDenialCode | undefined {
    if (this.#state === 'new') return 'GUARD_NOT_STARTED'
    return this.#state === 'shutting_down' ? 'GUARD_SHUTTING_DOWN' : undefined
  }

  async #ask(at: HoldPoint): Promise<Checked> {
    const enteredAtMs = this.clock.now().monotonicMs
    if (this.#pendingQuestions >= (this.#options.maxPendingQuestions ?? 1024)) {
      return { allowed: false, decision: this.#deny(at, { code: 'GUARD_OVERLOADED' }) }
    }
    this.#pendingQuestions += 1
    const answer = await failClosed<Answer>(async () =>
      assertAnswer(
        await this.#options.authority.ask({
          deviceIds: at.surface.deviceIds,
          boundary: at.boundary,
          tool: at.tool,
          callId: at.callId,
          runId: at.runId,
          timeoutMs: this.timeoutMs,
          signal: at.signal,
        }),
      ),
    )
    this.#pendingQuestions -= 1
    this.#lastAnswer = { answer, atMs: this.clock.now().wallMs }
    return this.#decide(at, answer, enteredAtMs)
  }

  #decide(at: HoldPoint, answer: Answer, enteredAtMs: number): Checked {
    const verdict = judge(answer, at.surface.deviceIds)
    if (!verdict.allowed) {
      const { deviceId, requestId, cause } = verdict
      const code = deviceId === undefined ? verdict.code : this.#registrar.explain(deviceId, verdict.code)
      const denied = this.#deny(at, { code, requestId, enteredAtMs, deviceId, cause })
      if (deviceId === this.serverDeviceId && this.#state === 'started')
        this.#tell(() => this.#options.onServerDenied?.(denied))
      return { allowed: false, decision: denied }
    }
    const { requestId, orgId, orgEpoch, sentAt } = verdict.answer
    const decision: Allowed = {
      allowed: true,
      code: 'ALLOW',
      ...this.#decisionBase(at, requestId, enteredAtMs),
      orgId,
      epoch: orgEpoch,
    }
    logDecision(this.log, at, decision)
    const permit = new Permit({
      decision,
      sentAt,
      maxAgeMs: this.#maxAgeMs,
      clock: this.clock,
      refusal: () => this.#mayNotStart(at),
      deny: (code) => this.#deny(at, { code, requestId, enteredAtMs }),
    })
    return { allowed: true, permit, decision }
  }

  #mayNotStart(at: HoldPoint): LocalDenialCode | undefined {
    if (this.#state === 'shutting_down') return 'GUARD_SHUTTING_DOWN'
    return at.signal?.aborted === true ? 'CALL_ABORTED' : undefined
  }

  #deny(at: HoldPoint, { code, requestId, enteredAtMs, deviceId, cause }: Denial): Denied {
    const base = this.#decisionBase(
      at,
      requestId ?? localRequestId(),
      enteredAtMs ?? this.clock.now().monotonicMs,
    )
    const denied: Denied = { allowed: false, code, ...base, deviceId: deviceId ?? base.deviceId }
    logDecision(this.log, at, denied, cause)
    return denied
  }

  #decisionBase({ surface, boundary }: HoldPoint, requestId: string, enteredAtMs: number) {
    const { deviceIds } = surface
    const latencyMs = this.clock.now().monotonicMs - enteredAtMs
    return { boundary, deviceId: deviceIds[0] as string, deviceIds, requestId, latencyMs }
  }
}

interface Denial {
  readonly code: DenialCode
  /** Default: a local one. */
  readonly requestId?: string
  /** Default: now. */
  readonly enteredAtMs?: number
  /** Default: the first device asked about. */
  readonly deviceId?: string | undefined
  readonly cause?: unknown
}

const SETTLE_MS = 1000

/** Builds a guard from its parts: no connection, no timer, no question yet. Throws `GUARD_MISCONFIGURED`. */
export function createGuard(options: GuardOptions): Guard {
  return new Guard(options)
}

function permitAge(maxAgeMs: number | undefined, timeoutMs: number): number {
  if (maxAgeMs === undefined) return timeoutMs
  if (maxAgeMs >= timeoutMs && Number.isFinite(maxAgeMs)) return maxAgeMs
  throw new GuardMisconfiguredError(
    `maxAgeMs must be at least timeoutMs (${timeoutMs}), or slow answers could never be used.`,
  )
}
