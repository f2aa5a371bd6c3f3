import { setTimeout as delay } from 'node:timers/promises'

import { randomFrom } from '../fixtures/random.ts'
import type { Node } from './cluster.ts'
import { createKeptStops } from './kept-stops.ts'
import type { ProofOptions } from './prove-reads.ts'
import { createRecovery } from './recovery.ts'
import { begin, figuresOf, mustHold, type ProofResult } from './result.ts'
import { BESIDE, registerAll, startTraffic, type Traffic } from './traffic.ts'

const FROZEN = ['node', 'postgres', 'both'] as const
const QUESTIONS = 20
const STOPS = 20

/**
 * G1: a node, its Postgres, or both stand still, and go on after a while in the middle of what they did. Questions that
 * were on their way at a stop, and such as were sent after its ack, are answered then: none of the latter is allowed.
 */
export async function proveFrozen(
  options: ProofOptions & { readonly rounds: number; readonly frozenMs: number },
): Promise<ProofResult> {
  const { cluster, seed, rounds, frozenMs, say = () => {} } = options
  const { nodes, postgres } = cluster
  const { must, result } = begin('frozen', seed)
  const random = randomFrom(seed)
  const name = `frozen-${seed}`
  const kept = createKeptStops(cluster, name, seed)
  const recovery = await createRecovery(cluster, name, must)
  await using traffic = await startTraffic({ cluster, name, seed, ...BESIDE })
  const late = { questions: 0, codes: {} as Record<string, number> }

  for (let round = 0; round < rounds; round++) {
    const what = FROZEN[round % FROZEN.length] as (typeof FROZEN)[number]
    const frozen = random.pick(nodes)
    const others = nodes.filter((node) => node !== frozen)
    const deviceId = `nodes:stopped:${name}:${round}`
    await registerAll(cluster, [deviceId])
    await kept.prepare(STOPS)
    const before = askMany(traffic, frozen, deviceId)
    // In the middle of what it does.
    await delay(random.int(5))
    if (what !== 'postgres') frozen.freeze()
    if (what === 'node') await traffic.stop(deviceId, others)
    if (what !== 'node') postgres.freeze()
    const after = askMany(traffic, frozen, deviceId)
    const stops = kept.stopSome(STOPS)
    // Without Postgres it is acked at the earliest when that goes on.
    const stopped = what === 'node' ? undefined : traffic.stop(deviceId, others)
    await delay(frozenMs)
    const [first, second] = random.shuffled([frozen.thaw, postgres.thaw])
    first?.()
    await delay(random.int(50))
    second?.()
    await stopped
    const last = askMany(traffic, frozen, deviceId)
    for (const code of await Promise.all([before, after, last].flat())) {
      late.questions += 1
      late.codes[code] = (late.codes[code] ?? 0) + 1
    }
    await recovery.wait(nodes)
    await stops
    await kept.look('latest', must)
    say(`${round + 1} of ${rounds} rounds: ${what}, ${frozenMs} ms`)
  }
  await traffic.end()
  const lookedAt = await kept.look('all', must)
  mustHold(traffic.oracle, must)
  return result({
    rounds,
    frozenMs,
    lateQuestions: late,
    keptStops: { ...kept.counts, lookedAt, onNodes: nodes.length },
    recoveryMs: recovery.figures(),
    traffic: figuresOf(traffic.oracle),
  })
}

/** They wait for as long as it takes, and are judged when they are answered. */
function askMany(traffic: Traffic, node: Node, deviceId: string): Promise<string>[] {
  return Array.from({ length: QUESTIONS }, () =>
    traffic.askPatiently(node, [deviceId]).catch(() => 'no answer'),
  )
}
