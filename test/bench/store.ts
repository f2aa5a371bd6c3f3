// npm run bench:store [-- ROUNDS]: what decision records cost a validate, and how fast stops are made durable. Side by
// side in one run: validates with DECISION_LOG=denials and =all, and beside them the bare minimum that answers JSON.
import { rm, mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

import { createService } from '../../src/control-plane/service.ts'
import { openControlPlaneStore } from '../../src/store/sqlite/control-plane.ts'
import { startLoad, type Load } from './load.ts'
import { end, quantile, start, startControlPlane, type Forked } from './processes.ts'

const ROUNDS = Number(process.argv[2] ?? 5)
const ROUND_MS = 2000
const CONNECTIONS = 64
const DEVICES = Array.from({ length: 1000 }, (_, index) => `openai-agent:bench:device:${index}`)

await validates()
await stops()

async function validates(): Promise<void> {
  const servers = {
    bare: await start<{ url: string }>('bare-server.ts'),
    denials: await startControlPlane({ workers: 1, deviceIds: DEVICES }),
    all: await startControlPlane({ workers: 1, deviceIds: DEVICES, recordAllows: true }),
  }
  const perSecond = { bare: [] as number[], denials: [] as number[], all: [] as number[] }
  for (let round = 0; round < ROUNDS; round++) {
    for (const name of ['bare', 'denials', 'all'] as const)
      perSecond[name].push(await throughput(servers[name]))
  }
  for (const server of Object.values(servers)) await end(server)
  const median = { bare: 0, denials: 0, all: 0 }
  for (const [name, all] of Object.entries(perSecond)) {
    median[name as keyof typeof median] = quantile(all, 0.5)
    console.log(
      `${name.padEnd(8)} ${Math.round(quantile(all, 0.5))} answers/s on ${CONNECTIONS} connections, median of ${ROUNDS}`,
    )
  }
  console.log(`validate throughput: ${(median.denials / median.bare).toFixed(2)} × the bare server`)
  console.log(
    `with every allow recorded: ${(median.all / median.denials).toFixed(2)} × that with denials only`,
  )
}

async function throughput({ ready }: Forked<{ url: string; keys?: { runtime: string } }>): Promise<number> {
  const load: Load = await startLoad({
    url: ready.url,
    key: ready.keys?.runtime ?? 'none',
    connections: CONNECTIONS,
    processes: 1,
    deviceIds: DEVICES,
  })
  await delay(300)
  await load.count()
  await delay(ROUND_MS)
  const { answers, byStatus, seconds } = await load.count()
  await load.end()
  if (Object.keys(byStatus).join() !== '200') throw new Error(`answered ${JSON.stringify(byStatus)}`)
  return answers / seconds
}

/** Through the service, each in a transaction that is on the disk when it returns, audit row and epoch included. */
async function stops(): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'holdpoint-bench-store-'))
  const store = openControlPlaneStore({ file: join(dir, 'control-plane.db') })
  const service = createService({ store, onDecisionsLost: () => {} })
  const { orgId } = await service.createOrg({ kinds: [] })
  const caller = { actor: 'bench', kind: 'platform', requestId: null, origin: null } as const
  await service.setPlan(caller, orgId, { tier: 'max' })
  for (const deviceId of DEVICES) await service.register(caller, orgId, { deviceId })
  let turn = 0
  const single = await rate(() => service.revoke(caller, orgId, { deviceId: DEVICES[turn++ % 1000] ?? '' }))
  const bulk = await rate(() => service.revokeBatch(caller, orgId, { selection: { ids: DEVICES } }))
  await store.close()
  await rm(dir, { recursive: true })
  console.log(`durable revokes: ${Math.round(single)} a second, one after the other`)
  console.log(
    `bulk: ${Math.round(bulk * DEVICES.length)} devices a second, ${DEVICES.length} in each durable call of ${(1000 / bulk).toFixed(0)} ms`,
  )
}

async function rate(change: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now()
  let count = 0
  while (performance.now() - startMs < ROUND_MS * 2) {
    await change()
    count++
  }
  return count / ((performance.now() - startMs) / 1000)
}
