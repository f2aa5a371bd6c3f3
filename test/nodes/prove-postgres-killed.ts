import { setTimeout as delay } from 'node:timers/promises'

import { randomFrom } from '../fixtures/random.ts'
import { mustBeIntact } from './chain.ts'
import { createKeptStops } from './kept-stops.ts'
import type { ProofOptions } from './prove-reads.ts'
import { createRecovery } from './recovery.ts'
import { begin, figuresOf, mustHold, type ProofResult } from './result.ts'
import { BESIDE, startTraffic } from './traffic.ts'

const STOPS = 24
/** What SIGKILL has reached answers nothing any more. */
const DEAD_AFTER_MS = 50

/**
 * G4, G5: Postgres is killed at any instant while it is asked, changed and stops are acked. Until it is back everything
 * is denied; then every node goes on by itself, and every stop that was acked is seen on all of them.
 */
export async function provePostgresKilled(
  options: ProofOptions & { readonly rounds: number },
): Promise<ProofResult> {
  const { cluster, seed, rounds, say = () => {} } = options
  const { nodes, postgres } = cluster
  const { must, result } = begin('postgres-killed', seed)
  const random = randomFrom(seed)
  const name = `killed-${seed}`
  const kept = createKeptStops(cluster, name, seed)
  const recovery = await createRecovery(cluster, name, must)
  await using traffic = await startTraffic({ cluster, name, seed, ...BESIDE })
  let askedDuringOutage = 0

  for (let round = 1; round <= rounds; round++) {
    await kept.prepare(STOPS)
    const stops = kept.stopSome(STOPS)
    const killedAfter = kept.counts.acked + random.int(STOPS)
    await Promise.race([stops, kept.acked(killedAfter)])
    postgres.kill()
    await delay(DEAD_AFTER_MS)
    const endMs = performance.now() + random.int(200)
    do {
      const allowed = await Promise.all(nodes.map((node) => recovery.allows(node)))
      askedDuringOutage += nodes.length
      must(!allowed.includes(true), `round ${round}: allowed while there was no Postgres`)
    } while (performance.now() < endMs)
    await postgres.start()
    await recovery.wait(nodes)
    await stops
    await kept.look('latest', must)
    if (round % 10 === 0) say(`${round} of ${rounds} rounds, ${kept.counts.acked} stops acked`)
  }
  await traffic.end()
  const lookedAt = await kept.look('all', must)
  const auditRows = await mustBeIntact(cluster, must)
  mustHold(traffic.oracle, must)
  must(Object.keys(kept.counts.notAcked).length > 0 || rounds < 5, 'no stop met an outage')
  return result({
    rounds,
    keptStops: { ...kept.counts, lookedAt, onNodes: nodes.length },
    askedDuringOutage,
    auditRows,
    recoveryMs: recovery.figures(),
    traffic: figuresOf(traffic.oracle),
  })
}
