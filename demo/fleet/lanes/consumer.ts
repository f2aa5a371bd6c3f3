import { guardedConsumer } from 'holdpoint/gates'
import { atWork, effectOf, entersAt, pause, placeOf, unitsOf, type Lane, type Unit } from './lane.ts'

/** Messages of a queue that keeps what was not acknowledged, and delivers it again. */
export const consumerLane: Lane = async (context) => {
  const { spec, book, sink, paceMs, leaving } = context
  entersAt(context)
  const next = unitsOf(context)
  const back = new Map<string, Unit>()
  /** Tenants by turns, so that one that is stopped does not hold up the others. */
  const deliver = (): Unit => {
    const message = next()
    const waiting = back.get(message.tenant)
    back.delete(message.tenant)
    return waiting ?? message
  }
  const consumer = guardedConsumer(placeOf<Unit>(context), {
    name: spec.name,
    effects: { effect: effectOf(context) },
    retryMs: paceMs,
    idleMs: paceMs,
    take: async ({ signal }) => {
      await pause(paceMs, signal)
      return signal.aborted ? undefined : deliver()
    },
    messageId: ({ id }: Unit) => id,
    handle: async (message, work) => {
      book.started('task')
      await atWork()
      for (let nth = 1; nth <= (spec.fanOut ?? 0); nth++) {
        const part = `${spec.name} part ${nth}`
        await work.enter(part, () => book.started('task', { within: true, part }))
      }
      const { replayed } = await work.effects.effect({ ...message, fails: false })
      if (replayed) sink.replayed()
      if (message.fails) throw new Error('The worker failed after its effect, before its acknowledgement.')
    },
    done: () => {},
    giveBack: (message) => void back.set(message.tenant, message),
    failed: (message) => {
      sink.retried()
      back.set(message.tenant, { ...message, fails: false })
    },
    unknown: () => sink.unknown(),
  })
  leaving.addEventListener('abort', () => void consumer.close(), { once: true })
  await consumer.run()
}
