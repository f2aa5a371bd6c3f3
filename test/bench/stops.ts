// npm run bench:stops [-- --json --streams=1000 --processes=4 --rounds=5 --idle=10000 --only=push --stop=org.disable].
// `only`: push, cut, idle or deaths, as often as one likes. How long after the ack of a stop the calls that it finds in flight are aborted, one on each of many streams: beside a bare server that writes one
// event to as many connections of the same processes. Then the same with stops kept back: nothing starts all the same
// (G1). Then what becomes of the others while readers are slow, processes die, and the control plane is killed.
// Operator, control plane, bare server and replicas are processes of their own. Their times are of one clock, see
// `machineMs`.
import { availableParallelism, cpus, loadavg } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Client } from 'undici'

import { PATHS } from '../../src/machineid/paths.ts'
import { proveControlPlaneKilled, proveReplicasDie } from '../faults/stops-deaths.ts'
import { proveIdle } from '../faults/stops-idle.ts'
import { machineMs, remoteOf } from '../../demo/fleet/remote.ts'
import {
  eventually,
  PAYMENTS,
  startFleet,
  startStopsWorld,
  type Acked,
  type Fleet,
  type StopsWorld,
} from '../faults/stops-world.ts'
import { end, quantile, start } from './processes.ts'
import type { ProxyApi } from './stops-proxy.ts'
import type { SocketsApi, SocketsSettings } from './stops-sockets.ts'

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    streams: { type: 'string', default: '1000' },
    processes: { type: 'string', default: '4' },
    rounds: { type: 'string', default: '5' },
    idle: { type: 'string', default: '10000' },
    only: { type: 'string', multiple: true },
    stop: { type: 'string', multiple: true },
  },
})
const PROCESSES = Number(values.processes)
const ROUNDS = Number(values.rounds)
const EACH = Math.ceil(Number(values.streams) / PROCESSES)
const STREAMS = EACH * PROCESSES
/** Of the calls that each process goes on to make. */
const CALL_EVERY_MS = 50
const GOES_ON_MS = 500
const WITHIN_MS = 20_000
const LIMIT_MS = 50
const EMAIL = 'openai-agent:bench:email:01'
const parts = new Set(values.only ?? ['push', 'cut', 'idle', 'deaths'])

/** How each kind of stop is made and undone. */
type Stop = (world: StopsWorld) => Promise<{ readonly acked: Acked; readonly undo: () => Promise<unknown> }>
const STOPS: Readonly<Record<string, Stop>> = {
  'device.revoke': async (world) => ({
    acked: await world.revoke(PAYMENTS),
    undo: () => world.restore(PAYMENTS),
  }),
  'lock.add': async (world) => {
    const acked = await world.operate(PATHS.locks, { pattern: '*:*:payments:*', reason: 'bench' }, 'operator')
    const release = PATHS.lockRelease.replace(':id', String(acked.body['lockId']))
    return { acked, undo: () => world.operate(release, { ifEpoch: acked.epoch, reason: 'bench' }) }
  },
  'org.disable': async (world) => {
    const acked = await world.operate(PATHS.orgDisable, { reason: 'bench' }, 'stop')
    return {
      acked,
      undo: () => world.operate(PATHS.orgEnable, { ifEpoch: acked.epoch, reason: 'bench' }),
    }
  },
}

interface Times {
  readonly p50: number
  readonly p99: number
  readonly max: number
}
const rounded = (value: number) => Math.round(value * 10) / 10
const timesOf = (all: readonly number[]): Times => ({
  p50: rounded(quantile(all, 0.5)),
  p99: rounded(quantile(all, 0.99)),
  max: rounded(quantile(all, 1)),
})
const shown = ({ p50, p99, max }: Times) => `p50 ${p50}  p99 ${p99}  max ${max} ms`
const say = (text: string) => void (values.json || console.log(text))
const problems: string[] = []
const must = (fits: boolean, otherwise: string) => void (fits || problems.push(otherwise))
const report: Record<string, unknown> = {}

