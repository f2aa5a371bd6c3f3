import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { createGuard } from '../../src/guard/guard.ts'
import { createMemoryJournal } from '../../src/guard/memory-journal.ts'
import { createLogger } from '../../src/log.ts'
import { EMAIL, PAYMENTS, SERVER } from '../fixtures/guard.ts'
import { ManualClock, ScriptedAuthority, type ScriptedStopStream } from '../fixtures/scripted-authority.ts'

const SURFACES = { payments: [SERVER, PAYMENTS], email: [SERVER, EMAIL] } as const
type SurfaceName = keyof typeof SURFACES
const DEVICES = [SERVER, PAYMENTS, EMAIL]
/** How often it came to the point. */
const seen = { started: 0, pushed: 0, aborted: 0 }

/** One step of a history. Numbers pick among what there is at that moment. */
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('ask' as const),
      surface: fc.constantFrom<SurfaceName>('payments', 'email'),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('answer' as const), pick: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('start' as const), pick: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('end' as const), pick: fc.nat() }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('stop' as const), device: fc.constantFrom(...DEVICES) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('restore' as const), device: fc.constantFrom(...DEVICES) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('burn' as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('push' as const), pick: fc.nat(), again: fc.boolean() }),
  },
)
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

interface Stop {
  readonly epoch: number
  readonly deviceIds: readonly string[] | undefined
}

interface Question {
  readonly surface: SurfaceName
  /** The epoch of the snapshot that answers it. */
  epoch: number | undefined
  outcome: 'waiting' | 'verdict' | 'running' | 'ended' | 'denied'
  code: string | undefined
  signal: AbortSignal | undefined
  readonly answer: () => void
  readonly start: () => void
  readonly end: () => void
  /** What the stops that had been pushed at its start, by their devices, had come to. */
  floorAtStart: number
}

/** Plays the history on a real guard; with `pushes` false its stream stays silent. */
async function play(steps: readonly Step[], pushes: boolean) {
  const clock = new ManualClock()
  const authority = new ScriptedAuthority(clock)
  const log = createLogger({ level: 'silent' })
  const guard = createGuard({
    journal: createMemoryJournal(),
    authority,
    serverDeviceId: SERVER,
    surfaces: Object.keys(SURFACES),
    clock,
    log,
  })
  await guard.start()
  const stream = authority.stream as ScriptedStopStream
  const questions: Question[] = []
  const stops: Stop[] = []
  const pushed: Stop[] = []
  const pick = <T>(from: readonly T[], n: number): T | undefined => from[n % Math.max(from.length, 1)]
  const among = (outcome: Question['outcome']) => questions.filter((one) => one.outcome === outcome)

  const moves: { readonly [Do in Step['do']]: (one: Extract<Step, { readonly do: Do }>) => void } = {
    ask: ({ surface }) => void questions.push(question(guard, authority, surface, floor)),
    answer: (one) => pick(among('waiting'), one.pick)?.answer(),
    start: (one) => pick(among('verdict'), one.pick)?.start(),
    end: (one) => pick(among('running'), one.pick)?.end(),
    stop: ({ device }) => {
      authority.stop(device)
      stops.push({ epoch: authority.epoch, deviceIds: [device] })
    },
    restore: ({ device }) => authority.restore(device),
    burn: () => {
      // Another key of the org goes on: the answers do not change.
      authority.epoch += 1
      stops.push({ epoch: authority.epoch, deviceIds: undefined })
    },
    push: (one) => {
      const stop = pick(one.again ? pushed : stops, one.pick)
      if (stop === undefined || !pushes) return
      pushed.push(stop)
      stream.push(stop.epoch, stop.deviceIds)
      checkSignals()
    },
  }

  for (const one of steps) {
    const move = moves[one.do] as (one: Step) => void
    move(one)
    await settle()
  }
  for (const one of questions) {
    one.answer()
    await settle()
    if (one.outcome === 'verdict') one.start()
    one.end()
    await settle()
  }
  return { questions, stream, pushed }

  function floor(surface: SurfaceName): number {
    const about = pushed.filter(
      ({ deviceIds }) => deviceIds?.some((id) => SURFACES[surface].includes(id as never)) ?? true,
    )
    return Math.max(0, ...about.map(({ epoch }) => epoch))
  }

  /** In the very tick of the push: aborted exactly when its allow is older than a stop of one of its devices. */
  function checkSignals(): void {
    for (const { surface, epoch = 0, signal } of among('running')) {
      expect(signal?.aborted).toBe(epoch < floor(surface))
      if (signal?.aborted === true) seen.aborted += 1
    }
  }
}

