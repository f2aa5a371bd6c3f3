// Real parts over real HTTP: a control plane with its agent lane in a thread, the real client and guard, and between
// them a proxy that does with pushed stops what a bad network may do. DESIGN 8: they can only deny.
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'

import { createGuard, type Guard } from '../../src/guard/guard.ts'
import { createMemoryJournal } from '../../src/guard/memory-journal.ts'
import { createLogger } from '../../src/log.ts'
import { MachineID } from '../../src/machineid/client.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import type { ReplicaBody, StopBody, StopEventBody } from '../../src/machineid/wire-stops.ts'
import { startStopsProxy, type PassingEvent, type StopsProxy } from '../faults/stops-proxy.ts'
import { PAYMENTS, SERVER, startFleet } from '../faults/stops-world.ts'
import { startTestControlPlane, startTestLanes, type TestControlPlane } from '../fixtures/control-plane.ts'
import { randomFrom, seedFrom } from '../fixtures/random.ts'

let authority: TestControlPlane
let proxy: StopsProxy
beforeEach(async () => {
  authority = await startTestLanes()
  proxy = await startStopsProxy(authority.url)
})
afterEach(async () => {
  await proxy[Symbol.asyncDispose]()
  await authority.close()
})

const REPLICA = `${SERVER}/e2e`
const EMAIL = SERVER.replace('tool-server', 'email')

/** Its stream, and everything else, goes through the proxy. */
async function startReplica(orgKey = authority.keys.runtime): Promise<Guard> {
  const client = new MachineID({ orgKey, baseUrl: proxy.url, replica: REPLICA })
  const guard = createGuard({
    authority: client,
    serverDeviceId: SERVER,
    surfaces: ['payments', 'email'],
    journal: createMemoryJournal(),
    log: createLogger({ level: 'silent' }),
    onClose: () => client.close(),
  })
  onTestFinished(async () => void (await guard.close({ graceMs: 0 })))
  expect(await guard.start()).toMatchObject({ code: 'ALLOW' })
  await eventually(() => expect(guard.stopStream).toMatchObject({ up: true }))
  return guard
}

interface Reading {
  readonly signal: AbortSignal
  readonly finish: () => void
}

/** A body that runs until it is told to finish, whether it is aborted or not. Undefined where it was denied. */
async function read(guard: Guard, surface = 'payments'): Promise<Reading | undefined> {
  const begun = Promise.withResolvers<Reading | undefined>()
  const end = Promise.withResolvers<void>()
  const ran = guard.run({ surface: guard.surface(surface), boundary: 'tool', tool: 'read' }, ({ signal }) => {
    begun.resolve({ signal, finish: end.resolve })
    return end.promise
  })
  void ran.then(({ allowed }) => void (allowed || begun.resolve(undefined)))
  onTestFinished(() => end.resolve())
  return begun.promise
}

async function reading(guard: Guard, surface?: string): Promise<Reading> {
  const begun = await read(guard, surface)
  if (begun === undefined) throw new Error('it was denied')
  return begun
}

const eventually = <T>(look: () => T | Promise<T>, timeout = 8000) =>
  vi.waitFor(look, { timeout, interval: 10 })
/** Long enough for whatever is on its way in this process. */
const settle = () => new Promise((resolve) => setTimeout(resolve, 60))

async function stopOf(epoch: number): Promise<StopBody> {
  const { body } = await authority.get(`${PATHS.stopHistory}?epoch=${epoch}`, authority.keys.viewer)
  return body.stops[0]
}

const isStop = ({ body }: PassingEvent): boolean => body.type === 'stop'

/** From now on no stop gets through: the list of those that wait. */
function holdStops(): PassingEvent[] {
  const held: PassingEvent[] = []
  proxy.onEvent = (event) => void (isStop(event) ? held.push(event) : event.send())
  return held
}