async function startFleets(at: Pick<StopsWorld, 'url' | 'keys'>): Promise<Fleet[]> {
  return Promise.all(
    Array.from({ length: PROCESSES }, (_, index) => startFleet(at, { name: `fleet-${index}`, count: EACH })),
  )
}
const all = async <T>(fleets: readonly Fleet[], ask: (fleet: Fleet) => Promise<T>) =>
  Promise.all(fleets.map(ask))
const flat = async <T>(fleets: readonly Fleet[], ask: (fleet: Fleet) => Promise<T[]>) =>
  (await all(fleets, ask)).flat()

/** Of the calls that were made all the while: those that started later than the ack. */
async function startsAfter(fleets: readonly Fleet[], ackMs: number) {
  const calls = await flat(fleets, (fleet) => fleet.ask('calls'))
  const entered = calls.filter(({ enteredMs }) => enteredMs > ackMs)
  const late = calls.filter(({ startedMs }) => startedMs !== undefined && startedMs > ackMs)
  return {
    calls: calls.length,
    enteredAfterAck: entered.length,
    /** G1: 0. */
    startedOfThose: entered.filter(({ startedMs }) => startedMs !== undefined).length,
    /** G3: entered before the ack, allowed before the stop. */
    startedInWindow: late.filter(({ enteredMs }) => enteredMs <= ackMs).length,
    windowMaxMs: rounded(Math.max(0, ...late.map(({ startedMs }) => (startedMs ?? 0) - ackMs))),
  }
}

async function bareRound(bare: Client, fleets: readonly Fleet[]) {
  const sentMs = machineMs()
  const answer = await bare.request({ method: 'POST', path: '/' })
  const ackMs = machineMs()
  await answer.body.dump()
  const heard = await flat(fleets, (fleet) => fleet.ask('heard', WITHIN_MS))
  return { sentMs, ackMs, heard }
}

/** The control plane's part alone: as many streams on sockets, of which nobody does anything with what comes. */
async function told(): Promise<Times> {
  await using world = await startStopsWorld()
  await world.operate(PATHS.register, { deviceId: EMAIL })
  const { url, keys } = world
  const sockets = await Promise.all(
    Array.from({ length: PROCESSES }, (_, index) => {
      const settings = { url, key: keys.runtime, name: `told-${index}`, count: EACH, devices: [EMAIL] }
      return start('stops-sockets.ts', [JSON.stringify(settings satisfies SocketsSettings)])
    }),
  )
  const asks = sockets.map(({ process: child }) => remoteOf<SocketsApi>(child))
  const sinceAck: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    await delay(GOES_ON_MS)
    const { epoch, ackMs } = await world.revoke(EMAIL)
    await delay(GOES_ON_MS)
    const toldMs = (await Promise.all(asks.map((ask) => ask('toldMs', epoch)))).flat()
    must(toldMs.length === STREAMS, `${toldMs.length} of ${STREAMS} sockets were told`)
    sinceAck.push(...toldMs.map((ms) => ms - ackMs))
    await world.restore(EMAIL)
  }
  await Promise.all(sockets.map(end))
  return timesOf(sinceAck)
}

