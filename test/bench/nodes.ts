// npm run bench:nodes [-- --json --rounds=5 --seconds=3 --connections=64]: validates each second and how long one takes,
// on SQLite, on Postgres with one node and with three, and with CONSISTENCY=quorum, which commits on a synchronous
// standby before it answers. All of them run all the while, and are asked in turns by one program.
import { availableParallelism, cpus, loadavg } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'

import { PATHS } from '../../src/machineid/paths.ts'
import { startCluster, type Cluster, type ClusterOptions } from '../nodes/cluster.ts'
import { registerAll } from '../nodes/traffic.ts'
import { startLoad } from './load.ts'
import { quantile } from './processes.ts'

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '3' },
    connections: { type: 'string', default: '64' },
  },
})
const ROUNDS = Number(values.rounds)
const SECONDS = Number(values.seconds)
const CONNECTIONS = Number(values.connections)
const WARM_UP_MS = 500
const STOPS = 50
const DEVICE_IDS = Array.from({ length: 64 }, (_, index) => `openai-agent:bench:load:${index}`)
const STOPPED = 'openai-agent:bench:stopped:0'

interface Setup {
  readonly name: string
  readonly cluster: Cluster
  /** How many of its nodes are asked. */
  readonly nodes: number
}
interface Measured {
  /** Answers each second of each round, with all connections. */
  readonly perSecond: number[]
  readonly busyMs: number[]
  /** With one connection and nothing else to do. */
  readonly aloneMs: number[]
  readonly revokeMs: number[]
}

await using ends = new AsyncDisposableStack()
const open = async (options: ClusterOptions) => {
  const cluster = await startCluster(options)
  ends.use(cluster)
  await registerAll(cluster, [...DEVICE_IDS, STOPPED])
  return cluster
}
const sqlite = await open({ nodes: 1, store: 'sqlite' })
const postgres = await open({ nodes: 3 })
const quorum = await open({ nodes: 3, consistency: 'quorum' })
const SETUPS: readonly Setup[] = [
  { name: 'sqlite', cluster: sqlite, nodes: 1 },
  { name: 'postgres, 1 node', cluster: postgres, nodes: 1 },
  { name: 'postgres, 3 nodes', cluster: postgres, nodes: 3 },
  { name: 'quorum, 1 node', cluster: quorum, nodes: 1 },
  { name: 'quorum, 3 nodes', cluster: quorum, nodes: 3 },
]
const measured = new Map<string, Measured>(
  SETUPS.map(({ name }) => [name, { perSecond: [], busyMs: [], aloneMs: [], revokeMs: [] }]),
)

async function load({ cluster, nodes }: Setup, connections: number) {
  const url = cluster.nodes.slice(0, nodes).map((node) => node.url)
  const key = cluster.keys.runtime
  const running = await startLoad({ url, key, connections, processes: 1, deviceIds: DEVICE_IDS, times: true })
  await delay(WARM_UP_MS)
  await running.count()
  await delay(SECONDS * 1000)
  const counts = await running.count()
  await running.end()
  const wrong = Object.keys(counts.byStatus).filter((status) => status !== '200')
  if (wrong.length > 0 || counts.broken > 0) throw new Error(`answers: ${JSON.stringify(counts.byStatus)}`)
  return counts
}

async function revoke({ cluster, nodes }: Setup): Promise<number[]> {
  const times: number[] = []
  for (let stop = 0; stop < STOPS; stop++) {
    const startMs = performance.now()
    const answer = await cluster.nodes[stop % nodes]?.operate(PATHS.revoke, { deviceId: STOPPED }, 'stop')
    if (answer?.status !== 200) throw new Error(`revoke: ${answer?.status}`)
    times.push(performance.now() - startMs)
  }
  return times
}

const loadAtStart = loadavg()[0] ?? 0
for (let round = 0; round < ROUNDS; round++) {
  for (const setup of SETUPS) {
    const of = measured.get(setup.name) as Measured
    const alone = await load(setup, 1)
    of.aloneMs.push(...alone.times)
    const busy = await load(setup, CONNECTIONS)
    of.perSecond.push(busy.answers / busy.seconds)
    of.busyMs.push(...busy.times)
    of.revokeMs.push(...(await revoke(setup)))
  }
  process.stderr.write(`round ${round + 1} of ${ROUNDS}\n`)
}

const median = (all: readonly number[]) => quantile(all, 0.5)
const rounded = (value: number) => Math.round(value * 1000) / 1000
const times = (all: readonly number[]) => ({ p50: rounded(median(all)), p99: rounded(quantile(all, 0.99)) })
const base = measured.get('sqlite') as Measured
const report = Object.fromEntries(
  [...measured].map(([name, { perSecond, busyMs, aloneMs, revokeMs }]) => [
    name,
    {
      validatesPerSecond: Math.round(median(perSecond)),
      busyMs: times(busyMs),
      aloneMs: times(aloneMs),
      revokeMs: times(revokeMs),
      ofSqlite: {
        validatesPerSecond: rounded(median(perSecond) / median(base.perSecond)),
        aloneP50: rounded(median(aloneMs) / median(base.aloneMs)),
        revokeP50: rounded(median(revokeMs) / median(base.revokeMs)),
      },
    },
  ]),
)
const machine = {
  cpus: `${availableParallelism()} × ${cpus()[0]?.model}`,
  node: process.version,
  load: Math.round(loadAtStart * 10) / 10,
}
if (values.json) {
  const settings = { rounds: ROUNDS, seconds: SECONDS, connections: CONNECTIONS }
  console.log(JSON.stringify({ machine, settings, report }, undefined, 2))
} else {
  console.log(`${machine.cpus}, Node ${machine.node}, load ${machine.load}; everything on this one machine`)
  for (const [name, { validatesPerSecond, busyMs, aloneMs, revokeMs, ofSqlite }] of Object.entries(report)) {
    console.log(
      `${name.padEnd(18)} ${String(validatesPerSecond).padStart(6)} validates/s (${ofSqlite.validatesPerSecond} × sqlite)`,
    )
    console.log(
      `${''.padEnd(18)} one alone p50 ${aloneMs.p50} ms (${ofSqlite.aloneP50} ×)  p99 ${aloneMs.p99} ms; ` +
        `on ${CONNECTIONS} connections p50 ${busyMs.p50}  p99 ${busyMs.p99} ms`,
    )
    console.log(
      `${''.padEnd(18)} revoke ack p50 ${revokeMs.p50} ms (${ofSqlite.revokeP50} ×)  p99 ${revokeMs.p99} ms`,
    )
  }
}
