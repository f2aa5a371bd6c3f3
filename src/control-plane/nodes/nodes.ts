import { hostname } from 'node:os'

import { HoldpointError, messageOf } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { NodeRegistry } from './node-store.ts'

/** How many nodes there are, and then 1 while the store cannot be asked, else 0. Every thread of this process reads it here. */
export type NodeCount = Int32Array<SharedArrayBuffer>

/** Why `/readyz` says no: a balancer has others to ask. Heals by itself, unlike `problem` of a store. */
export function storeAway(counted: NodeCount): HoldpointError | undefined {
  return Atomics.load(counted, 1) === 0 ? undefined : AWAY
}

const AWAY = new HoldpointError('STORE_UNREACHABLE', 'This node cannot ask its store; its log says why.')

export interface Nodes {
  /** At least one: this one. What it knew stays while the store cannot be asked. */
  readonly count: () => number
  readonly counted: NodeCount
  /** Every two seconds from now on. */
  readonly start: () => void
  /** At once. Never rejects. */
  readonly beat: () => Promise<void>
  /** Says good-bye. Never rejects. */
  readonly close: () => Promise<void>
}

const EVERY_MS = 2000

/** This node's place among all. Without a registry it is the only one. */
export function createNodes(options: {
  readonly registry: NodeRegistry | undefined
  readonly version: string
  readonly log: Logger
}): Nodes {
  const { registry, version, log } = options
  const counted: NodeCount = new Int32Array(new SharedArrayBuffer(8))
  Atomics.store(counted, 0, 1)
  const node = { host: hostname(), pid: process.pid, version }
  let timer: NodeJS.Timeout | undefined
  let beating = Promise.resolve()
  let isClosed = false

  const beatOnce = async () => {
    if (registry === undefined || isClosed) return
    try {
      const living = await registry.heartbeat(node)
      const before = Atomics.exchange(counted, 0, Math.max(1, living.length))
      if (before !== living.length) log.info({ nodes: living.length }, 'nodes that share the store')
      Atomics.store(counted, 1, 0)
    } catch (error) {
      const wasAway = Atomics.exchange(counted, 1, 1) === 1
      if (!wasAway) log.warn({ reason: messageOf(error) }, 'other nodes cannot be told that this one lives')
    }
  }
  const beat = () => (beating = beating.then(beatOnce))
  const again = () => {
    if (!isClosed) timer = setTimeout(() => void beat().then(again), EVERY_MS).unref()
  }

  return {
    count: () => Atomics.load(counted, 0),
    counted,
    start: () => {
      if (registry === undefined || timer !== undefined) return
      void beat()
      again()
    },
    beat,
    close: async () => {
      isClosed = true
      clearTimeout(timer)
      await beating
      try {
        await registry?.leaveNodes()
      } catch {
        // It counts as dead soon.
      }
    },
  }
}
