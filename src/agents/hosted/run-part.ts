import type { AgentInputItem, Agent, AgentOutputType, RunState, RunStreamEvent } from '@openai/agents'
import type { Allowed } from '../../guard/decision.ts'
import type { QuestionObserver } from '../../guard/guard.ts'
import { drive } from '../run-agent.ts'
import { currentSession } from '../session.ts'
import type { Claim, Execution } from './execution.ts'
import type { Host } from './host.ts'
import { executionOf } from './host.ts'
import type { HostedAgent } from './hosted-agent.ts'
import { hostedSession } from './hosted-session.ts'
import { endOf, failedEnd } from './run-end.ts'
import type { RunView } from './run-types.ts'
import { contextDigestOf } from './same-context.ts'
import { saveRun } from './save-run.ts'
import { tellOfEvent } from './sdk-steps.ts'

type AnyAgent = Agent<unknown, AgentOutputType>

/** From a start, or from a pause, to the next pause or the end. */
export interface RunPart {
  readonly hosted: HostedAgent
  readonly input: string | AgentInputItem[] | RunState<unknown, AnyAgent>
  readonly context: unknown
  /** The calls that waited in a saved state and go on. Undefined at the start of a run, when there is no such state. */
  readonly waited?: ReadonlySet<string> | undefined
  /** The allow under which it begins or goes on, where it was asked for before its first model call. */
  readonly allowed?: Allowed | undefined
}

/** What this run's agent gets as its context. */
export function contextOf({
  hosted,
  run,
  context,
}: {
  readonly hosted: HostedAgent
  readonly run: Claim['run']
  readonly context: unknown
}): unknown {
  const { caller, runId } = run
  return hosted.context === undefined ? context : hosted.context({ caller, runId, context })
}

/** The first part of a run. What its caller brought becomes its context; where that fails, so does the run. */
export async function beginRun(
  host: Host,
  claim: Claim,
  execution: Execution,
  part: RunPart,
): Promise<RunView> {
  execution.steps.emit({ type: 'run_started', runId: execution.runId })
  let context: unknown
  try {
    context = contextOf({ ...part, run: claim.run })
  } catch (thrown) {
    return saveRun(host, claim, execution, failedEnd(thrown))
  }
  return runPart(host, claim, execution, { ...part, context })
}

/** Runs it and saves how it paused or ended. Rejects only when that could not be stored. */
export async function runPart(
  host: Host,
  claim: Claim,
  execution: Execution,
  { hosted, input, context, waited, allowed }: RunPart,
): Promise<RunView> {
  const { runId, caller } = claim.run
  host.guard.observe(observerOf(host))
  execution.contextDigest = contextDigestOf(host, hosted, { runId, context })
  const asked = await host.store.approvalsOf(runId)
  for (const { tool, callId } of asked) execution.steps.markSeen('tool_called', tool, callId)
  const driven = await drive(host.guard, hosted.agent as AnyAgent, input, {
    runId,
    caller,
    context,
    signal: execution.signal,
    allowed,
    hosted: hostedSession(host, execution, { hosted, asked, waited }),
    // It streams also where nobody listens: only so there is a state when a run is denied or fails.
    onEvent: (event: RunStreamEvent) => tellOfEvent(execution, event),
    ...(hosted.maxTurns === undefined ? {} : { maxTurns: hosted.maxTurns }),
    ...(hosted.runner === undefined ? {} : { runner: hosted.runner }),
  })
  return saveRun(host, claim, execution, endOf(driven, execution))
}

const observers = new WeakMap<Host, QuestionObserver>()

/** Each question of a run becomes a step of it. A direct call that names a run of somebody else does not. */
export function observerOf(host: Host): QuestionObserver {
  const known = observers.get(host)
  if (known !== undefined) return known
  const observer: QuestionObserver = (at, verdict) => {
    const isOwn = currentSession()?.hosted !== undefined || (at.boundary !== 'tool' && at.tool === undefined)
    if (isOwn && at.runId !== undefined) executionOf(host, at.runId)?.held(at, verdict)
  }
  observers.set(host, observer)
  return observer
}