describe('a stop that arrives', () => {
  test('late, after a restore, aborts what it was meant for and nothing that was allowed since', async () => {
    const guard = await startReplica()
    const held = holdStops()
    const before = await reading(guard)
    await authority.revoke(PAYMENTS)
    // G1 does not depend on push.
    expect(await read(guard)).toBeUndefined()
    expect(before.signal.aborted).toBe(false)
    await authority.restore(PAYMENTS)
    const after = await reading(guard)
    await eventually(() => expect(held).toHaveLength(1))
    held[0]?.send()
    await eventually(() => expect(before.signal.aborted).toBe(true))
    await settle()
    expect(after.signal.aborted).toBe(false)
    expect(await read(guard)).toBeDefined()
  })

  test('twice is one stop: nothing is counted twice, and nothing else is aborted', async () => {
    const guard = await startReplica()
    const events: StopEventBody[] = []
    proxy.onEvent = (event) => {
      events.push(event.body)
      event.send()
      event.send()
    }
    const before = await reading(guard)
    const epoch = await authority.revoke(PAYMENTS)
    await eventually(() => expect(before.signal.aborted).toBe(true))
    before.finish()
    await eventually(async () =>
      expect(await stopOf(epoch)).toMatchObject({
        state: 'confirmed',
        replicas: [{ replica: REPLICA, aborted: 0, finished: 1, unknown: 0, running: 0 }],
      }),
    )
    expect(events.filter(({ type }) => type === 'stop')).toHaveLength(1)
    expect(proxy.acks.map(({ phase, running }) => [phase, running])).toEqual([
      ['received', 1],
      ['settled', 0],
    ])
  })

  test('out of order lowers nothing: the newer one counts, and the older one finds only what is older', async () => {
    const guard = await startReplica()
    const held = holdStops()
    const first = await reading(guard)
    await authority.revoke(PAYMENTS)
    await authority.restore(PAYMENTS)
    const second = await reading(guard)
    const newer = await authority.revoke(PAYMENTS)
    await authority.restore(PAYMENTS)
    const third = await reading(guard)
    await eventually(() => expect(held).toHaveLength(2))

    held[1]?.send()
    await eventually(() => expect([first, second].map(({ signal }) => signal.aborted)).toEqual([true, true]))
    held[0]?.send()
    held[1]?.send()
    await settle()
    expect(third.signal.aborted).toBe(false)
    expect(await read(guard)).toBeDefined()
    for (const one of [first, second]) one.finish()
    await eventually(async () => expect(await stopOf(newer)).toMatchObject({ state: 'confirmed' }))
  })

  test('never grants: what is stopped stays denied, whatever comes over the stream again', async () => {
    const guard = await startReplica()
    const seen: PassingEvent[] = []
    proxy.onEvent = (event) => {
      seen.push(event)
      event.send()
    }
    await authority.revoke(PAYMENTS)
    await authority.restore(PAYMENTS)
    proxy.cutStreams()
    await eventually(() => expect(seen.some(({ body }) => body.type === 'current')).toBe(true))
    await eventually(() => expect(guard.stopStream).toMatchObject({ up: true }))
    await authority.revoke(PAYMENTS)
    for (const { send } of [...seen, ...seen.toReversed()]) send()
    await settle()
    expect(await read(guard)).toBeUndefined()
    await authority.restore(PAYMENTS)
    for (const { send } of seen) send()
    await settle()
    expect(await read(guard)).toBeDefined()
  })

  test('however late, doubled and shuffled: aborted is exactly what is older than a stop of its device (G1)', async () => {
    const seed = seedFrom('STOPS_SEED')
    const { chance, pick, shuffled } = randomFrom(seed)
    const guard = await startReplica()
    const held: PassingEvent[] = []
    proxy.onEvent = (event) => void (isStop(event) ? held.push(event) : event.send())
    const deviceOf = { payments: PAYMENTS, email: EMAIL } as const
    const stopped = { payments: false, email: false }
    const newest = { payments: -1, email: -1 }
    const begun: {
      readonly signal: AbortSignal
      readonly surface: 'payments' | 'email'
      readonly epoch: number
    }[] = []
    let epoch = 0
    let stops = 0
    for (let step = 0; step < 60; step++) {
      const surface = pick(['payments', 'email'] as const)
      if (chance(0.6)) {
        const one = await read(guard, surface)
        expect(one !== undefined, `STOPS_SEED=${seed}, step ${step}`).toBe(!stopped[surface])
        if (one !== undefined) begun.push({ signal: one.signal, surface, epoch })
      } else if (stopped[surface]) {
        epoch = await authority.restore(deviceOf[surface])
        stopped[surface] = false
      } else {
        epoch = await authority.revoke(deviceOf[surface])
        newest[surface] = epoch
        stopped[surface] = true
        stops += 1
      }
      // Any of those that wait, or that were sent before.
      if (held.length > 0 && chance(0.4)) pick(held).send()
    }
    // What is allowed now is older than no stop.
    for (const surface of ['payments', 'email'] as const) {
      if (stopped[surface]) epoch = await authority.restore(deviceOf[surface])
      begun.push({ signal: (await reading(guard, surface)).signal, surface, epoch })
    }
    await eventually(() => expect(held).toHaveLength(stops))
    for (const { send } of shuffled([...held, ...held])) send()
    const expected = begun.map((one) => one.epoch < newest[one.surface])
    await eventually(() => expect(begun.map(({ signal }) => signal.aborted)).toEqual(expected))
    await settle()
    expect(begun.map(({ signal }) => signal.aborted)).toEqual(expected)
    expect(expected.slice(-2)).toEqual([false, false])
  }, 60_000)
})

