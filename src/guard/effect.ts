import { digestOfText } from '../canonical-json.ts'
import { GuardMisconfiguredError, HoldpointError } from '../errors.ts'
import { atOnce } from './at-once.ts'
import type { JournalTransaction } from './journal.ts'

/** What an effect does to the world. Comes from code, never from the model. */
export type EffectKind =
  | 'payment'
  | 'email'
  | 'write'
  | 'delete'
  | 'transfer'
  | 'credential'
  | 'publish'
  | 'deploy'
  | 'external_call'

/** What the code of an effect is given, beside its input. */
export interface EffectContext<Context = unknown> {
  /** The same on every attempt: hand it to the sink (Stripe's `Idempotency-Key`, an email's `Message-ID`). */
  readonly idempotencyKey: string
  /** Aborted at the deadline, when the journal is lost, at the end of a shutdown; with `onStop: 'abort'` also by a stop. */
  readonly signal: AbortSignal
  /** The app's own context, as the agent run has it. */
  readonly context: Context
  readonly callId: string
  readonly runId: string | undefined
  /** The org's epoch in the allow that started this effect: a sink can fence with it. Absent with hosted MachineID. */
  readonly epoch: number | undefined
  /** With `transactional`, where the journal has one: the open transaction that commits together with the outcome. */
  readonly transaction?: JournalTransaction
}

/** What the sink says of an effect whose outcome was unknown: it happened, it did not, or it cannot tell. */
export type Reconciled<Result> =
  | { readonly state: 'done'; readonly result: Result }
  | { readonly state: 'absent' }
  | { readonly state: 'unknown' }

/** What `defineEffect` takes. */
export interface EffectOptions<Input, Result, Context = unknown> {
  /** What it does to the world: for the log, for people, and for what a transport may ask for. */
  readonly kind: EffectKind
  /** Unique among the effects that share a journal. */
  readonly name: string
  /** The surface it sits on, when it is not its call's; or chosen from its input, among declared ones. */
  readonly surface?: string | EffectSurfaces<Input>
  /**
   * The business key: what makes two attempts the same effect, for example invoice and refund number.
   * `'each-call'` takes run, call and ordinal instead: safe against a repeated call, not against a model that asks anew.
   */
  readonly key: ((input: Input) => string) | 'each-call'
  /** Throw `EffectNotPerformed` when it surely did not happen. Anything else thrown leaves the outcome unknown. */
  readonly run: (input: Input, effect: EffectContext<Context>) => Result | Promise<Result>
  /** Asked only about an unknown outcome: did it happen? With `sinkKeyTtlMs`, `absent` counts only past that. */
  readonly reconcile?: (input: Input, effect: EffectContext<Context>) => Promise<Reconciled<Result>>
  /** What a pushed stop or a shutdown does to it once started. Default `'finish'`: an aborted payment may still have happened. */
  readonly onStop?: 'finish' | 'abort'
  /** After this its signal is aborted and its outcome is unknown, in milliseconds. Default 30,000. */
  readonly deadlineMs?: number
  /**
   * How long the sink honours the idempotency key, in milliseconds. Until a minute before that has passed an unknown outcome
   * may be sent again: what is asked for now may reach the sink that much later. A minute or less repeats nothing.
   */
  readonly sinkKeyTtlMs?: number
  /**
   * Writes only into the journal's own database, through `transaction`, so that effect and outcome commit together:
   * exactly once by construction. With SQLite `run` must not be async, and `transaction` is of no use once it has
   * returned; with Postgres `run` may be async, and holds a connection until it has settled. Where the journal is no
   * database it is an effect like any other, and `transaction` is absent. Default false.
   */
  readonly transactional?: boolean
  /** What of the input the journal may store. Default: all of it. */
  readonly redact?: (input: Input) => unknown
}

/** The surfaces that an effect may sit on, and which of them it is for one input. Naming another one denies it. */
export interface EffectSurfaces<Input> {
  readonly names: readonly string[]
  readonly choose: (input: Input) => string
}

type EffectCode<Input, Result, Context> = Pick<EffectOptions<Input, Result, Context>, 'run' | 'reconcile'>

/** Named in this file alone, so that whoever holds an effect cannot run it past its hold point. */
const CODE = Symbol('holdpoint effect')

/** An effect that only a guard can run: its code is no member that could be called. Made by `defineEffect`. */
export interface Effect<Input, Result, Context = unknown> extends Omit<
  EffectOptions<Input, Result, Context>,
  keyof EffectCode<Input, Result, Context>
> {
  readonly [CODE]: EffectCode<Input, Result, Context>
  readonly onStop: 'finish' | 'abort'
  readonly deadlineMs: number
}

/** The same effect, with other code that does it: name, key and all that follows from them stay. */
export function withRun<Input, Result, Context>(
  effect: Effect<Input, Result, Context>,
  run: EffectOptions<Input, Result, Context>['run'],
): Effect<Input, Result, Context> {
  return Object.freeze({ ...effect, [CODE]: { ...effect[CODE], run } })
}

