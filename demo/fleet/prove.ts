import { count } from '../../src/cli/plural.ts'
import { PLAN_LIMITS } from '../../src/machineid/wire.ts'
import type { StartedUp } from './child.ts'
import type { Control, Org } from './control.ts'
import { startProcesses, type Processes } from './processes.ts'
import { machineMs } from './remote.ts'
import type { Check, StopResult, TopologyResult } from './result.ts'
import { instances, rollOut, scaleIn, usedOf } from './scale.ts'
import { allStarted, lookUntil, proveStop, stopsOf } from './stop.ts'
import { devicesOf, type ReplicaSpec, type Topology } from './topology.ts'

/** Told while it goes on. */
export interface Told {
  readonly check: (check: Check) => void
  readonly stop: (stop: StopResult) => void
  /** What it is at, for whoever waits. */
  readonly progress: (text: string) => void
}

interface Proof {
  readonly topology: Topology
  readonly org: Org
  readonly processes: Processes
  readonly told: Told
  /** Runs one check; a throw is an outcome too. */
  readonly check: (check: string, run: () => Promise<Omit<Check, 'check' | 'tookMs'>>) => Promise<void>
}

const WORKS_WITHIN_MS = 60_000
const PROGRESS_EVERY_MS = 1000

/** One topology against an org of its own: fills its plan, works, is stopped in three ways, and goes on each time. */
export async function prove(
  topology: Topology,
  { control, told, forgets }: { readonly control: Control; readonly told: Told; readonly forgets: boolean },
): Promise<TopologyResult> {
  const startedMs = machineMs()
  const { name, about, plan, replicas, processes: processCount, paceMs } = topology
  const org = await control.createOrg(topology)
  const alone = processCount === replicas.length
  const processes = startProcesses(processCount, {
    url: org.url,
    key: org.runtimeKey,
    paceMs,
    forgets,
    alone,
  })
  const checks: Check[] = []
  const stops: StopResult[] = []
  const check: Proof['check'] = async (what, run) => {
    const beganMs = machineMs()
    const seen = await run().catch((error: unknown) => ({ ok: false, seen: String(error) }))
    const done = { check: what, ...seen, tookMs: machineMs() - beganMs }
    checks.push(done)
    told.check(done)
  }
  const proof: Proof = { topology, org, processes, told, check }
  try {
    const working = await fill(proof)
    for (const stop of stopsOf(topology, org)) {
      told.progress(`${stop.action} ${stop.pattern}`)
      const stopped = await proveStop(stop, { processes, paceMs, deviceIds: devicesOf(working) })
      stops.push(stopped)
      told.stop(stopped)
    }
    await countOnce(proof, working)
  } finally {
    await processes.close()
  }
  return {
    topology: name,
    about,
    plan,
    limit: PLAN_LIMITS[plan],
    replicas: replicas.length,
    processes: processCount,
    checks,
    stops,
    tookMs: machineMs() - startedMs,
    ok: [...checks, ...stops].every(({ ok }) => ok),
  }
}

/** Until every slot of the plan is taken, and everything works. Gives the replicas that work then. */
async function fill(proof: Proof): Promise<readonly ReplicaSpec[]> {
  const { topology, org, processes, check } = proof
  const { replicas, scaling, tooMany } = topology
  const limit = PLAN_LIMITS[topology.plan]
  const joining = scaling?.by ?? 0
  const first = replicas.slice(0, replicas.length - joining)
  await check('startup', async () => {
    const started = await withProgress(proof, first)
    const { used } = await usedOf(org)
    return {
      ok: allAllowed(started) && used === limit - joining,
      seen: `${count(started.length, 'replica')} registered, validated and began; ${used} of ${limit} slots used`,
    }
  })
  if (scaling !== undefined) {
    await check('scale out', async () => {
      const started = await withProgress(proof, replicas.slice(first.length))
      const { used } = await usedOf(org)
      return {
        ok: allAllowed(started) && used === limit,
        seen: `${joining} more joined; ${used} of ${limit} slots used`,
      }
    })
  }
  await check('cap', async () => {
    const [refused] = await processes.start([tooMany])
    const { used } = await usedOf(org)
    return {
      ok: refused?.code === LIMIT_REACHED && used === limit,
      seen: `${used} of ${limit}; ${tooMany.deviceId} is refused ${refused?.code} and starts nothing`,
    }
  })
  await check('work', () => allWork(proof))
  return scaling === undefined ? replicas : scale(proof, scaling)
}

