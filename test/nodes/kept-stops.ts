import { PATHS } from '../../src/machineid/paths.ts'
import { randomFrom } from '../fixtures/random.ts'
import type { Cluster, Node } from './cluster.ts'
import { judgedOfHttp, noAnswer, registerAll, whyOf } from './traffic.ts'

/** Devices that are stopped for good, each once: whatever was acked of that must be seen by everybody ever after (G5). */
export interface KeptStops {
  /** New devices, that stopped at once, a few at a time. Resolves when each has an answer or none. */
  readonly stopSome: (count: number) => Promise<void>
  /** What those that were acked since the last look, or ever, are on every node. How many were looked at. */
  readonly look: (
    which: 'latest' | 'all',
    must: (fits: boolean, otherwise: string) => void,
  ) => Promise<number>
  readonly counts: KeptCounts
  /** Resolves once that many stops are acked, of all that ever were. */
  readonly acked: (count: number) => Promise<void>
  /** Registers what the next `stopSome` stops. */
  readonly prepare: (count: number) => Promise<void>
}

export interface KeptCounts {
  asked: number
  acked: number
  /** Answers other than an ack, by status; 0 is none. */
  readonly notAcked: Record<string, number>
}

interface Acked {
  readonly deviceId: string
  readonly epoch: number
}

const AT_ONCE = 4
const IN_ONE_QUESTION = 16

export function createKeptStops(cluster: Cluster, name: string, seed: number): KeptStops {
  const { nodes, keys } = cluster
  const random = randomFrom(seed)
  const counts: KeptCounts = { asked: 0, acked: 0, notAcked: {} }
  const all: Acked[] = []
  let ready: string[] = []
  let looked = 0
  let made = 0
  let waiting: { readonly for: number; readonly resolve: () => void } | undefined

  const stopOne = async (deviceId: string) => {
    counts.asked += 1
    const answer = await random.pick(nodes).operate(PATHS.revoke, { deviceId }, 'stop').catch(noAnswer)
    if (answer.status !== 200) {
      const why = whyOf(answer)
      counts.notAcked[why] = (counts.notAcked[why] ?? 0) + 1
      return
    }
    counts.acked += 1
    all.push({ deviceId, epoch: Number(answer.body.epoch) })
    if (waiting !== undefined && counts.acked >= waiting.for) waiting.resolve()
  }
  const lookAt = async (node: Node, some: readonly Acked[]): Promise<readonly string[]> => {
    const judged = judgedOfHttp(await node.ask(some.map(({ deviceId }) => deviceId)))
    if (typeof judged === 'string') return [`node ${node.index} does not answer: ${judged}`]
    return judged.flatMap(({ deviceId, code, epoch }, index) => {
      const acked = some[index]
      const kept = code === 'DEVICE_REVOKED' && acked !== undefined && (epoch ?? 0) >= acked.epoch
      return kept
        ? []
        : [`lost: ${deviceId}, acked with ${acked?.epoch}, is ${code} ${epoch} on node ${node.index}`]
    })
  }
  return {
    counts,
    acked: (count) =>
      new Promise((resolve) => {
        waiting = { for: count, resolve }
        if (counts.acked >= count) resolve()
      }),
    prepare: async (count) => {
      ready = Array.from({ length: count }, () => `nodes:kept:${name}:${made++}`)
      await registerAll({ nodes, keys }, ready)
    },
    stopSome: async (count) => {
      const some = ready.splice(0, count)
      const one = async () => {
        for (let deviceId = some.pop(); deviceId !== undefined; deviceId = some.pop()) await stopOne(deviceId)
      }
      await Promise.all(Array.from({ length: AT_ONCE }, one))
    },
    look: async (which, must) => {
      const from = which === 'latest' ? looked : 0
      const seen = all.slice(from)
      looked = all.length
      for (let first = 0; first < seen.length; first += IN_ONE_QUESTION) {
        const some = seen.slice(first, first + IN_ONE_QUESTION)
        const problems = await Promise.all(nodes.map((node) => lookAt(node, some)))
        for (const problem of problems.flat()) must(false, problem)
      }
      return seen.length
    },
  }
}