/** For the guard. */
export function codeOf<Input, Result, Context>(
  effect: Effect<Input, Result, Context>,
): EffectCode<Input, Result, Context> {
  return effect[CODE]
}

const DEFAULT_DEADLINE_MS = 30_000

/** Declares an effect. Throws `GUARD_MISCONFIGURED` when name or key is missing or the deadline is no positive number. */
export function defineEffect<Input, Result, Context = unknown>(
  options: EffectOptions<Input, Result, Context>,
): Effect<Input, Result, Context> {
  if (!options.name)
    throw new GuardMisconfiguredError('An effect needs a name, unique among those that share a journal.')
  if (options.key !== 'each-call' && typeof options.key !== 'function') {
    throw new GuardMisconfiguredError(
      `Effect "${options.name}" needs a key: (input) => a business key such as invoice and refund number, or 'each-call'.`,
    )
  }
  const deadlineMs = options.deadlineMs ?? DEFAULT_DEADLINE_MS
  if (!(deadlineMs > 0 && deadlineMs < 2 ** 31)) {
    throw new GuardMisconfiguredError(
      `Effect "${options.name}": deadlineMs must be a positive number of milliseconds.`,
    )
  }
  const { run, reconcile, ...others } = options
  return Object.freeze({
    ...others,
    [CODE]: reconcile === undefined ? { run } : { run, reconcile },
    onStop: options.onStop ?? 'finish',
    deadlineMs,
  })
}

/** The surfaces that it may sit on by name; none when it sits on its call's. */
export function effectSurfaces({
  surface,
}: {
  readonly surface?: string | EffectSurfaces<never>
}): readonly string[] {
  if (surface === undefined) return []
  return typeof surface === 'string' ? [surface] : surface.names
}

/** Undefined when it sits on its call's. Throws what `choose` throws, and `GUARD_MISCONFIGURED` for a name that was not given. */
export function effectSurface<Input>(
  { name, surface }: Pick<EffectOptions<Input, unknown>, 'name' | 'surface'>,
  input: Input,
): string | undefined {
  if (surface === undefined || typeof surface === 'string') return surface
  const chosen = atOnce(surface.choose(input))
  if (surface.names.includes(chosen)) return chosen
  throw new GuardMisconfiguredError(`Effect "${name}": its input names none of ${surface.names.join(', ')}.`)
}

export function isEffect(value: unknown): value is Effect<unknown, unknown> {
  return typeof value === 'object' && value !== null && CODE in value
}

/** Thrown by an effect that surely did not happen (a card declined). Frees the key; the message is shown to the model. */
export class EffectNotPerformed extends HoldpointError {
  override readonly name = 'EffectNotPerformed'

  constructor(message: string, options?: ErrorOptions) {
    super('EFFECT_NOT_PERFORMED', message, options)
  }
}

const NOT_SENT_CODES = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'ERR_TLS_CERT_ALTNAME_INVALID',
])

/**
 * True when `error` proves that nothing was sent: refused, no such host, no valid certificate. Looks into causes, and
 * into `detail`, where Stripe's client puts them.
 */
export function notSent(error: unknown): boolean {
  const seen = new Set<unknown>()
  for (
    let at: unknown = error;
    typeof at === 'object' && at !== null && !seen.has(at);
    at = (at as Error).cause ?? (at as { detail?: unknown }).detail
  ) {
    seen.add(at)
    const { code } = at as { code?: unknown }
    if (typeof code === 'string' && (NOT_SENT_CODES.has(code) || code.startsWith('ERR_SSL_'))) return true
    if (at instanceof AggregateError && at.errors.length > 0) return at.errors.every(notSent)
  }
  return false
}

export interface KeyScope {
  readonly orgId: string | undefined
  readonly caller: string
  readonly runId: string | undefined
  readonly callId: string
  /** Which commit of this effect within the call, from 0. */
  readonly ordinal: number
}

/** The journal key. Callers choose call ids, so these count only within one caller. Org is absent with hosted MachineID. */
export function effectKey<Input>(
  effect: Pick<EffectOptions<Input, unknown>, 'name' | 'key'>,
  input: Input,
  scope: KeyScope,
): string {
  const base = [scope.orgId ?? 'machineid', scope.caller, effect.name]
  if (effect.key === 'each-call') {
    return JSON.stringify([...base, 'call', scope.runId ?? '-', scope.callId, scope.ordinal])
  }
  const businessKey = atOnce(effect.key(input))
  if (typeof businessKey !== 'string' || businessKey === '') {
    throw new GuardMisconfiguredError(`Effect "${effect.name}": its key must be a string that is not empty.`)
  }
  return JSON.stringify([...base, 'business', businessKey])
}

/** What the sink gets: opaque, 43 characters, the same for the same journal key. */
export function idempotencyKeyOf(key: string): string {
  return `hp_${digestOfText(key).slice(0, 40)}`
}
