import type { Guard } from 'holdpoint'
import type { Book } from './book.ts'
import { agentLane } from './lanes/agent.ts'
import { commitLane } from './lanes/commit.ts'
import { consumerLane } from './lanes/consumer.ts'
import { forgottenLane } from './lanes/forgotten.ts'
import { jobLane } from './lanes/job.ts'
import type { Lane } from './lanes/lane.ts'
import { loopLane } from './lanes/loop.ts'
import { resumeLane } from './lanes/resume.ts'
import { toolLane } from './lanes/tool.ts'
import type { Sink } from './sink.ts'
import { startUp, type StartupOptions } from './startup.ts'
import type { LaneSpec, ReplicaSpec } from './topology.ts'

/** What the replicas of one process share. */
export interface Surroundings extends StartupOptions {
  readonly paceMs: number
  readonly book: Book
  readonly sink: Sink
  /** Its replicas also do something that nobody thought of guarding. */
  readonly forgets: boolean
}

/** Where `allowed` is false, nothing has begun. */
export interface Replica {
  readonly allowed: boolean
  readonly code: string
  readonly close: () => Promise<void>
}

const LANES: Readonly<Record<LaneSpec['gate'], Lane>> = {
  consumer: consumerLane,
  loop: loopLane,
  job: jobLane,
  tool: toolLane,
  commit: commitLane,
  agent: agentLane,
  resume: resumeLane,
}

/** Registers, validates, and works only when that was allowed. */
export async function startReplica(spec: ReplicaSpec, around: Surroundings): Promise<Replica> {
  const { guard, code, close } = await startUp(spec, around)
  if (guard === undefined) return { allowed: false, code, close }
  const end = work(spec, guard, around)
  return {
    allowed: true,
    code,
    close: async () => {
      await Promise.all([end(), close()])
    },
  }
}

function work({ deviceId, lanes }: ReplicaSpec, guard: Guard, around: Surroundings): () => Promise<unknown> {
  const { book, sink, paceMs, forgets } = around
  const replica = book.replica(deviceId)
  replica.watch(guard)
  const leaving = new AbortController()
  const working = lanes.flatMap((lane) => {
    // Each of its surfaces has its turn about every `paceMs`.
    const turnMs = paceMs / (lane.on?.length ?? 1)
    const shared = { guard, spec: lane, replica, sink, paceMs: turnMs, leaving: leaving.signal }
    const context = { ...shared, book: replica.lane(lane.name) }
    return [LANES[lane.gate], ...(forgets ? [forgottenLane] : [])].map((begin) => begin(context))
  })
  return async () => {
    leaving.abort()
    replica.leaves()
    await Promise.all(working)
  }
}
