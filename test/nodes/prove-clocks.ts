import { setTimeout as delay } from 'node:timers/promises'

import { PATHS } from '../../src/machineid/paths.ts'
import { randomFrom } from '../fixtures/random.ts'
import { mustBeIntact } from './chain.ts'
import type { Node } from './cluster.ts'
import type { ProofOptions } from './prove-reads.ts'
import { begin, figuresOf, mustHold, type ProofResult } from './result.ts'
import { BESIDE, registerAll, startTraffic } from './traffic.ts'

const HOUR_MS = 3_600_000
const SHIFTS_MS = [HOUR_MS, -HOUR_MS, 0]
const LONG_OVERLAP_S = 60
const SHORT_OVERLAP_S = 1
/** How far a date may be from that of this machine: nodes measure the clock of Postgres now and then. */
const NEAR_MS = 3000

/**
 * The wall clocks of nodes are set an hour before or behind, while they run: they decide as before, date what happens
 * as the others do, and let a key end when it ends.
 */
export async function proveClocks(options: ProofOptions & { readonly rounds: number }): Promise<ProofResult> {
  const { cluster, seed, rounds, say = () => {} } = options
  const { nodes } = cluster
  const { must, result } = begin('clocks', seed)
  const random = randomFrom(seed)
  const deviceId = `nodes:dated:${seed}`
  await registerAll(cluster, [deviceId])
  await using traffic = await startTraffic({ cluster, name: `clocks-${seed}`, seed, ...BESIDE })
  const keys = { rotated: 0, worked: 0, ended: 0 }

  for (let round = 0; round < rounds; round++) {
    for (const node of nodes) await node.shiftClock(SHIFTS_MS[(round + node.index) % SHIFTS_MS.length] ?? 0)
    for (const overlapSeconds of [LONG_OVERLAP_S, SHORT_OVERLAP_S]) {
      const made = await post(random.pick(nodes), PATHS.keys, { kind: 'runtime', bindings: ['*'] })
      const path = PATHS.keyRotate.replace(':id', String(made.keyId))
      const rotated = await post(random.pick(nodes), path, { overlapSeconds })
      keys.rotated += 1
      for (const key of [made.key, rotated.key]) {
        const statuses = await statusesOf(nodes, deviceId, String(key))
        must(
          statuses === OK,
          `round ${round}: within ${overlapSeconds} s of the overlap keys are answered ${statuses}`,
        )
        keys.worked += 1
      }
      if (overlapSeconds !== SHORT_OVERLAP_S) continue
      await delay(SHORT_OVERLAP_S * 1000 + NEAR_MS / 2)
      const statuses = await statusesOf(nodes, deviceId, String(made.key))
      must(statuses === REFUSED, `round ${round}: after the overlap the old key is answered ${statuses}`)
      keys.ended += 1
    }
    const stopped = await Promise.all(nodes.map((node) => dated(node, deviceId)))
    for (const { index, offMs } of stopped)
      must(Math.abs(offMs) < NEAR_MS, `round ${round}: node ${index} dates a stop ${offMs} ms off`)
    say(`${round + 1} of ${rounds} rounds`)
  }
  for (const node of nodes) await node.shiftClock(0)
  await traffic.end()
  const auditRows = await mustBeIntact(cluster, must)
  mustHold(traffic.oracle, must, true)
  return result({ rounds, keys, auditRows, traffic: figuresOf(traffic.oracle) })
}

const OK = '200'
const REFUSED = '401'

/** All of them, once each. */
async function statusesOf(nodes: readonly Node[], deviceId: string, key: string): Promise<string> {
  const answers = await Promise.all(nodes.map((node) => node.ask([deviceId], key)))
  return [...new Set(answers.map(({ status }) => status))].join(' ')
}

async function post(node: Node, path: string, body: object) {
  const answer = await node.operate(path, body, 'admin')
  if (answer.status !== 200) throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.body)}`)
  return answer.body as Record<string, unknown>
}

/** How far off the date is that a node gives to a stop which it acks now. */
async function dated(node: Node, deviceId: string) {
  const { epoch } = await post(node, PATHS.revoke, { deviceId })
  const atMs = Date.now()
  const { body } = await node.operate(`${PATHS.stopHistory}?epoch=${String(epoch)}`, undefined, 'viewer')
  const [stop] = body.stops as { readonly at: string }[]
  return { index: node.index, offMs: Date.parse(stop?.at ?? '') - atMs }
}
