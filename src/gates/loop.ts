import { HoldpointError, messageOf } from '../errors.ts'
import { denialLine, exitDenied, RETRY_MS, waitToAskAgain } from './denial.ts'
import { declaredEffects, type EffectsOrNone } from './effects.ts'
import { assertLoopOptions, type GuardedLoop, type GuardedLoopOptions, type LoopEnd } from './loop-options.ts'
import { Round } from './loop-round.ts'
import { LoopSource } from './loop-source.ts'
import type { Refusal } from '../guard/refusal.ts'
import { spotOf, type Place } from './place.ts'

/**
 * A loop that can be stopped between its units: each starts only on a fresh allow, asked at `task`. Nothing is taken from
 * `units` before `run()`. Throws `GUARD_MISCONFIGURED`.
 */
export function guardedLoop<Unit, const Effects extends EffectsOrNone>(
  place: Place<NoInfer<Unit>>,
  loop: GuardedLoopOptions<Unit, Effects>,
): GuardedLoop<Unit> {
  const { name, units, giveBack, onDenied = 'exit', retryMs = RETRY_MS } = loop
  assertLoopOptions(loop, retryMs)
  const spot = spotOf<Unit>(place)
  const { guard } = spot
  const effects = declaredEffects(guard, loop.effects, `guardedLoop "${name}"`)
  const closing = new AbortController()
  const signal = AbortSignal.any([closing.signal, guard.closingSignal])
  const source = new LoopSource({ name, units, giveBack, signal, log: guard.log })
  const round = { spot, isFixed: !('choose' in place), source, effects, loop, signal }
  let running: Promise<LoopEnd<Unit>> | undefined
  let hasEnded = false

  async function work(exit: (refusal: Refusal) => void): Promise<LoopEnd<Unit>> {
    let done = 0
    for (;;) {
      const current = new Round(round)
      await current.run()
      done += current.done
      const { failure, refusal } = current
      if (refusal !== undefined && onDenied === 'exit' && !signal.aborted) {
        // Nothing behind the loop may run, whatever went wrong beside the denial.
        if (failure !== undefined)
          guard.log.error({ gate: name, err: messageOf(failure.thrown) }, 'the loop failed')
        exit(refusal)
        return { ended: 'denied', refusal, done, kept: await end() }
      }
      if (failure !== undefined) {
        await end()
        throw failure.thrown
      }
      // A question that the close itself cut off is no denial.
      if (signal.aborted) return { ended: 'closed', done, kept: await end() }
      if (refusal === undefined) return { ended: 'finished', done, kept: await end() }
      if (onDenied === 'stop') return { ended: 'denied', refusal, done, kept: source.kept }
      await untilAllowed(refusal)
    }
  }

  /** Or until it is closed. */
  async function untilAllowed(refusal: Refusal): Promise<void> {
    guard.log.warn({ gate: name, ...denialLine(refusal), retry_ms: retryMs }, 'denied, waiting')
    while ((await waitToAskAgain(retryMs, signal)) && !(await isAllowed()));
    if (!signal.aborted) guard.log.info({ gate: name }, 'allowed again, going on')
  }

  /** For itself alone, where the next unit stands: whatever starts then is asked for again. */
  async function isAllowed(): Promise<boolean> {
    const surface = spot.surfaceOf(source.kept[0] as Unit) ?? spot.unchosen
    const { allowed } = await guard.check({ surface, boundary: 'task', tool: name, signal })
    return allowed
  }

  async function end(): Promise<LoopEnd<Unit>['kept']> {
    hasEnded = true
    await source.release()
    return source.kept
  }

  async function run(): Promise<LoopEnd<Unit>> {
    if (running !== undefined) throw new HoldpointError('GATE_RUNNING', `The loop "${name}" ${RUNS}`)
    if (hasEnded) throw new HoldpointError('GATE_CLOSED', `The loop "${name}" ${ENDED}`)
    running = workOrExit()
    try {
      return await running
    } finally {
      running = undefined
    }
  }

  /** In flight until it has given back what it held: whoever closes the guard waits for that too, as long as for units. */
  async function workOrExit(): Promise<LoopEnd<Unit>> {
    const exits: Promise<never>[] = []
    const end = await guard.track(undefined, () =>
      work((refusal) => void exits.push(exitDenied(guard, name, refusal))),
    )
    return exits[0] ?? end
  }

  async function close(): Promise<void> {
    closing.abort(new Error(`The loop "${name}" is closing.`))
    // What `run()` rejects with is for whoever called that.
    await running?.catch(() => undefined)
    await end()
  }

  return { run, close }
}

const RUNS =
  'runs already: a second run() at once would mix its units. Await the first, or set concurrency for several at once.'
const ENDED =
  'has come to its end: it was closed, failed, or its units are done. Make another one with guardedLoop.'