function question(
  guard: ReturnType<typeof createGuard>,
  authority: ScriptedAuthority,
  surface: SurfaceName,
  floor: (surface: SurfaceName) => number,
): Question {
  const delivered = Promise.withResolvers<void>()
  const ended = Promise.withResolvers<void>()
  const one: Question = {
    surface,
    epoch: undefined,
    outcome: 'waiting',
    code: undefined,
    signal: undefined,
    floorAtStart: 0,
    answer: delivered.resolve,
    start: () => {},
    end: ended.resolve,
  }
  // The snapshot is taken now, the answer arrives when the history says so.
  const snapshot = authority.ask({
    deviceIds: SURFACES[surface],
    boundary: 'tool',
    timeoutMs: 2000,
  })
  one.epoch = authority.epoch
  authority.next(async () => {
    await delivered.promise
    return snapshot
  })
  const at = { surface: guard.surface(surface), boundary: 'tool' } as const
  void guard.check(at).then((checked) => {
    if (!checked.allowed) {
      one.outcome = 'denied'
      one.code = checked.decision.code
      return
    }
    one.outcome = 'verdict'
    Object.assign(one, {
      start: () => {
        const { deviceIds, epoch } = checked.decision
        const under = { deviceIds, epoch, tool: undefined, callId: undefined, runId: undefined }
        const started = checked.permit.start(() =>
          guard.track(
            undefined,
            async ({ signal }) => {
              one.signal = signal
              one.floorAtStart = floor(surface)
              await ended.promise
            },
            under,
          ),
        )
        one.outcome = started.started ? 'running' : 'denied'
        if (started.started) void started.value.then(() => (one.outcome = 'ended'))
        else one.code = started.denied.code
      },
    })
  })
  return one
}

async function settle(): Promise<void> {
  for (let n = 0; n < 12; n += 1) await Promise.resolve()
}

const histories = fc.array(step, { minLength: 15, maxLength: 80 })

describe('any interleaving of answers, stops (late, twice, out of order, after a restore) and ends', () => {
  test('G1, G6: a stop aborts in its tick exactly the bodies whose allow is older, and nothing older starts', async () => {
    Object.assign(seen, { started: 0, pushed: 0, aborted: 0 })
    await fc.assert(
      fc.asyncProperty(histories, async (steps) => {
        const { questions } = await play(steps, true)
        for (const { epoch = 0, outcome, code, floorAtStart } of questions) {
          expect(['ended', 'denied']).toContain(outcome)
          if (outcome === 'ended') expect(epoch).toBeGreaterThanOrEqual(floorAtStart)
          if (outcome === 'ended') seen.started += 1
          if (code === 'STOP_PUSHED') seen.pushed += 1
        }
      }),
      { numRuns: 1500 },
    )
    // Or nothing was shown.
    for (const count of Object.values(seen)) expect(count).toBeGreaterThan(100)
  })

  test('never grants: what is denied without the stream is denied with it, by the same code or by STOP_PUSHED', async () => {
    await fc.assert(
      fc.asyncProperty(histories, async (steps) => {
        const [withStream, without] = [await play(steps, true), await play(steps, false)]
        without.questions.forEach(({ outcome, code }, at) => {
          const pushed = withStream.questions[at]
          if (outcome === 'denied') expect([pushed?.outcome, pushed?.code]).toEqual(['denied', code])
          else if (pushed?.outcome === 'denied') expect(pushed.code).toBe('STOP_PUSHED')
        })
      }),
      { numRuns: 500 },
    )
  })

  test('every stop that came is received and settled, once each, with each call that it found', async () => {
    await fc.assert(
      fc.asyncProperty(histories, async (steps) => {
        const { stream, pushed } = await play(steps, true)
        const epochs = [...new Set(pushed.map(({ epoch }) => epoch))]
        for (const epoch of epochs) {
          const acks = stream.acks.filter((ack) => ack.epoch === epoch)
          expect(acks.map(({ phase }) => phase)).toEqual(['received', 'settled'])
          expect(acks[1]).toMatchObject({ running: 0 })
          expect(acks[1]?.calls.length).toBe(acks[0]?.running)
        }
        expect(stream.acks.length).toBe(epochs.length * 2)
      }),
      { numRuns: 500 },
    )
  })
})
