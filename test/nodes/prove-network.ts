import { setTimeout as delay } from 'node:timers/promises'

import { PATHS } from '../../src/machineid/paths.ts'
import { randomFrom } from '../fixtures/random.ts'
import { mustBeIntact } from './chain.ts'
import type { Node } from './cluster.ts'
import { createKeptStops } from './kept-stops.ts'
import type { ProofOptions } from './prove-reads.ts'
import { createRecovery } from './recovery.ts'
import { begin, figuresOf, mustHold, type ProofResult } from './result.ts'
import { NETWORKS } from './tcp-proxy.ts'
import { BESIDE, noAnswer, registerAll, startTraffic, whyOf } from './traffic.ts'

const STOPS = 20
const BROKEN = NETWORKS.filter((network) => network !== 'fine')
/** What was under way when the network broke has come through by then, or has not. */
const SETTLED_MS = 50
const EVERY_MS = 20

/**
 * G1, G4, G5: the network between some of the nodes and Postgres breaks in each way that it can, and is mended. Nodes
 * that are cut off allow nothing and ack nothing; the others go on; what was held arrives late and changes nothing.
 */
export async function proveNetwork(
  options: ProofOptions & { readonly rounds: number; readonly brokenMs: number },
): Promise<ProofResult> {
  const { cluster, seed, rounds, brokenMs, say = () => {} } = options
  const { nodes } = cluster
  const { must, result } = begin('network', seed)
  const random = randomFrom(seed)
  const name = `network-${seed}`
  const kept = createKeptStops(cluster, name, seed)
  const recovery = await createRecovery(cluster, name, must)
  const deviceId = `nodes:cut:${name}`
  await registerAll(cluster, [deviceId])
  await using traffic = await startTraffic({ cluster, name, seed, ...BESIDE })
  const whileCut = { questions: 0, stops: {} as Record<string, number> }

  /** Asks a node that is cut off and has it stop something, until it is mended. Only what came before that counts. */
  const pester = async (node: Node, isCut: () => boolean, network: string) => {
    const asking = async () => {
      while (isCut()) {
        const allowed = await recovery.allows(node)
        if (!isCut()) return
        whileCut.questions += 1
        must(!allowed, `${network}: node ${node.index} allowed something without Postgres`)
        await delay(EVERY_MS)
      }
    }
    const stopping = async () => {
      while (isCut()) {
        const answer = await node.operate(PATHS.revoke, { deviceId }, 'stop').catch(noAnswer)
        if (!isCut()) return
        const why = whyOf(answer)
        whileCut.stops[why] = (whileCut.stops[why] ?? 0) + 1
        must(answer.status !== 200, `${network}: node ${node.index} acked a stop without Postgres`)
        await delay(EVERY_MS)
      }
    }
    await Promise.all([asking(), stopping()])
  }

  for (let round = 0; round < rounds; round++) {
    const network = BROKEN[round % BROKEN.length] as (typeof BROKEN)[number]
    const cut = random.shuffled(nodes).slice(0, 1 + random.int(nodes.length))
    await kept.prepare(STOPS)
    const early = kept.stopSome(STOPS / 2)
    await delay(random.int(10))
    for (const node of cut) node.network(network)
    await delay(SETTLED_MS)
    let isCut = network !== 'slow'
    const late = kept.stopSome(STOPS / 2)
    const pestered = cut.map((node) => pester(node, () => isCut, network))
    await delay(random.int(brokenMs))
    isCut = false
    for (const node of cut) node.network('fine')
    await recovery.wait(nodes)
    await Promise.all([early, late, ...pestered])
    await kept.look('latest', must)
    if ((round + 1) % BROKEN.length === 0) say(`${round + 1} of ${rounds} rounds`)
  }
  await traffic.end()
  const lookedAt = await kept.look('all', must)
  const auditRows = await mustBeIntact(cluster, must)
  mustHold(traffic.oracle, must)
  must(whileCut.questions > 0, 'nothing was asked of a node that was cut off')
  return result({
    rounds,
    ways: BROKEN,
    whileCut,
    keptStops: { ...kept.counts, lookedAt, onNodes: nodes.length },
    auditRows,
    recoveryMs: recovery.figures(),
    traffic: figuresOf(traffic.oracle),
  })
}
