import { systemClock, type Clock } from '../clock.ts'
import { GuardMisconfiguredError } from '../errors.ts'
import { createLogger, type Logger } from '../log.ts'
import type { Answer, Authority } from './authority.ts'
import { guardCall, type ActiveCall, type CallOutcome, type CallRequest } from './call.ts'
import {
  localRequestId,
  type Allowed,
  type Boundary,
  type Decision,
  type Denial,
  type Denied,
  type LocalDenialCode,
} from './decision.ts'
import type { AtCrashPoint, CrashPoint } from './crash-points.ts'
import { assertDeviceId } from './device.ts'
import { GuardEvents, type GuardEvent, type GuardListener } from './events.ts'
import { underOf, type Running, type Under, type Work } from './in-flight.ts'
import type { Journal } from './journal.ts'
import { judge } from './judge.ts'
import { Permit } from './permit.ts'
import { Questions, type LastAnswer } from './questions.ts'
import { Registrar } from './registrar.ts'
import type { Presence, StopStreamState, StoppedEnd } from './stop-stream.ts'
import { inFlightOf, Stops } from './stops.ts'
import { surfaceChoice, type SurfaceChoice } from './surface-choice.ts'
import {
  foreignSurface,
  resolveSurfaces,
  SERVER_SURFACE,
  type Surface,
  type SurfaceOptions,
} from './surface.ts'
import { permitAge, timeBudget } from './time-budget.ts'

/** What `createGuard` takes. */
export interface GuardOptions {
  /** Whom it asks: a `MachineID`, or one of your own. */
  readonly authority: Authority
  /** The device of this process, for example `openai-agent:prod:tool-server:01`. */
  readonly serverDeviceId: string
  /** Default: none but the server device. */
  readonly surfaces?: SurfaceOptions
  /** What a drill stops in place of a real device: it is never registered here, but its pushed stops count. Default: none. */
  readonly canaryDeviceId?: string | undefined
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
  /** Default: the system's. For tests. */
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

/** For tracing. Must not throw. */
export type QuestionObserver = (at: HoldPoint, verdict: Promise<Decision>) => void

type State = 'new' | 'started' | 'shutting_down'

/** Decides whether to go on. Build it with `createGuard`, begin with `start`, end with `close`. */
export class Guard {
  /** The device of this process. */
  readonly serverDeviceId: string
  /** Where its effects are stored. */
  readonly journal: Journal
  /** Where its decisions are logged. */
  readonly log: Logger
  /** The budget of one question, in milliseconds. */
  readonly timeoutMs: number
  /** What it takes the time from. */
  readonly clock: Clock
  /** Keys of effects that outlived their deadline and still run here. For commits only. */
  readonly overdueKeys = new Set<string>()
  readonly #options: GuardOptions
  readonly #surfaces: ReadonlyMap<string, Surface>
  readonly #deviceIds: readonly string[]
  readonly #maxAgeMs: number
  readonly #registrar: Registrar
  readonly #questions: Questions
  readonly #stops: Stops
  readonly #observers = new Set<QuestionObserver>()
  readonly #events: GuardEvents
  readonly #closes = new AbortController()
  readonly #shutdown = new AbortController()
  #state: State = 'new'
  #closing: Promise<boolean> | undefined