async function pushed(): Promise<void> {
  const toldSinceAck = await told()
  report['told'] = { streams: STREAMS, rounds: ROUNDS, toldSinceAck }
  say(`told, ${ROUNDS} × ${STREAMS} streams on bare sockets, from the ack: ${shown(toldSinceAck)}`)
  await using world = await startStopsWorld()
  const bareServer = await start<{ url: string }>('stops-bare.ts')
  const bare = new Client(bareServer.ready.url)
  const fleets = await startFleets(world)
  await all(fleets, (fleet) => fleet.ask('bare', bareServer.ready.url))
  await bareRound(bare, fleets)

  for (const [action, stop] of Object.entries(STOPS)) {
    if (values.stop?.includes(action) === false) continue
    const sinceAck: number[] = []
    const sinceSent: number[] = []
    const bareSinceAck: number[] = []
    const bareSinceSent: number[] = []
    const confirmed: number[] = []
    const starts: Awaited<ReturnType<typeof startsAfter>>[] = []
    for (let round = 0; round < ROUNDS; round++) {
      const begun = (await all(fleets, (fleet) => fleet.ask('call'))).reduce((sum, one) => sum + one, 0)
      must(begun === STREAMS, `${action}: ${begun} of ${STREAMS} calls began`)
      await all(fleets, (fleet) => fleet.ask('steady', CALL_EVERY_MS))
      await delay(GOES_ON_MS)
      const { acked, undo } = await stop(world)
      const aborted = await flat(fleets, (fleet) => fleet.ask('aborted', WITHIN_MS))
      must(aborted.length === STREAMS, `${action}: ${aborted.length} of ${STREAMS} were aborted`)
      sinceAck.push(...aborted.map((ms) => ms - acked.ackMs))
      sinceSent.push(...aborted.map((ms) => ms - acked.sentMs))
      const seen = await eventually(
        () => world.stopOf(acked.epoch),
        ({ state }) => state === 'confirmed',
      )
      must(seen.state === 'confirmed', `${action}: it is ${seen.state}`)
      must(seen.replicas.length === STREAMS, `${action}: ${seen.replicas.length} replicas confirmed`)
      confirmed.push(machineMs() - acked.ackMs)
      await delay(GOES_ON_MS)
      starts.push(await startsAfter(fleets, acked.ackMs))
      await undo()
      const { sentMs, ackMs, heard } = await bareRound(bare, fleets)
      must(heard.length === STREAMS, `bare: ${heard.length} of ${STREAMS} heard`)
      bareSinceAck.push(...heard.map((ms) => ms - ackMs))
      bareSinceSent.push(...heard.map((ms) => ms - sentMs))
    }
    const sum = (of: (one: (typeof starts)[number]) => number) =>
      starts.reduce((whole, one) => whole + of(one), 0)
    const started = sum(({ startedOfThose }) => startedOfThose)
    must(started === 0, `G1: ${started} bodies started that were asked for after the ack`)
    const result = {
      streams: STREAMS,
      rounds: ROUNDS,
      abortSinceAck: timesOf(sinceAck),
      abortSinceSent: timesOf(sinceSent),
      bareSinceAck: timesOf(bareSinceAck),
      bareSinceSent: timesOf(bareSinceSent),
      ratioP99SinceSent: rounded(quantile(sinceSent, 0.99) / quantile(bareSinceSent, 0.99)),
      confirmedSinceAck: timesOf(confirmed),
      askedAfterAck: sum(({ enteredAfterAck }) => enteredAfterAck),
      startedOfThose: started,
      startedInWindow: sum(({ startedInWindow }) => startedInWindow),
      windowMaxMs: Math.max(...starts.map(({ windowMaxMs }) => windowMaxMs)),
      limitMs: LIMIT_MS,
      withinLimit: quantile(sinceAck, 0.99) <= LIMIT_MS,
    }
    report[action] = result
    say(`${action}, ${ROUNDS} × ${STREAMS} calls in flight on ${STREAMS} streams`)
    say(
      `  abort, from the ack     ${shown(result.abortSinceAck)}  (to reach: p99 ≤ ${LIMIT_MS} ms: ${result.withinLimit ? 'reached' : 'not reached'})`,
    )
    say(`  bare event, from its ack ${shown(result.bareSinceAck)}`)
    say(`  abort, from the request ${shown(result.abortSinceSent)}`)
    say(
      `  bare event, the same    ${shown(result.bareSinceSent)}; p99 ${result.ratioP99SinceSent} × that of a bare event`,
    )
    say(`  confirmed, from the ack ${shown(result.confirmedSinceAck)}`)
    say(`  calls asked for after the ack: ${result.askedAfterAck}, of which started: ${started}`)
    say(
      `  asked for before it and started after it (G3): ${result.startedInWindow}, the last after ${result.windowMaxMs} ms`,
    )
  }
  await all(fleets, async (fleet) => fleet[Symbol.asyncDispose]())
  await bare.destroy()
  await end(bareServer)
}

