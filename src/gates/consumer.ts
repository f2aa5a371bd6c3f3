import { HoldpointError } from '../errors.ts'
import { ConsumerFlow } from './consumer-flow.ts'
import {
  assertConsumerOptions,
  type ConsumerEnd,
  type GuardedConsumer,
  type GuardedConsumerOptions,
} from './consumer-options.ts'
import { declaredEffects, type EffectsOrNone } from './effects.ts'
import { spotOf, type Place } from './place.ts'

/**
 * A consumer of a queue that can be stopped between its messages: asks before each `take`, and again right before
 * `handle`. What is denied is given back, so that while it waits nothing is in hand and no lease runs out. Nothing is
 * taken before `run()`. Throws `GUARD_MISCONFIGURED`.
 */
export function guardedConsumer<Message, Result, const Effects extends EffectsOrNone>(
  place: Place<Message>,
  options: GuardedConsumerOptions<Message, Result, Effects>,
): GuardedConsumer {
  assertConsumerOptions(options)
  const { name } = options
  const spot = spotOf<Message>(place)
  const effects = declaredEffects(spot.guard, options.effects, `guardedConsumer "${name}"`)
  const closing = new AbortController()
  const flow = new ConsumerFlow({ spot, effects, options }, closing.signal)
  let running: Promise<ConsumerEnd> | undefined

  async function run(): Promise<ConsumerEnd> {
    if (running !== undefined) throw new HoldpointError('GATE_RUNNING', `The consumer "${name}" ${RUNS}`)
    if (closing.signal.aborted) throw new HoldpointError('GATE_CLOSED', `The consumer "${name}" ${CLOSED}`)
    running = flow.run()
    try {
      return await running
    } finally {
      running = undefined
    }
  }

  async function close(): Promise<void> {
    closing.abort(new Error(`The consumer "${name}" is closing.`))
    await running
  }

  return {
    run,
    close,
    get paused() {
      return flow.paused
    },
  }
}

const RUNS = 'runs already. Await its first run(), or set concurrency for several messages at once.'
const CLOSED = 'was closed. Make another one with guardedConsumer.'