  /** Use `createGuard`. */
  constructor(options: GuardOptions) {
    assertDeviceId(options.serverDeviceId, 'MACHINEID_DEVICE_ID')
    this.serverDeviceId = options.serverDeviceId
    this.timeoutMs = timeBudget(options.timeoutMs)
    this.#maxAgeMs = permitAge(options.maxAgeMs, this.timeoutMs)
    this.journal = options.journal
    this.log = options.log ?? createLogger()
    this.#events = new GuardEvents(this.log)
    this.#options = options
    this.clock = options.clock ?? systemClock
    const surfaces = resolveSurfaces(options.serverDeviceId, options.surfaces ?? [])
    this.#surfaces = new Map(
      [...surfaces].map(([name, deviceIds]) => [name, Object.freeze({ name, deviceIds, guard: this })]),
    )
    const declared = new Set([...surfaces.values()].flat())
    const { canaryDeviceId } = options
    if (canaryDeviceId !== undefined) assertDeviceId(canaryDeviceId, 'canaryDeviceId')
    this.#deviceIds = [...new Set([...declared, ...(canaryDeviceId === undefined ? [] : [canaryDeviceId])])]
    const { authority, maxPendingQuestions: maxPending = 1024 } = options
    const { timeoutMs, log, clock } = this
    this.#registrar = new Registrar({ authority, deviceIds: [...declared], timeoutMs, log })
    this.#questions = new Questions({ authority, timeoutMs, maxPending, clock })
    this.#stops = new Stops({
      authority,
      deviceIds: this.#deviceIds,
      log,
      presence: () => this.presence(),
      tell: (listener) => this.#events.safely(listener),
    })
  }

  /** True between an allowed start and the beginning of a shutdown. */
  get started(): boolean {
    return this.#state === 'started'
  }

  /** Whether the last question got a usable answer. Undefined before the first. For health checks only. */
  get lastAnswer(): LastAnswer | undefined {
    return this.#questions.last
  }

  /** How the stream of stops stands. Undefined before the start, and where the authority has none. */
  get stopStream(): StopStreamState | undefined {
    return this.#stops.state
  }

  /** How busy this process is. */
  presence(): Presence {
    const devices = inFlightOf(this.#deviceIds, this.#stops.inFlight.all())
    return { devices, timeoutMs: this.timeoutMs, latencyMs: this.#questions.latencyMs }
  }

  /** Bodies that are running now. */
  get inFlight(): number {
    return this.#stops.inFlight.count
  }

  /** Aborted when a shutdown begins: whoever waits for work, or to ask again, must end now. */
  get closingSignal(): AbortSignal {
    return this.#closes.signal
  }

  /** Aborted when the grace time of a shutdown is over: also effects that wanted to finish must end now. */
  get shutdownSignal(): AbortSignal {
    return this.#shutdown.signal
  }

  /** Every surface that was declared, the server's own first. */
  get surfaces(): readonly Surface[] {
    return [...this.#surfaces.values()]
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
   * A surface chosen from what is asked for, such as the arguments of a tool: `guard.surfaceBy(['tenant-a', 'tenant-b'],
   * (args: { tenant: string }) => `tenant-${args.tenant}`)`. Throws `GUARD_MISCONFIGURED` when one of `names` was not
   * declared, or there is none.
   */
  surfaceBy<Input>(names: readonly string[], choose: (input: Input) => string): SurfaceChoice<Input> {
    return surfaceChoice(this, names, choose)
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
      this.#stops.open(checked.decision.epoch)
    })
    return started.started ? checked.decision : started.denied
  }

  /** One hold point: asks the authority now, for exactly these devices (G2). The permit starts at most one body. */
  async check(at: HoldPoint): Promise<Checked> {
    const code = foreignSurface(this, at) ?? this.#notServing()
    if (code !== undefined) return { allowed: false, decision: this.#deny(at, { code }) }
    const asked = this.#ask(at)
    if (this.#observers.size > 0) {
      const verdict = asked.then((checked) => checked.decision)
      for (const observe of this.#observers) this.#events.safely(() => observe(at, verdict))
    }
    return asked
  }

  /** Shows `observer` each question and its verdict, which it cannot change. Adding it again changes nothing. */
  observe(observer: QuestionObserver): void {
    this.#observers.add(observer)
  }

  /**
   * Tells `listener` of every decision and every unknown outcome from now on. Gives back what ends it. `close()` waits for
   * `last`, which must settle by itself.
   */
  subscribe(listener: GuardListener, last?: () => Promise<void>): () => void {
    return this.#events.subscribe(listener, last)
  }

  /** Asks, and starts `body` only on a fresh allow. What `body` throws is thrown. */
  async run<T>(at: HoldPoint, body: (work: Work) => T | Promise<T>): Promise<RunOutcome<T>> {
    const checked = await this.check(at)
    if (!checked.allowed) return checked
    const started = checked.permit.start(() =>
      this.track(at.signal, ({ signal }) => body({ signal }), underOf(at, checked.decision)),
    )
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

  /**
   * Counts `body` as in flight, so that a shutdown signals it and waits; so does a pushed stop of what it runs `under`.
   * Without `under` no stop is about it.
   */
  track<T>(
    signal: AbortSignal | undefined,
    body: (work: Running) => T | Promise<T>,
    under?: Under,
  ): Promise<T> {
    return this.#stops.inFlight.track(signal, body, under)
  }

  /** It is not known whether an effect happened. For commits only. */
  outcomeUnknown(event: Omit<GuardEvent & { kind: 'outcome_unknown' }, 'kind'>): void {
    this.#events.tell({ kind: 'outcome_unknown', ...event })
  }

  /** An effect has begun, in this tick. For commits only. */
  effectBegan(effect: Running): void {
    this.#stops.inFlight.begin(effect)
  }

  /** Does nothing for one that never began. For commits only. */
  effectEnded(effect: Running, end: StoppedEnd): void {
    this.#stops.inFlight.end(effect, end)
  }

  /**
   * Tells once when a pushed stop is about what `decision` allowed: at once if it has come already. For what goes on
   * after its hold point without being a body, such as a session of agents. Gives back what ends it.
   */
  watch(decision: Allowed, onStopped: () => void): () => void {
    return this.#stops.watch(decision, onStopped)
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
    this.#closes.abort(new Error('The guard is shutting down.'))
    this.#registrar.stop()
    const { inFlight } = this.#stops
    inFlight.abortAll(new Error('The guard is shutting down.'))
    const ended = await inFlight.idle(graceMs)
    this.#shutdown.abort(new Error('The grace time of the shutdown is over.'))
    // Effects that heed their signal settle and write their outcome; the others stay an intent, which becomes unknown.
    if (!ended) await inFlight.idle(SETTLE_MS)
    // Nobody waits for an effect that outlived its deadline, but a stop must not be confirmed without it.
    const allEnded = inFlight.isEmpty
    // Last, so that what stops found in flight can be told to have ended.
    await this.#stops.close({ leaving: allEnded })
    await this.#events.close()
    await this.#options.onClose?.()
    return allEnded
  }

  #notServing(): LocalDenialCode | undefined {
    if (this.#state === 'new') return 'GUARD_NOT_STARTED'
    return this.#state === 'shutting_down' ? 'GUARD_SHUTTING_DOWN' : undefined
  }

  async #ask(at: HoldPoint): Promise<Checked> {
    const enteredAtMs = this.clock.now().monotonicMs
    return this.#decide(at, await this.#questions.ask(at), enteredAtMs)
  }

  #decide(at: HoldPoint, answer: Answer, enteredAtMs: number): Checked {
    const verdict = judge(answer, at.surface.deviceIds)
    if (!verdict.allowed) {
      const { deviceId, requestId, cause } = verdict
      const code = deviceId === undefined ? verdict.code : this.#registrar.explain(deviceId, verdict.code)
      const denied = this.#deny(at, { code, requestId, enteredAtMs, deviceId, cause })
      if (deviceId === this.serverDeviceId && this.#state === 'started')
        this.#events.safely(() => this.#options.onServerDenied?.(denied))
      return { allowed: false, decision: denied }
    }
    const { requestId, orgId, orgEpoch, sentAt } = verdict.answer
    const base = this.#decisionBase(at, requestId, enteredAtMs)
    const decision: Allowed = { allowed: true, code: 'ALLOW', ...base, orgId, epoch: orgEpoch }
    const deny = (code: LocalDenialCode): Denied =>
      this.#deny(at, { code, requestId, enteredAtMs, deviceId: this.#stops.stoppedDevice(decision) })
    // P1: the authority said yes before a stop that overtook its answer.
    if (this.#stops.stoppedDevice(decision) !== undefined)
      return { allowed: false, decision: deny('STOP_PUSHED') }
    this.#events.decided(at, decision)
    const permit = new Permit({
      decision,
      sentAt,
      maxAgeMs: this.#maxAgeMs,
      clock: this.clock,
      refusal: () => this.#mayNotStart(at, decision),
      deny,
    })
    return { allowed: true, permit, decision }
  }

  #mayNotStart(at: HoldPoint, decision: Allowed): LocalDenialCode | undefined {
    if (this.#state === 'shutting_down') return 'GUARD_SHUTTING_DOWN'
    if (this.#stops.stoppedDevice(decision) !== undefined) return 'STOP_PUSHED'
    return at.signal?.aborted === true ? 'CALL_ABORTED' : undefined
  }

  #deny(at: HoldPoint, { code, requestId, enteredAtMs, deviceId, cause }: Denial): Denied {
    const base = this.#decisionBase(
      at,
      requestId ?? localRequestId(),
      enteredAtMs ?? this.clock.now().monotonicMs,
    )
    const denied: Denied = { allowed: false, code, ...base, deviceId: deviceId ?? base.deviceId }
    this.#events.decided(at, denied, cause)
    return denied
  }

  #decisionBase({ surface, boundary }: HoldPoint, requestId: string, enteredAtMs: number) {
    const { deviceIds } = surface
    const latencyMs = this.clock.now().monotonicMs - enteredAtMs
    return { boundary, deviceId: deviceIds[0] as string, deviceIds, requestId, latencyMs }
  }
}

const SETTLE_MS = 1000

/** Builds a guard from its parts: no connection, no timer, no question yet. Throws `GUARD_MISCONFIGURED`. */
export function createGuard(options: GuardOptions): Guard {
  return new Guard(options)
}