/** Validates go through, stops do not. */
async function cut(): Promise<void> {
  await using world = await startStopsWorld()
  const proxy = await start<{ url: string }>('stops-proxy.ts', [world.url])
  const ask = remoteOf<ProxyApi>(proxy.process)
  const fleets = await startFleets({ url: proxy.ready.url, keys: world.keys })
  let asked = 0
  let started = 0
  let inWindow = 0
  let finished = 0
  let late = 0
  for (let round = 0; round < ROUNDS; round++) {
    await all(fleets, (fleet) => fleet.ask('call'))
    await ask('hold')
    await all(fleets, (fleet) => fleet.ask('steady', CALL_EVERY_MS))
    await delay(GOES_ON_MS)
    const { ackMs, epoch } = await world.revoke(PAYMENTS)
    await delay(2 * GOES_ON_MS)
    const starts = await startsAfter(fleets, ackMs)
    asked += starts.enteredAfterAck
    started += starts.startedOfThose
    inWindow += starts.startedInWindow
    const { state } = await world.stopOf(epoch)
    must(state === 'unconfirmed', `cut: a stop that nobody was told of is ${state}`)
    finished += (await all(fleets, (fleet) => fleet.ask('finish'))).reduce((sum, one) => sum + one, 0)
    await world.restore(PAYMENTS)
    // The calls of the next round are allowed after it, and told of this one when they run.
    late += await ask('release')
  }
  must(started === 0, `G1, stream cut: ${started} bodies started that were asked for after the ack`)
  must(asked > 0, 'stream cut: nothing was asked for')
  must(finished === ROUNDS * STREAMS, `stream cut: ${finished} of ${ROUNDS * STREAMS} went on to their end`)
  report['cut'] = { streams: STREAMS, rounds: ROUNDS, asked, started, inWindow, finished, late }
  say(`stops kept back on ${STREAMS} streams, ${ROUNDS} × revoke`)
  say(`  calls asked for after the ack: ${asked}, of which started: ${started}`)
  say(`  asked for before it and started after it (G3): ${inWindow}`)
  say(`  in flight at the stop, and went on to their end: ${finished}; stops told late: ${late}`)
  await all(fleets, async (fleet) => fleet[Symbol.asyncDispose]())
  await end(proxy)
}

const loadAtStart = loadavg()[0] ?? 0
report['machine'] = {
  cpus: `${availableParallelism()} × ${cpus()[0]?.model}`,
  node: process.version,
  load: rounded(loadAtStart),
}
say(
  `${availableParallelism()} × ${cpus()[0]?.model}, Node ${process.version}, load ${loadAtStart.toFixed(1)}`,
)
if (parts.has('push')) await pushed()
if (parts.has('cut')) await cut()
if (parts.has('idle')) {
  const result = await proveIdle({ streams: Number(values.idle), say })
  report['idle'] = result
  problems.push(...result.problems)
}
if (parts.has('deaths')) {
  for (const prove of [proveReplicasDie, proveControlPlaneKilled]) {
    const result = await prove({ replicas: Math.min(200, STREAMS), say })
    report[prove.name] = result
    problems.push(...result.problems)
  }
}
report['problems'] = problems
if (values.json) console.log(JSON.stringify(report, undefined, 2))
else console.log(problems.length === 0 ? 'Every guarantee held.' : problems.join('\n'))
if (problems.length > 0) process.exitCode = 1