describe('confirmed', () => {
  test('is a stop only when what it found has ended, not when it was told', async () => {
    const guard = await startReplica()
    const before = await reading(guard)
    const epoch = await authority.revoke(PAYMENTS)
    await eventually(async () =>
      expect(await stopOf(epoch)).toMatchObject({
        state: 'unconfirmed',
        replicas: [{ state: 'acknowledged', running: 1, settledAt: null }],
      }),
    )
    expect(before.signal.aborted).toBe(true)
    await settle()
    expect(await stopOf(epoch)).toMatchObject({ state: 'unconfirmed' })
    before.finish()
    await eventually(async () => expect(await stopOf(epoch)).toMatchObject({ state: 'confirmed' }))
  })

  test('is none whose word got lost, until it comes', async () => {
    const guard = await startReplica()
    proxy.losesAcks = true
    const before = await reading(guard)
    const epoch = await authority.revoke(PAYMENTS)
    await eventually(() => expect(before.signal.aborted).toBe(true))
    before.finish()
    await eventually(() => expect(guard.inFlight).toBe(0))
    await eventually(async () =>
      expect(await stopOf(epoch)).toMatchObject({ state: 'unconfirmed', replicas: [{ state: 'told' }] }),
    )
    proxy.losesAcks = false
    await eventually(
      async () =>
        expect(await stopOf(epoch)).toMatchObject({ state: 'confirmed', replicas: [{ finished: 1 }] }),
      15_000,
    )
  }, 30_000)
})

test('a key that is burned is cut, also late: everything that it was allowed is aborted, and nothing starts', async () => {
  const issued = await authority.service.issueKey({ orgId: authority.orgId, kind: 'runtime' })
  const guard = await startReplica(issued.key)
  const held: PassingEvent[] = []
  proxy.keepsStreams = true
  proxy.onEvent = (event) => void (event.body.type === 'key_cut' ? held.push(event) : event.send())
  const bodies = [await reading(guard), await reading(guard, 'email')]
  const burn = PATHS.keyBurn.replace(':id', issued.keyId)
  const { status } = await authority.post(burn, { reason: 'test' }, authority.keys.admin)
  expect(status).toBe(200)
  expect(await read(guard)).toBeUndefined()
  await eventually(() => expect(held).toHaveLength(1))
  expect(bodies.map(({ signal }) => signal.aborted)).toEqual([false, false])
  held[0]?.send()
  await eventually(() => expect(bodies.map(({ signal }) => signal.aborted)).toEqual([true, true]))
  await eventually(() =>
    expect(guard.stopStream).toMatchObject({ up: false, code: 'AUTHORITY_UNAUTHORIZED' }),
  )
})

test('a process that stands still is silent, and its stop unconfirmed, until it goes on and has aborted its work', async () => {
  let aheadMs = 0
  await using slow = await startTestControlPlane({
    clock: { now: () => ({ monotonicMs: performance.now() + aheadMs, wallMs: Date.now() + aheadMs }) },
  })
  await using fleet = await startFleet(slow, { name: 'still', count: 1 })
  const replicaOf = async (): Promise<ReplicaBody> => {
    const { body } = await slow.get(PATHS.replicas, slow.keys.viewer)
    return body.replicas[0]
  }
  const stateOf = async (epoch: number): Promise<StopBody> => {
    const { body } = await slow.get(`${PATHS.stopHistory}?epoch=${epoch}`, slow.keys.viewer)
    return body.stops[0]
  }
  await fleet.ask('call')
  fleet.child.process.kill('SIGSTOP')
  const epoch = await slow.revoke(PAYMENTS)
  await eventually(async () =>
    expect(await stateOf(epoch)).toMatchObject({ state: 'unconfirmed', replicas: [{ state: 'told' }] }),
  )
  expect(await replicaOf()).toMatchObject({ silent: false })
  aheadMs = 60_000
  expect(await replicaOf()).toMatchObject({ replica: 'still/0', silent: true })
  expect(await stateOf(epoch)).toMatchObject({ state: 'unconfirmed', replicas: [{ receivedAt: null }] })

  fleet.child.process.kill('SIGCONT')
  expect(await fleet.ask('aborted', 10_000)).toHaveLength(1)
  await eventually(async () => expect(await stateOf(epoch)).toMatchObject({ state: 'confirmed' }))
  expect(await replicaOf()).toMatchObject({ silent: false })
}, 40_000)
