// npm run bench:runs [-- RUNS]: many paused runs on one replica, of which the largest states have about 2 MB. Over HTTP,
// side by side in one process: a server with RUNS paused runs, one with ten, and `resumeAgent` on states in memory.
import { cpus, totalmem } from 'node:os'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { setTracingDisabled } from '@openai/agents'

import { resumeAgent } from '../../src/agents/resume-agent.ts'
import { runAgent } from '../../src/agents/run-agent.ts'
import { serializeState } from '../../src/agents/run-state-text.ts'
import { pay, script, type Turns } from '../fixtures/hosted-cashiers.ts'
import { startHostedWorld, type HostedWorld } from '../fixtures/hosted-runs.ts'
import { quantile } from './processes.ts'

const RUNS = Number(process.argv[2] ?? 1000)
const FEW = 10
/** Of the large states there are fewer. */
const SAMPLES = 200
/** What a tool answers, which stands in the state twice: of ten runs six are small, three medium and one large. */
const SIZES = { small: 2_000, medium: 50_000, large: 1_040_000 } as const
type Size = keyof typeof SIZES
const LARGE_RUN = 9
const sizeOf = (run: number): Size =>
  run % 10 === LARGE_RUN ? 'large' : (run % 10) % 3 === 2 ? 'medium' : 'small'
const runIdOf = (run: number) => `run_${run}`

setTracingDisabled(true)
setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void
const residentMb = () => {
  collect()
  return process.memoryUsage().rss / 2 ** 20
}

let lastInvoice = 0
/** Fills the state, pauses before a payment, and then before another one. */
function turns(size: Size): Turns {
  const payment = (callId: string) => [pay(callId, `INV-${++lastInvoice}`)]
  const fill = { tool: 'fill', args: { bytes: SIZES[size] }, callId: 'fill' }
  return [[fill], payment('call_1'), payment('call_2')]
}

async function timed<T>(work: () => Promise<T>, into: number[]): Promise<T> {
  const startMs = performance.now()
  const value = await work()
  into.push(performance.now() - startMs)
  return value
}

/** From the first pause to the second, with a state of which only the text is kept: nothing is sealed or stored. */
async function resumeInMemory({ guard, hosted }: HostedWorld, size: Size, into: number[]): Promise<void> {
  const { agent } = hosted.agents[0] ?? {}
  if (agent === undefined) throw new Error('no agent')
  const { runId, state, approvals } = await runAgent(guard, agent, script(turns(size)))
  if (state === undefined) throw new Error('it did not pause')
  const text = serializeState(state)
  const decisions = approvals.map(({ callId, digest }) => ({ callId, digest, approve: true }))
  const resumed = await timed(() => resumeAgent(guard, agent, text, { runId, approvals: decisions }), into)
  if (resumed.status !== 'interrupted') throw new Error(`${runId} is ${resumed.status}`)
}

/** The same with a hosted run. */
async function resumeHosted(world: HostedWorld, runId: string, into: number[]): Promise<void> {
  await world.decide(runId, true)
  const { status, body } = await timed(() => world.resume(runId), into)
  if (status !== 200 || body.status !== 'interrupted') throw new Error(`${runId}: ${status} ${body.status}`)
}

async function expectOk(answer: Promise<{ status: number; body: unknown }>): Promise<void> {
  const { status, body } = await answer
  if (status !== 200) throw new Error(`${status} ${JSON.stringify(body)}`)
}

async function pauseRuns(world: HostedWorld, count: number): Promise<void> {
  for (let run = 0; run < count; run++) await world.start(runIdOf(run), turns(sizeOf(run)))
}

function line(name: string, ms: readonly number[], against: Record<string, readonly number[]> = {}): string {
  const cells = [0.5, 0.99, 1].map((q) => quantile(ms, q).toFixed(1).padStart(9))
  const ratios = Object.entries(against).map(
    ([other, theirs]) => `${(quantile(ms, 0.5) / quantile(theirs, 0.5)).toFixed(2)} x ${other}`,
  )
  return [name.padEnd(44), ...cells, ...ratios.map((ratio) => ratio.padStart(22))].join(' ')
}

const few = await startHostedWorld()
await pauseRuns(few, FEW)
const beforeMb = residentMb()
const many = await startHostedWorld()
const startMs = performance.now()
await pauseRuns(many, RUNS)
const pausedSeconds = (performance.now() - startMs) / 1000
const pausedMb = residentMb()
const [stored] = many.rows(
  'SELECT max(length(state)) AS largest, sum(length(state)) AS whole FROM run_states',
)

console.log(
  `${cpus().length} x ${cpus()[0]?.model}, ${(totalmem() / 2 ** 30).toFixed(0)} GB, Node ${process.version}`,
)
console.log(
  `${RUNS} runs paused in ${pausedSeconds.toFixed(1)} s; states: largest ${mb(stored?.['largest'])}, together ${mb(stored?.['whole'])}`,
)
console.log(`resident: ${beforeMb.toFixed(0)} MB before, ${pausedMb.toFixed(0)} MB with them`)
console.log(['ms'.padEnd(44), 'median', 'p99', 'max'].join('    '))

const reads: Record<string, string> = {
  'GET /runs?limit=10 (newest first)': '/runs?limit=10',
  'GET /runs/:id (small state)': `/runs/${runIdOf(0)}`,
  'GET /runs/:id (2 MB state)': `/runs/${runIdOf(LARGE_RUN)}`,
}
for (const [name, path] of Object.entries(reads)) {
  const ms = { few: [] as number[], many: [] as number[] }
  for (let sample = 0; sample < SAMPLES; sample++) {
    await timed(() => expectOk(few.get(path)), ms.few)
    await timed(() => expectOk(many.get(path)), ms.many)
  }
  console.log(line(name, ms.many, { [`${FEW} runs`]: ms.few }))
}
for (const path of ['/runs', '/runs?status=interrupted&limit=200']) {
  const ms: number[] = []
  for (let sample = 0; sample < SAMPLES; sample++) await timed(() => expectOk(many.get(path)), ms)
  console.log(line(`GET ${path}`, ms))
}

for (const size of Object.keys(SIZES) as Size[]) {
  const ms = { few: [] as number[], many: [] as number[], memory: [] as number[] }
  const runs = Array.from({ length: RUNS }, (_, run) => run).filter((run) => sizeOf(run) === size)
  const samples = runs.slice(0, SAMPLES)
  for (const run of samples) {
    await resumeHosted(many, runIdOf(run), ms.many)
    // Each state is resumed once; the few stay few.
    const extra = `extra_${run}`
    await few.start(extra, turns(size))
    await resumeHosted(few, extra, ms.few)
    await few.post(`/runs/${extra}/cancel`, {})
    await resumeInMemory(few, size, ms.memory)
  }
  const [state] = many.rows(
    'SELECT length(state) AS bytes FROM run_states WHERE run_id = ?',
    runIdOf(samples[0] ?? 0),
  )
  const against = { [`${FEW} runs`]: ms.few, 'resumeAgent in memory': ms.memory }
  console.log(line(`resume (state ${mb(state?.['bytes'])})`, ms.many, against))
}
console.log(
  `resident at the end: ${residentMb().toFixed(0)} MB; payments made: ${many.ran.filter(({ what }) => what === 'paid').length}`,
)

await few[Symbol.asyncDispose]()
await many[Symbol.asyncDispose]()

function mb(bytes: unknown): string {
  return `${(Number(bytes) / 2 ** 20).toFixed(2)} MB`
}
