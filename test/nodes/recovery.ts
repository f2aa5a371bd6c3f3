import { setTimeout as delay } from 'node:timers/promises'

import { PATHS } from '../../src/machineid/paths.ts'
import { quantile } from '../bench/processes.ts'
import type { Cluster, Node } from './cluster.ts'
import { registerAll } from './traffic.ts'
import { rounded, type Running } from './result.ts'

/** Waits until nodes that could not ask their Postgres can again, and measures how long that takes. */
export interface Recovery {
  /** Since now, until each of these nodes allows what nobody has stopped, and acks a stop. Nothing is started anew. */
  readonly wait: (nodes: readonly Node[]) => Promise<void>
  readonly figures: () => { readonly p50: number; readonly p99: number; readonly max: number }
  /** How often what nobody has stopped is allowed by this node now. */
  readonly allows: (node: Node) => Promise<boolean>
}

const WITHIN_MS = 20_000
const EVERY_MS = 10

export async function createRecovery(
  cluster: Cluster,
  name: string,
  must: Running['must'],
): Promise<Recovery> {
  const free = `nodes:free:${name}:0`
  const stopped = `nodes:free:${name}:1`
  await registerAll(cluster, [free, stopped])
  const pids = cluster.nodes.map(({ pid }) => pid)
  const times: number[] = []
  const allows = async (node: Node) => {
    const { status, body } = await node.ask([free]).catch(() => ({ status: 0, body: undefined }))
    return status === 200 && (body as { decisions: { allowed: boolean }[] }).decisions[0]?.allowed === true
  }
  const acks = async (node: Node) => {
    const answer = await node.operate(PATHS.revoke, { deviceId: stopped }, 'stop').catch(() => undefined)
    return answer?.status === 200
  }
  const waitFor = async (node: Node, startMs: number) => {
    for (const works of [allows, acks]) {
      while (!(await works(node))) {
        if (performance.now() > startMs + WITHIN_MS) {
          must(false, `node ${node.index} does not recover by itself:\n${node.printed().slice(-2000)}`)
          return
        }
        await delay(EVERY_MS)
      }
    }
    times.push(performance.now() - startMs)
  }
  return {
    allows,
    wait: async (nodes) => {
      const startMs = performance.now()
      await Promise.all(nodes.map((node) => waitFor(node, startMs)))
      for (const node of nodes) {
        must(
          node.isAlive() && node.pid === pids[node.index],
          `node ${node.index} has ended:\n${node.printed()}`,
        )
      }
    },
    figures: () => ({
      p50: rounded(quantile(times, 0.5)),
      p99: rounded(quantile(times, 0.99)),
      max: rounded(quantile(times, 1)),
    }),
  }
}
