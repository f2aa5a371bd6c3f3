import { GuardMisconfiguredError, messageOf } from '../errors.ts'
import type { Refusal } from '../guard/refusal.ts'
import type { GuardedConsumerOptions } from './consumer-options.ts'
import type { DeclaredIn, EffectsOrNone } from './effects.ts'
import type { Spot } from '../guard/spot.ts'
import { runUnit, type UnitWork } from './unit.ts'

/** What the consumer makes of it. */
export type Handled =
  | { readonly next: 'go_on' }
  /** The broker failed, or another process has the message: not again at once. */
  | { readonly next: 'rest' }
  | { readonly next: 'denied'; readonly refusal: Refusal }

export interface MessageHandling<Message, Result, Effects extends EffectsOrNone> {
  readonly spot: Spot<Message>
  readonly effects: DeclaredIn<Effects>
  readonly options: GuardedConsumerOptions<Message, Result, Effects>
}

/** One message, to exactly one of `done`, `giveBack`, `failed` and `unknown`. Never rejects. */
export async function handleMessage<Message, Result, Effects extends EffectsOrNone>(
  handling: MessageHandling<Message, Result, Effects>,
  message: Message,
): Promise<Handled> {
  const { spot, effects, options } = handling
  const { name, handle, done, giveBack, failed, unknown } = options
  const id = idOf(options, message)
  if (typeof id !== 'string') return settle(handling, 'failed', undefined, () => failed(message, id.thrown))
  const body = (work: UnitWork<DeclaredIn<Effects>>) => handle(message, work)
  const outcome = await runUnit({ spot, name, unit: message, unitId: id, effects, body })
  switch (outcome.state) {
    case 'done':
      return settle(handling, 'done', id, () => done(message, outcome.value))
    case 'failed':
      return settle(handling, 'failed', id, () => failed(message, outcome.thrown))
    case 'interrupted':
      return settle(handling, 'giveBack', id, () => giveBack(message, outcome))
    case 'denied':
      await settle(handling, 'giveBack', id, () => giveBack(message, outcome))
      return { next: 'denied', refusal: outcome.refusal }
    case 'unknown': {
      if (outcome.refusal.error !== 'in_progress')
        return settle(handling, 'unknown', id, () => unknown(message, outcome))
      await settle(handling, 'giveBack', id, () => giveBack(message, { ...outcome, state: 'in_progress' }))
      return { next: 'rest' }
    }
  }
}

/** A message that came although the consumer was ending by then. */
export function giveBackUnhandled<Message, Result, Effects extends EffectsOrNone>(
  handling: MessageHandling<Message, Result, Effects>,
  message: Message,
): Promise<Handled> {
  const act = () => handling.options.giveBack(message, { state: 'closing' })
  return settle(handling, 'giveBack', undefined, act)
}

/** Without an id the effects of a message that is delivered again could not be known for what they are. */
function idOf<Message>(
  { name, messageId }: Pick<GuardedConsumerOptions<Message, never, never>, 'name' | 'messageId'>,
  message: Message,
): string | { readonly thrown: unknown } {
  try {
    const id: unknown = messageId(message)
    if (typeof id === 'string' && id !== '') return id
    throw new GuardMisconfiguredError(
      `guardedConsumer "${name}": messageId must give a string that is not empty.`,
    )
  } catch (thrown) {
    return { thrown }
  }
}

async function settle<Message, Result, Effects extends EffectsOrNone>(
  { spot, options: { name } }: MessageHandling<Message, Result, Effects>,
  settling: 'done' | 'giveBack' | 'failed' | 'unknown',
  messageId: string | undefined,
  act: () => unknown,
): Promise<Handled> {
  try {
    await act()
    return { next: 'go_on' }
  } catch (cause) {
    spot.guard.log.error(
      { gate: name, message_id: messageId, settling, err: messageOf(cause) },
      'the broker was not told how a message ended, and will deliver it again; what is done is not repeated',
    )
    return { next: 'rest' }
  }
}