async function scale(
  { topology, org, processes, check, told }: Proof,
  scaling: NonNullable<Topology['scaling']>,
) {
  const { replicas } = topology
  const limit = PLAN_LIMITS[topology.plan]
  const { by } = scaling
  const leaving = replicas.slice(-by)
  const staying = replicas.slice(0, -by)
  const newcomers = instances(scaling, replicas.length + 1, by)
  const rolled = staying.slice(0, by)
  await check('scale in', async () => {
    told.progress(`${by} replicas leave`)
    await scaleIn(leaving, processes, org)
    const { used } = await usedOf(org)
    const [back] = await processes.start(leaving.slice(0, 1))
    return {
      ok: used === limit - by && back?.code === REMOVED,
      seen: `${by} left and were removed; ${used} of ${limit} slots used; one that comes back by itself is refused ${back?.code}`,
    }
  })
  await check('scale out again', async () => {
    const started = await processes.start(newcomers)
    const { used } = await usedOf(org)
    return {
      ok: allAllowed(started) && used === limit,
      seen: `${by} newcomers took the freed slots; ${used} of ${limit} slots used`,
    }
  })
  await check('rollout', async () => {
    told.progress(`${by} replicas are rolled out`)
    const started = await rollOut(rolled, processes)
    const { used } = await usedOf(org)
    return {
      ok: allAllowed(started) && used === limit,
      seen: `${by} were replaced under their own instance numbers; still ${used} of ${limit} slots used`,
    }
  })
  return [...staying, ...newcomers]
}

async function allWork({ processes, topology, told }: Proof) {
  told.progress('waiting for each lane of each replica')
  const sinceMs = machineMs()
  const { hit } = await lookUntil(
    () => processes.look({ pattern: '*', sinceMs }),
    (seen) => allStarted(seen.hit),
    { paceMs: topology.paceMs, withinMs: WORKS_WITHIN_MS },
  )
  return {
    ok: hit.entries > 0 && allStarted(hit),
    seen: `${hit.started} of ${hit.entries} hold points let work start`,
  }
}

/** What has happened by the end, after everybody has left in good order. */
async function countOnce(
  { topology, processes, check, told }: Proof,
  working: readonly ReplicaSpec[],
): Promise<void> {
  const has = (gate: string) =>
    topology.replicas.some(({ lanes }) => lanes.some((lane) => lane.gate === gate))
  const retries = !has('agent')
  await check('once', async () => {
    told.progress('every replica ends in good order')
    await processes.end(working.map(({ deviceId }) => deviceId))
    const { effects, twice, unknown, retried, replayed, resumed } = await processes.counts()
    const parts = [
      `${effects} effects`,
      ...(retries
        ? [`${retried} units tried again`, `${replayed} effects replayed instead of repeated`]
        : []),
      ...(has('resume') ? [`${resumed} delayed units resumed`] : []),
      `${twice} happened twice`,
      `${unknown} unknown`,
    ]
    return {
      ok:
        effects > 0 &&
        twice === 0 &&
        unknown === 0 &&
        (!retries || replayed > 0) &&
        (!has('resume') || resumed > 0),
      seen: parts.join(', '),
    }
  })
}

async function withProgress(
  { processes, told }: Proof,
  specs: readonly ReplicaSpec[],
): Promise<readonly StartedUp[]> {
  const before = await processes.working()
  const timer = setInterval(() => {
    void processes
      .working()
      .then((now) => told.progress(`${now - before} of ${specs.length} replicas started`))
  }, PROGRESS_EVERY_MS)
  try {
    return await processes.start(specs)
  } finally {
    clearInterval(timer)
  }
}

const LIMIT_REACHED = 'DEVICE_LIMIT_REACHED'
const REMOVED = 'DEVICE_REMOVED'
const allAllowed = (started: readonly StartedUp[]) => started.every(({ allowed }) => allowed)
