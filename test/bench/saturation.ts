// npm run bench:saturation [-- CONNECTIONS [REVOKES]]: how long the ack of a stop takes on the operator lane while
// validates are asked on as many connections as fast as they are answered. Lanes in threads of their own, and side by
// side everything in one thread. Each stop is followed by a validate, which must be denied (G1).
import { setTimeout as delay } from 'node:timers/promises'
import { Pool } from 'undici'

import { PATHS } from '../../src/machineid/paths.ts'
import { startLoad } from './load.ts'
import { end, milliseconds, quantile, startControlPlane } from './processes.ts'

const CONNECTIONS = Number(process.argv[2] ?? 10_000)
const REVOKES = Number(process.argv[3] ?? 500)
const EVERY_MS = 20
const WARM_UP_MS = 4000
const OWN_CONNECTIONS = 100
const LOADED = Array.from({ length: 50 }, (_, index) => `openai-agent:bench:load:${index}`)
const SPARE = 'openai-agent:bench:spare:0'
const STOPPED = Array.from({ length: REVOKES }, (_, index) => `openai-agent:bench:stopped:${index}`)

async function measure(name: string, workers: number): Promise<number> {
  const server = await startControlPlane({ workers, deviceIds: [...LOADED, ...STOPPED, SPARE] })
  const { url, operatorUrl, keys } = server.ready
  const operator = new Pool(operatorUrl, { connections: OWN_CONNECTIONS, headersTimeout: 60_000 })
  const agent = new Pool(url, { connections: OWN_CONNECTIONS, headersTimeout: 60_000 })
  const ask = async (pool: Pool, path: string, key: string, body: object) => {
    const answer = await pool.request({
      method: 'POST',
      path,
      headers: { 'x-org-key': key, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    return { status: answer.statusCode, body: (await answer.body.json()) as Record<string, unknown> }
  }
  // Open before the load begins: a busy loop takes new connections one in each turn.
  for (const pool of [operator, agent]) {
    await Promise.all(
      Array.from({ length: OWN_CONNECTIONS }, () => ask(pool, PATHS.revoke, keys.stop, { deviceId: SPARE })),
    )
  }
  const load = await startLoad({
    url,
    key: keys.runtime,
    connections: CONNECTIONS,
    processes: 2,
    deviceIds: LOADED,
  })
  await delay(WARM_UP_MS)
  await load.count()
  const acksMs: number[] = []
  const checks: Promise<string>[] = []
  const startMs = performance.now()
  const stops = STOPPED.map(async (deviceId, index) => {
    // From when the operator wanted it, whether the one before is through or not.
    const wantedMs = startMs + index * EVERY_MS
    await delay(Math.max(0, wantedMs - performance.now()))
    const stop = await ask(operator, PATHS.revoke, keys.stop, { deviceId })
    if (stop.status !== 200) throw new Error(`revoke: ${stop.status}`)
    acksMs.push(performance.now() - wantedMs)
    const check = ask(agent, PATHS.validate, keys.runtime, { deviceId })
    checks.push(check.then(({ status, body }) => (status === 200 ? String(body['code']) : String(status))))
  })
  await Promise.all(stops)
  const counts = await load.count()
  const codes = Map.groupBy(await Promise.all(checks), (code) => code)
  await load.end()
  await Promise.all([operator.destroy(), agent.destroy()])
  await end(server)

  const perSecond = Math.round(counts.answers / counts.seconds)
  const answered = Object.entries(counts.byStatus).map(([status, count]) => `${count} × ${status}`)
  const after = [...codes].map(([code, all]) => `${all.length} × ${code}`)
  console.log(
    `${name.padEnd(22)} revoke ack ${milliseconds(acksMs)}  (${acksMs.length} revokes, one each ${EVERY_MS} ms)`,
  )
  console.log(
    `${''.padEnd(22)} ${perSecond} validates/s on ${CONNECTIONS} connections (${answered.join(', ')}; ${counts.broken} broken)`,
  )
  console.log(
    `${''.padEnd(22)} after the ack: ${after.join(', ')}; stale allows: ${codes.get('ALLOW')?.length ?? 0}`,
  )
  return quantile(acksMs, 0.99)
}

const lanes = await measure('validates in a thread', 1)
const single = await measure('all in one thread', 0)
console.log(
  `p99 of a revoke ack: ${lanes.toFixed(1)} ms with lanes, ${(single / lanes).toFixed(0)} × that in one thread; target 50 ms`,
)
