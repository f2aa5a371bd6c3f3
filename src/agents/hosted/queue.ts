import type { AgentInputItem } from '@openai/agents'
import { messageOf } from '../../errors.ts'
import type { Allowed } from '../../guard/decision.ts'
import { refusalOf } from '../../guard/refusal.ts'
import { SERVER_SURFACE } from '../../guard/surface.ts'
import { jittered } from '../../jitter.ts'
import { createOutage } from '../../outage.ts'
import { refusalBody } from '../model-text.ts'
import { gateRun } from '../run-gate.ts'
import { drainOn, withClaim, type Claim, type Execution } from './execution.ts'
import { hostedAgent, type Host } from './host.ts'
import { RUN_LEASE_MS } from './lease.ts'
import { beginRun, observerOf } from './run-part.ts'
import { RunRefused, type RunView } from './run-types.ts'
import { tellOfRunLater } from './run-watcher.ts'
import { saveRun } from './save-run.ts'
import { viewOf } from './views.ts'

const LOOK_EVERY_MS = 1_000
const SWEEP_EVERY_MS = 10_000
const RETRY_MS = 10_000
const RETRY_AT_MOST_MS = 60_000

export interface Queue {
  /** Looks now whether a run can be picked. */
  readonly nudge: () => void
  /** Looks again and again, and for lost runs too. */
  readonly begin: () => void
  /** Picks nothing more. Resolves when no look is under way. */
  readonly end: () => Promise<void>
}

/** Picks queued runs while there is room: each asks at `task` first, and waits on when it is denied. */
export function createQueue(host: Host): Queue {
  const denials = new Map<string, number>()
  const outage = createOutage(host.log, 'queued runs cannot be looked for')
  const stops: (() => void)[] = []
  let hasBegun = false
  let looking: Promise<void> | undefined
  let lookAgain = false

  async function look(): Promise<void> {
    try {
      while (hasBegun && !host.closing && host.executions.size < host.maxConcurrentRuns) {
        const claim = await host.store.claimQueued(RUN_LEASE_MS)
        outage.worked()
        if (claim === undefined) return
        host.guard.reach('run.claimed')
        void pick(claim)
      }
    } catch (cause) {
      outage.failed(cause)
    }
  }

  async function pick(claim: Claim): Promise<void> {
    const { runId } = claim.run
    try {
      await withClaim(host, claim, {}, (execution) => askAndRun(claim, execution))
    } catch (cause) {
      host.log.error({ run_id: runId, err: messageOf(cause) }, 'a queued run could not be run')
    }
    nudge()
  }

  async function askAndRun(claim: Claim, execution: Execution): Promise<RunView> {
    const { guard, store } = host
    const { runId } = claim.run
    guard.observe(observerOf(host))
    const at = {
      surface: guard.surface(SERVER_SURFACE),
      boundary: 'task',
      runId,
      signal: execution.signal,
    } as const
    const outcome = await gateRun(guard, at, async ({ work, decision }) => {
      guard.reach('run.picked')
      drainOn(host, execution, work)
      return { allowed: true, value: await runQueued(host, claim, execution, decision), decision }
    })
    if (outcome.allowed) {
      denials.delete(runId)
      return outcome.value
    }
    const denial = refusalBody(refusalOf(outcome.decision), { onDenied: 'stop' })
    await store.release(claim.token, { denial, retryInMs: retryInMs(runId) })
    return viewOf(host, (await store.find(runId)) ?? claim.run)
  }

  function retryInMs(runId: string): number {
    const earlier = denials.get(runId) ?? 0
    denials.set(runId, earlier + 1)
    return Math.round(jittered(Math.min(RETRY_AT_MOST_MS, RETRY_MS * 2 ** earlier)))
  }

  function nudge(): void {
    if (!hasBegun || host.closing) return
    if (looking !== undefined) {
      // What was queued since it looked must not wait for the next time.
      lookAgain = true
      return
    }
    looking = look().finally(() => {
      looking = undefined
      if (!lookAgain) return
      lookAgain = false
      nudge()
    })
  }

  return {
    nudge,
    begin: () => {
      if (hasBegun) return
      hasBegun = true
      stops.push(host.every(LOOK_EVERY_MS, nudge))
      stops.push(host.every(SWEEP_EVERY_MS, () => void sweep(host)))
      void sweep(host)
      nudge()
    },
    end: async () => {
      hasBegun = false
      for (const stop of stops.splice(0)) stop()
      await looking
    },
  }
}

/** Runs whose process died go back to their last saved state, or are lost (R3). */
export async function sweep(host: Host): Promise<readonly string[]> {
  const { store, log, executions } = host
  try {
    await Promise.all([...executions].map(({ lease }) => lease.renewIfOld()))
    const lost = await store.sweepLost()
    if (lost.length > 0) log.warn({ run_ids: lost }, 'runs had lost their process')
    for (const runId of lost) tellOfRunLater(host, runId)
    return lost
  } catch (cause) {
    log.error({ err: messageOf(cause) }, 'lost runs cannot be looked for')
    return []
  }
}

async function runQueued(host: Host, claim: Claim, execution: Execution, allowed: Allowed): Promise<RunView> {
  const { run, token } = claim
  let input: string | AgentInputItem[]
  try {
    const hosted = hostedAgent(host, run.agent)
    input = openInput(host, claim)
    if (!(await host.store.markStarted(token))) execution.end('lost')
    return await beginRun(host, claim, execution, { hosted, input, context: undefined, allowed })
  } catch (thrown) {
    if (!(thrown instanceof RunRefused) || !CANNOT_BEGIN.has(thrown.code)) throw thrown
    // It would be picked again and again.
    const problem = { code: thrown.code, message: thrown.message }
    return saveRun(host, claim, execution, { status: 'failed', resumable: false, problem, waiting: [] })
  }
}

const CANNOT_BEGIN = new Set<string>(['AGENT_NOT_FOUND', 'RUN_STATE_REFUSED'])

function openInput({ seal }: Host, { run: { runId, state } }: Claim): string | AgentInputItem[] {
  if (state === undefined) throw new RunRefused('RUN_STATE_REFUSED', `Run ${runId} has no input any more.`)
  return JSON.parse(seal.open({ purpose: 'input', runId }, state)) as string | AgentInputItem[]
}
