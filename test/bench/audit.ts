// node --conditions=holdpoint-source test/bench/audit.ts [rows]: what it takes to verify and to take away a long audit
// chain, and how long a stop waits meanwhile. The control plane is in a process of its own, its callers in this one.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PATHS } from '../../src/machineid/paths.ts'
import { runAudit } from '../../src/programs/audit.ts'

const ROWS = Number(process.argv[2] ?? 100_000)
const DEVICE = 'openai-agent:bench:payments:01'

interface Ready {
  readonly url: string
  readonly file: string
  readonly orgId: string
  readonly keys: Record<'viewer' | 'stop', string>
}

const dir = await mkdtemp(join(tmpdir(), 'holdpoint-bench-audit-'))
const child = fork(join(import.meta.dirname, 'audit-server.ts'), [dir, String(ROWS), DEVICE], {
  execArgv: ['--conditions=holdpoint-source'],
})
const [ready] = (await once(child, 'message')) as [Ready]
const { url, file, keys } = ready

const get = async (path: string) => {
  const response = await fetch(`${url}${path}`, { headers: { 'x-org-key': keys.viewer } })
  if (!response.ok) throw new Error(`${path}: ${response.status}`)
  return response
}
const verify = async () => {
  const { intact } = (await (await get(PATHS.auditVerify)).json()) as { intact: boolean }
  if (!intact) throw new Error('the chain is broken')
}
const take = async () => {
  let bytes = 0
  for await (const chunk of (await get(`${PATHS.audit}?format=jsonl`)).body ?? []) bytes += chunk.byteLength
  return bytes
}
const stop = async () => {
  const body = JSON.stringify({ deviceId: DEVICE, reason: 'bench' })
  const headers = { 'x-org-key': keys.stop, 'content-type': 'application/json' }
  const response = await fetch(`${url}${PATHS.revoke}`, { method: 'POST', headers, body })
  if (!response.ok) throw new Error(`revoke: ${response.status}`)
  await response.arrayBuffer()
}

const quiet = { say: () => {}, note: () => {} }
const rate = (ms: number) => `${Math.round((ROWS / ms) * 1000).toLocaleString('en')} rows/s`
console.log(`${ROWS.toLocaleString('en')} rows`)
console.log(`verify, online    ${rate(await timed(verify))}`)
let bytes = 0
console.log(`export, online    ${rate(await timed(async () => void (bytes = await take())))}, ${bytes} bytes`)
console.log(
  `verify, offline   ${rate(await timed(async () => void (await runAudit(['verify', file], quiet))))}`,
)

await stopsDuring('idle', () => new Promise((resolve) => setTimeout(resolve, 3000)))
await stopsDuring('1 verify', verify)
await stopsDuring('1 export', take)
await stopsDuring('8 verifies, 8 exports', () =>
  Promise.all(Array.from({ length: 8 }, () => [verify(), take()]).flat()),
)

child.disconnect()
await once(child, 'exit')
await rm(dir, { recursive: true })

async function timed(work: () => Promise<void>): Promise<number> {
  const startMs = performance.now()
  await work()
  return performance.now() - startMs
}

/** One stop after the other while `work` lasts. */
async function stopsDuring(name: string, work: () => Promise<unknown>): Promise<void> {
  let running = true
  const done = work().finally(() => (running = false))
  const times: number[] = []
  while (running) times.push(await timed(stop))
  await done
  const sorted = times.toSorted((a, b) => a - b)
  const at = (share: number) => (sorted[Math.floor((sorted.length - 1) * share)] ?? 0).toFixed(1)
  console.log(
    `stops during ${name.padEnd(22)} ${times.length} stops, median ${at(0.5)} ms, p99 ${at(0.99)} ms, most ${at(1)} ms`,
  )
}
