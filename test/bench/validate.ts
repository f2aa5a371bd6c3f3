// npm run bench: what one validate costs, ours beside the bare minimum, alternating in one run on one machine.
// Ours: the client (profile holdpoint), the control plane and its SQLite file. Bare: an undici POST to node:http.
import { randomBytes } from 'node:crypto'
import { Pool } from 'undici'
import { MachineID } from '../../src/machineid/client.ts'
import { end, start, startControlPlane } from './processes.ts'

const DEVICE_IDS = ['openai-agent:bench:tool-server:01', 'openai-agent:bench:payments:01']
const ROUNDS = Number(process.argv[2] ?? 30)
const CALLS_PER_ROUND = 200

const bareServer = await start<{ url: string }>('bare-server.ts')
const ourServer = await startControlPlane({ workers: 1, deviceIds: DEVICE_IDS })
const pool = new Pool(bareServer.ready.url, { connections: 1, pipelining: 1 })
const client = new MachineID({ baseUrl: ourServer.ready.url, orgKey: ourServer.ready.keys.runtime })

const bare = async () => {
  const body = JSON.stringify({
    deviceIds: DEVICE_IDS,
    nonce: randomBytes(16).toString('hex'),
    context: { boundary: 'tool' },
  })
  const answer = await pool.request({
    method: 'POST',
    path: '/validate',
    headers: { 'content-type': 'application/json' },
    body,
  })
  const { decisions } = (await answer.body.json()) as { decisions: { allowed: boolean }[] }
  if (!decisions.every((decision) => decision.allowed)) throw new Error('bare server denied')
}
const ours = async () => {
  const answer = await client.ask({ deviceIds: DEVICE_IDS, boundary: 'tool', timeoutMs: 2000 })
  if (!answer.answered || !answer.decisions.every((decision) => decision.allowed))
    throw new Error('control plane denied')
}

for (const call of [bare, ours]) await measure(call, 2000)
const times = { bare: [] as number[], ours: [] as number[] }
for (let round = 0; round < ROUNDS; round++) {
  times.bare.push(...(await measure(bare, CALLS_PER_ROUND)))
  times.ours.push(...(await measure(ours, CALLS_PER_ROUND)))
  if (process.stderr.isTTY) process.stderr.write(`\rround ${round + 1} of ${ROUNDS} `)
}
if (process.stderr.isTTY) process.stderr.write('\n')

for (const [name, all] of Object.entries(times)) {
  const sorted = all.toSorted((a, b) => a - b)
  const at = (share: number) => `${((sorted[Math.floor(sorted.length * share)] ?? 0) * 1000).toFixed(0)} µs`
  console.log(`${name}  ${all.length} calls  median ${at(0.5)}  p99 ${at(0.99)}`)
}
console.log(
  `validate of ${DEVICE_IDS.length} devices, median: ${(median(times.ours) / median(times.bare)).toFixed(2)} × a bare undici POST`,
)

await client.close()
await pool.close()
for (const server of [bareServer, ourServer]) await end(server)

async function measure(call: () => Promise<void>, count: number): Promise<number[]> {
  const all: number[] = []
  for (let done = 0; done < count; done++) {
    const startMs = performance.now()
    await call()
    all.push(performance.now() - startMs)
  }
  return all
}

function median(all: readonly number[]): number {
  return all.toSorted((a, b) => a - b)[Math.floor(all.length / 2)] ?? 0
}
