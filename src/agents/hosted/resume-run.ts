import { AgentsError, type Agent, type AgentOutputType } from '@openai/agents'
import { messageOf } from '../../errors.ts'
import { refusalOf } from '../../guard/refusal.ts'
import { refusalBody } from '../model-text.ts'
import { gateResume } from '../resume-gate.ts'
import type { RefusalBody } from '../tool-answer.ts'
import { adoptVerdicts } from './desk.ts'
import { drainOn, withClaim, type Claim, type Execution } from './execution.ts'
import { hostedAgent, requireRoom, visibleRun, type Host } from './host.ts'
import { RUN_LEASE_MS } from './lease.ts'
import { contextOf, observerOf, runPart } from './run-part.ts'
import type { Claimed } from './run-store.ts'
import { RunRefused, type ResumeRun, type RunCaller, type RunView } from './run-types.ts'
import { requireSameContext } from './same-context.ts'
import { requireReadableVersion } from './state-version.ts'
import { applyStored } from './stored-approvals.ts'

/**
 * Load, claim, ask, open, apply the stored approvals, run: in this order. Before the authority has allowed it nothing
 * is opened, and whatever keeps it from running leaves the run as it was.
 */
export async function resumeRun(host: Host, who: RunCaller, request: ResumeRun): Promise<RunView> {
  const { runId } = request
  await visibleRun(host, who, runId)
  requireRoom(host)
  await adoptVerdicts(host, runId)
  const claim = claimed(runId, await host.store.claim(runId, RUN_LEASE_MS))
  host.guard.reach('run.claimed')
  return withClaim(host, claim, request, (execution) => passGate(host, claim, execution, request))
}

async function passGate(
  host: Host,
  claim: Claim,
  execution: Execution,
  { runId, context }: ResumeRun,
): Promise<RunView> {
  const { guard } = host
  guard.observe(observerOf(host))
  let isRunning = false
  try {
    const outcome = await gateResume(
      guard,
      { runId, signal: execution.signal },
      () => opened(host, claim, context),
      async (state, { work, decision: allowed }) => {
        const hosted = hostedAgent(host, claim.run.agent)
        const waited = await applyStored(host, hosted, runId, state)
        guard.reach('run.approvals_applied')
        drainOn(host, execution, work)
        execution.steps.emit({ type: 'run_resumed', runId })
        isRunning = true
        return runPart(host, claim, execution, { hosted, input: state, context, waited, allowed })
      },
    )
    if (outcome.allowed) return outcome.value
    throw await denied(host, claim, refusalBody(refusalOf(outcome.decision), { onDenied: 'stop' }))
  } catch (thrown) {
    if (isRunning || isDenial(thrown)) throw thrown
    await host.store.release(claim.token, {})
    throw notOpened(host, claim, thrown)
  }
}

function isDenial(thrown: unknown): boolean {
  return thrown instanceof RunRefused && thrown.code === 'RESUME_DENIED'
}

async function opened(host: Host, { run }: Claim, context: unknown) {
  const { runId, version, state } = run
  const hosted = hostedAgent(host, run.agent)
  if (state === undefined) throw nothingToGoOnFrom(runId)
  requireSameContext(host, hosted, run, context)
  const text = host.seal.open({ purpose: 'state', runId, version }, state)
  await requireReadableVersion(runId, text)
  const agent = hosted.agent as Agent<unknown, AgentOutputType>
  return { agent, text, context: ownContext(host, { hosted, run, context }) }
}

/** What the app throws may hold anything: that is for the log. */
function ownContext({ log }: Host, at: Parameters<typeof contextOf>[0]): unknown {
  try {
    return contextOf(at)
  } catch (cause) {
    const { runId, agent } = at.run
    log.error({ run_id: runId, agent, err: messageOf(cause) }, 'the context function of an agent failed')
    throw new RunRefused(
      'CONTEXT_FAILED',
      `The context function of agent "${agent}" failed. The error was logged, and run ${runId} is as it was.`,
      { cause },
    )
  }
}

async function denied(host: Host, { run, token }: Claim, denial: RefusalBody): Promise<RunRefused> {
  // Whoever gave up is not why the run waits.
  const why = denial.code === 'CALL_ABORTED' ? {} : { denial }
  await host.store.release(token, why)
  return new RunRefused(
    'RESUME_DENIED',
    `Run ${run.runId} was not resumed: ${denial.code} for ${denial.device_id} (request ${denial.request_id}). ` +
      `It is as it was. See why: holdpoint explain ${denial.request_id}`,
    { denial },
  )
}

function notOpened({ log }: Host, { run }: Claim, thrown: unknown): unknown {
  const { runId } = run
  log.error({ run_id: runId, err: messageOf(thrown) }, 'a run could not be resumed')
  if (!(thrown instanceof Error) || thrown instanceof RunRefused) return thrown
  // What the SDK, its schemas or JSON have against it. What the store throws is thrown as it is.
  const isAboutState =
    thrown instanceof AgentsError || thrown instanceof SyntaxError || thrown.name === 'ZodError'
  if (!isAboutState) return thrown
  return new RunRefused(
    'RUN_STATE_REFUSED',
    `The state of run ${runId} does not fit its agent any more: ${messageOf(thrown)} ` +
      'Host the agent with the tools that it had, then resume it again.',
    { cause: thrown },
  )
}

function nothingToGoOnFrom(runId: string): RunRefused {
  return new RunRefused('RUN_NOT_RESUMABLE', `Run ${runId} has nothing to go on from. Start a new one.`)
}

function claimed(runId: string, answer: Claimed | undefined): Claim {
  if (answer === undefined) throw new RunRefused('RUN_NOT_FOUND', `There is no run ${runId}.`)
  if (answer.claimed) return answer
  if (answer.why === 'running')
    throw new RunRefused('RUN_BUSY', `Run ${runId} is running already. Follow it, or wait until it pauses.`)
  const { status } = answer.run
  if (status === 'completed' || status === 'cancelled')
    throw new RunRefused('RUN_ENDED', `Run ${runId} has ended: ${status}. Start a new one.`)
  if (status === 'queued')
    throw new RunRefused('RUN_NOT_RESUMABLE', `Run ${runId} waits to begin. It will be picked up by itself.`)
  throw nothingToGoOnFrom(runId)
}
