import { setTimeout as delay } from 'node:timers/promises'

import type { Cluster } from './cluster.ts'
import { begin, figuresOf, mustHold, type ProofResult } from './result.ts'
import { startTraffic } from './traffic.ts'

export interface ProofOptions {
  readonly cluster: Cluster
  readonly seed: number
  readonly say?: (text: string) => void
}

const LOOK_MS = 20
const SAY_EVERY = 100_000

/**
 * G1, G6: stopped and restored on one node, asked about on all. While nothing fails no answer is older than what was
 * acked when it was asked for: neither an allow nor a denial.
 */
export async function proveReads(
  options: ProofOptions & { readonly questions: number; readonly cacheMs?: number },
): Promise<ProofResult> {
  const { cluster, seed, questions, say = () => {}, cacheMs } = options
  const { must, result } = begin('reads', seed)
  await using traffic = await startTraffic({
    cluster,
    name: `reads-${seed}`,
    seed,
    operators: 12,
    askers: 12,
    ...(cacheMs === undefined ? {} : { cacheMs }),
  })
  const { counts } = traffic.oracle
  for (let said = 0; counts.questions < questions; await delay(LOOK_MS)) {
    const now = Math.floor(counts.questions / SAY_EVERY)
    if (now > said) say(`${now * SAY_EVERY} questions`)
    said = now
  }
  await traffic.end()
  mustHold(traffic.oracle, must, true)
  for (const { index } of cluster.nodes)
    must((counts.byNode[index] ?? 0) > 0, `node ${index} answered nothing`)
  const failed = Object.entries(counts.codes).filter(([code]) => !EXPECTED.has(code))
  must(failed.length === 0, `nothing was broken, and yet: ${JSON.stringify(failed)}`)
  return result(figuresOf(traffic.oracle))
}

const EXPECTED = new Set(['ALLOW', 'DEVICE_REVOKED'])
