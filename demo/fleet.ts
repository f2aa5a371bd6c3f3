// npm run fleet: the topologies of 3, 25, 250 and 1,000 devices, each filling its plan exactly, against a control plane
// of its own. Stops one device, one surface, everything; exits 0 only if every check held.
// npm run fleet -- --only=25-agent --only=3-worker --json. `--forget` adds work that nobody guards, and fails.
import { availableParallelism, cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { count } from '../src/cli/plural.ts'
import { explain } from '../src/programs/lifecycle.ts'
import { startControl } from './fleet/control.ts'
import { createPrinter, failedOf, summary } from './fleet/print.ts'
import { prove } from './fleet/prove.ts'
import type { TopologyResult } from './fleet/result.ts'
import { TOPOLOGIES } from './fleet/topologies.ts'

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    json: { type: 'boolean', default: false },
    forget: { type: 'boolean', default: false },
  },
})
const names = TOPOLOGIES.map(({ name }) => name)
const unknown = values.only?.filter((name) => !names.includes(name)) ?? []
if (unknown.length > 0) {
  console.error(`There is no topology ${unknown.join(', ')}. Take one of: ${names.join(', ')}`)
  process.exit(2)
}
const chosen = TOPOLOGIES.filter(({ name }) => values.only?.includes(name) ?? true)
const { line, told } = createPrinter({ out: process.stdout, progress: process.stderr, quiet: values.json })

line('Starting a control plane …')
const control = await startControl().catch((error: unknown) => {
  console.error(explain(error))
  process.exit(1)
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void control.close().finally(() => process.exit(130)))
}
const results: TopologyResult[] = []
try {
  for (const topology of chosen) {
    const { name, plan, about, processes } = topology
    line(`\n${name} · plan ${plan} · ${about} · ${count(processes, 'process', 'processes')}`)
    const result = await prove(topology, { control, told, forgets: values.forget })
    results.push(result)
    line(`      ${(result.tookMs / 1000).toFixed(1)} s`)
  }
} finally {
  await control.close()
}

const failed = results.flatMap(failedOf).length
if (values.json) {
  const machine = { cpus: `${availableParallelism()} × ${cpus()[0]?.model}`, node: process.version }
  console.log(JSON.stringify({ ok: failed === 0, machine, topologies: results }, undefined, 2))
} else {
  line(`\n${summary(results)}`)
  line(failed === 0 ? '\nEvery check held.' : `\n${count(failed, 'check')} did not hold.`)
}
process.exitCode = failed === 0 ? 0 : 1
