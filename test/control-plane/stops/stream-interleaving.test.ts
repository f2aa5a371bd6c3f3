import fc from 'fast-check'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, test } from 'vitest'

import { startTestLanes } from '../../fixtures/control-plane.ts'
import type { EventStreamClient } from '../../fixtures/event-stream.ts'
import { bodiesOf, current, EMAIL, listenForStops, PAYMENTS, SERVER } from './stream-client.ts'
import { startStreams, type StartedStreams } from './stream-harness.ts'

const A = 'test:one:a:01'
const B = 'test:one:b:01'

const stop = fc.constantFrom(
  { deviceId: A },
  { deviceId: B },
  { deviceId: 'test:one:c:01' },
  { pattern: 'test:*:a:*' },
  { pattern: 'other:*' },
  { keyId: 'another key' },
  {},
)
const change = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('commit' as const), stop }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('deliver' as const), count: fc.integer({ min: 1, max: 3 }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('raise' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('turns' as const), count: fc.integer({ min: 1, max: 6 }) }),
  },
)
const step = fc.oneof(
  { weight: 5, arbitrary: change },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('connect' as const),
      back: fc.option(fc.integer({ min: 0, max: 12 }), { nil: undefined }),
      /** Once the epoch of the org is read, and before the stops are. */
      meanwhile: fc.array(change, { maxLength: 4 }),
      waits: fc.boolean(),
    }),
  },
)
type Of<A> = A extends fc.Arbitrary<infer T> ? T : never
type Change = Of<typeof change>

async function apply(world: StartedStreams, one: Change): Promise<void> {
  if (one.kind === 'commit') world.commit(one.stop)
  else if (one.kind === 'deliver') world.deliver(one.count)
  else if (one.kind === 'raise') world.raise()
  else for (let turn = 0; turn < one.count; turn++) await nextTurn()
}

interface Opened {
  readonly after: number | undefined
  readonly stream: Promise<EventStreamClient>
}

async function play(world: StartedStreams, steps: readonly Of<typeof step>[]) {
  const opened: Opened[] = []
  for (const one of steps) {
    if (one.kind !== 'connect') {
      await apply(world, one)
      continue
    }
    world.betweenReads(async () => {
      for (const change of one.meanwhile) await apply(world, change)
    })
    const after = one.back === undefined ? undefined : Math.max(0, world.epoch() - one.back)
    const stream = world.open({
      replica: `r/${opened.length}`,
      devices: [A, B].join(','),
      ...(after !== undefined && { after: String(after) }),
    })
    opened.push({ after, stream })
    if (one.waits) await stream
  }
  await Promise.all(opened.map(({ stream }) => stream))
  const last = world.commit()
  world.deliver()
  return { opened, last }
}

test('however connecting, reading and committing interleave, each stop after the given epoch is told once, in order', async () => {
  const readTurns = fc.integer({ min: 0, max: 8 })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), readTurns, async (steps, turns) => {
      await using world = await startStreams({}, turns)
      const { opened, last } = await play(world, steps)
      for (const { after, stream } of opened) {
        using client = await stream
        await client.next(1, ({ data }) => data.type === 'stop' && data.epoch === last)
        const bodies = bodiesOf(client)
        const orgEpoch = Number(client.headers['x-org-epoch'])
        const wanted = world.committed
          .filter(({ epoch, keyId, deviceId, pattern }) => {
            if (epoch <= Math.min(after ?? orgEpoch, orgEpoch) || keyId !== null) return false
            return deviceId === null ? pattern !== 'other:*' : [A, B].includes(deviceId)
          })
          .map(({ epoch }) => epoch)
        expect(bodies.flatMap((body) => (body.type === 'stop' ? [body.epoch] : []))).toEqual(wanted)

        // What comes before `current` is at most of its epoch, what comes after it is younger.
        const at = bodies.findIndex(({ type }) => type === 'current')
        const reached = bodies[at]?.type === 'current' ? bodies[at].epoch : -1
        expect(reached).toBeGreaterThanOrEqual(orgEpoch)
        for (const [index, body] of bodies.entries()) {
          if (body.type === 'stop') expect(body.epoch <= reached).toBe(index < at)
        }
      }
    }),
    { numRuns: 200, interruptAfterTimeLimit: 40_000, markInterruptAsFailure: true },
  )
}, 60_000)

test('thousands of missed stops are told a part at a time, while more are committed and told', async () => {
  await using world = await startStreams()
  for (let count = 0; count < 3000; count++) world.commit({ deviceId: A })
  world.deliver()
  using client = await world.open({ replica: 'r/1', devices: A, after: '10' })
  let last = 0
  for (let round = 0; round < 40; round++) {
    for (let count = 0; count < 10; count++) last = world.commit({ deviceId: A })
    world.deliver()
    await nextTurn()
  }
  await client.next(1, ({ data }) => data.type === 'stop' && data.epoch === last)
  const epochs = bodiesOf(client).flatMap((body) => (body.type === 'stop' ? [body.epoch] : []))
  expect(epochs).toEqual(Array.from({ length: last - 10 }, (_unused, index) => index + 11))
})

test('with real workers and a real store nothing is missed or told twice while replicas come and go', async () => {
  await using authority = await startTestLanes({ workers: 2 })
  for (const deviceId of [SERVER, PAYMENTS, EMAIL]) await authority.register(deviceId)
  const acked: number[] = []
  let done = false
  const stopping = (async () => {
    for (let round = 0; round < 60; round++) {
      acked.push(await authority.revoke(round % 3 === 0 ? EMAIL : PAYMENTS))
      if (round % 5 === 0) await authority.restore(PAYMENTS)
    }
    done = true
  })()
  const wanted = (after: number) => acked.filter((epoch, index) => epoch > after && index % 3 !== 0)
  // Each replica goes on where its last stream ended.
  const follow = async (replica: string) => {
    const told: number[] = []
    let after = 0
    do {
      using stream = await current(await listenForStops(authority, { replica, devices: [PAYMENTS], after }))
      await new Promise((resolve) => setTimeout(resolve, 15 + Math.random() * 60))
      stream[Symbol.dispose]()
      await stream.closed
      for (const body of bodiesOf(stream)) {
        if (body.type === 'stop') told.push(body.epoch)
        if (body.type === 'stop' || body.type === 'current') after = Math.max(after, body.epoch)
      }
    } while (!done)
    using rest = await current(await listenForStops(authority, { replica, devices: [PAYMENTS], after }))
    return told.concat(bodiesOf(rest).flatMap((body) => (body.type === 'stop' ? [body.epoch] : [])))
  }
  const followed = await Promise.all(['r/1', 'r/2', 'r/3', 'r/4'].map(follow))
  await stopping
  for (const told of followed) expect(told).toEqual(wanted(0))
}, 60_000)
