// npm run demo: proves remote stop in one go, without any account. Exits 0 only if every step did what it must.
// npm run demo -- --cluster: the same against three control planes and three tool servers over one Postgres.
import { parseArgs } from 'node:util'
import { setTracingDisabled } from '@openai/agents'
import { explain } from '../src/programs/lifecycle.ts'
import { isScripted } from './model.ts'
import { asExpected, createReport, table } from './report.ts'
import { manyNodes } from './steps-cluster.ts'
import { failures } from './steps-failures.ts'
import { pauseAndResume } from './steps-resume.ts'
import { stopAndRestore } from './steps-stop.ts'
import { createClusterWorld } from './world-cluster.ts'
import { createWorld } from './world.ts'

if (isScripted) setTracingDisabled(true)
const { cluster } = parseArgs({ options: { cluster: { type: 'boolean', default: false } } }).values
const report = createReport((line) => console.log(line))
console.log(
  isScripted
    ? 'No OPENAI_API_KEY is set, so the agent runs on a scripted model. Everything else is real: processes, sockets, files.'
    : 'The agent runs on the model of OPENAI_API_KEY.',
)

console.log('Starting …')
const world = await (cluster ? createClusterWorld() : createWorld()).catch((error: unknown) => {
  console.log(explain(error))
  process.exit(1)
})
console.log(`${world.about} Nothing else decides.`)
try {
  await stopAndRestore(world, report)
  await pauseAndResume(world, report)
  if (world.cluster !== undefined) await manyNodes(world, world.cluster, report)
  await failures(world, report)
} finally {
  await world.close()
}

console.log(`\n${table(report.rows)}`)
const failed = report.rows.filter((row) => !asExpected(row)).length
console.log(
  failed === 0
    ? '\nEvery step was as expected.'
    : `\n${failed} of ${report.rows.length} steps were not as expected.`,
)
if (failed > 0 && !isScripted) {
  console.log('If the model did not answer, unset OPENAI_API_KEY: the demo then runs on a scripted model.')
}
process.exitCode = failed === 0 ? 0 : 1
