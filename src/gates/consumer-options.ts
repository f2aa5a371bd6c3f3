import { GuardMisconfiguredError } from '../errors.ts'
import type { Refusal } from '../guard/refusal.ts'
import { RETRY_MS, type OnGateDenied } from './denial.ts'
import type { DeclaredIn, EffectsOrNone } from './effects.ts'
import { assertCount, assertName, assertPolicy, assertRetryMs } from './options.ts'
import type { UnfinishedOutcome, UnitWork } from './unit.ts'

/** Why a message is put back. What was done for it already is replayed when it comes again, not repeated. */
export type GivenBack =
  | Extract<UnfinishedOutcome, { state: 'denied' | 'interrupted' }>
  /** Another process is carrying out an effect of this message: it was delivered twice, or that process was killed. */
  | (Omit<UnknownOutcome, 'state'> & { readonly state: 'in_progress' })
  /** It arrived when the consumer was closing, or had been denied and ends. Nothing was asked. */
  | { readonly state: 'closing' }

/** A message with an effect of which nobody knows whether it happened. */
export type UnknownOutcome = Extract<UnfinishedOutcome, { state: 'unknown' }>

/**
 * Each message that `take` gave reaches exactly one of `done`, `giveBack`, `failed` and `unknown`. One that throws is
 * logged, and the message is left to the broker, which delivers it again when its lease is over.
 */
export interface GuardedConsumerOptions<Message, Result, Effects extends EffectsOrNone> {
  /** Names the work in logs, and is part of the key of `'each-call'` effects: keep it. */
  readonly name: string
  /** What `handle` may do to the world. No default. */
  readonly effects: Effects
  /**
   * Takes one message from the broker, under a lease that outlasts two questions and `handle`, or gives undefined when
   * there is none. Called only after an allow. `signal` is aborted when a stop arrives and when the consumer ends.
   */
  readonly take: (taking: { readonly signal: AbortSignal }) => Taken<Message> | Promise<Taken<Message>>
  /** The broker's id of the message: the same each time it is delivered. */
  readonly messageId: (message: Message) => string
  /** Called only after an allow that was asked for once the message was there. */
  readonly handle: (message: Message, work: UnitWork<DeclaredIn<Effects>>) => Result | Promise<Result>
  /** Acknowledges it. Called only once `handle` has ended well. */
  readonly done: (message: Message, result: Result) => unknown
  /**
   * Puts it back, unharmed and uncounted: a denial is no failed attempt. Where messages have surfaces of their own, behind
   * the others: at the head, one that is stopped would hold them up.
   */
  readonly giveBack: (message: Message, why: GivenBack) => unknown
  /** `handle` threw `error`: the broker's own retry, or its dead letters. */
  readonly failed: (message: Message, error: unknown) => unknown
  /**
   * Whether an effect happened is not known: put it aside for a person. A repeat comes upon the same again. A message that
   * was denied first goes to `giveBack` all the same, so that a stop parks nothing; its next delivery comes here.
   */
  readonly unknown: (message: Message, outcome: UnknownOutcome) => unknown
  /** Default `wait`. */
  readonly onDenied?: OnGateDenied | undefined
  /** How long until it is asked again after a denial, or after the broker failed, in milliseconds. Default 5,000. */
  readonly retryMs?: number | undefined
  /** How long until it is asked again when there was no message, in milliseconds. Default 1,000. */
  readonly idleMs?: number | undefined
  /** Messages handled at once. Default 1. */
  readonly concurrency?: number | undefined
}

type Taken<Message> = Message | undefined | null

/** How a consumer ended. */
export type ConsumerEnd =
  /** By `close`, or because its guard shuts down. */
  | { readonly ended: 'closed' }
  /** With `onDenied: 'stop'`. A second `run()` goes on. */
  | { readonly ended: 'denied'; readonly refusal: Refusal }

/** A consumer that asks before it takes a message, and before it handles it. */
export interface GuardedConsumer {
  /**
   * Takes and handles messages until it is closed or denied. With `exit` it does not settle after a denial, so that
   * nothing behind it runs. Rejects only with `GATE_RUNNING` or `GATE_CLOSED`, when it cannot begin.
   */
  run(): Promise<ConsumerEnd>
  /** Takes no more, lets the messages in hand end as they would, and resolves then. Again: changes nothing. */
  close(): Promise<void>
  /** True while it is denied and waits to ask again. For health checks. */
  readonly paused: boolean
}

/** How long after a `take` that found nothing it is asked again, in milliseconds. */
export const IDLE_MS = 1000

const FUNCTIONS = ['take', 'messageId', 'handle', 'done', 'giveBack', 'failed', 'unknown'] as const

/** Throws `GUARD_MISCONFIGURED` for what the types refuse. */
export function assertConsumerOptions<Message, Result, Effects extends EffectsOrNone>(
  options: GuardedConsumerOptions<Message, Result, Effects>,
): void {
  const { name, onDenied = 'wait', retryMs = RETRY_MS, idleMs = IDLE_MS, concurrency = 1 } = options
  assertName(name, 'guardedConsumer')
  const whose = `guardedConsumer "${name}"`
  for (const each of FUNCTIONS)
    if (typeof options[each] !== 'function')
      throw new GuardMisconfiguredError(`${whose}: ${each} must be a function.`)
  assertPolicy(onDenied, ['exit', 'stop', 'wait'], whose)
  assertRetryMs(retryMs, whose)
  assertRetryMs(idleMs, whose, 'idleMs')
  assertCount(concurrency, 'concurrency', whose)
}
