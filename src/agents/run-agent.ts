import {
  Runner,
  type Agent,
  type AgentInputItem,
  type AgentOutputType,
  type NonStreamRunOptions,
  type RunState,
  type RunStreamEvent,
  type RunToolApprovalItem,
  type TextOutput,
} from '@openai/agents'
import type { Allowed } from '../guard/decision.ts'
import type { Guard } from '../guard/guard.ts'
import { SERVER_SURFACE, type Surface } from '../guard/surface.ts'
import { gateModelCalls } from './model-gate.ts'
import { pendingApproval, type PendingApproval } from './pending-approvals.ts'
import { inSession, Session, type HostedRun } from './session.ts'
import type { RefusalBody } from './tool-answer.ts'
import { traceQuestion } from './trace.ts'

type SdkRunOptions<Context, Output extends AgentOutputType> = NonStreamRunOptions<
  Context,
  Agent<Context, Output>
>

/** What `runAgent` takes, beside the agent and its input. */
export interface RunAgentOptions<Context = unknown, Output extends AgentOutputType = TextOutput> {
  /** Names the run in questions, logs and keys of effects. Default: a fresh `run_<uuid>`. */
  readonly runId?: string | undefined
  /** The app's own context, handed on to tools. */
  readonly context?: Context
  /** Aborted: the run ends. */
  readonly signal?: AbortSignal | undefined
  /** Default: the SDK's, 10. `null`: no limit. */
  readonly maxTurns?: number | null | undefined
  /** What each model call asks for at `task`. Default: the server device alone. */
  readonly surface?: Surface | undefined
  /** Who asked for the run, as authenticated; effects count within one caller. Default `local`. */
  readonly caller?: string | undefined
  /** Gets each event of the SDK in order; the run then streams. What it throws ends the run. */
  readonly onEvent?: ((event: RunStreamEvent) => void | Promise<void>) | undefined
  /** Carries the run configuration: `new Runner({ modelProvider, … })`. Default: one with the SDK's defaults. */
  readonly runner?: Runner | undefined
  /** More options of the SDK's `run()`, such as `session` or `callModelInputFilter`. */
  readonly runOptions?: Omit<SdkRunOptions<Context, Output>, 'context' | 'signal' | 'maxTurns' | 'stream'>
}

/** How a guarded run ended. */
export interface AgentRun<Context = unknown, Output extends AgentOutputType = TextOutput> {
  readonly runId: string
  /** `interrupted`: calls wait for approval. `denied`: permission was refused, and the run ended. */
  readonly status: 'completed' | 'interrupted' | 'denied'
  /** With `completed`: the final output. */
  readonly output: ReturnType<Agent<Context, Output>['processFinalOutput']> | undefined
  readonly approvals: readonly PendingApproval[]
  /** With `denied`: why. */
  readonly denial?: RefusalBody
  /** Absent when the run was denied before or between model calls and did not stream: the SDK gives no state then. */
  readonly state?: RunState<Context, Agent<Context, Output>>
}

/**
 * Runs an agent in a session: each model request of it, and of the agents it uses, asks at `task` first, also one that
 * the SDK sends by itself, such as a retry; `stop` and `abort` of a tool reach all of them. In place and once it replaces
 * `Runner.prototype.run`, and `getModel`, `getResponse` and `getStreamedResponse` of the providers and models that it
 * uses; outside of sessions they are as they were. A frozen one rejects with `GUARD_MISCONFIGURED`. Rejects with `GuardDeniedError` when a tool's `onDenied` is `abort`; errors of
 * the SDK (a model error, `MaxTurnsExceededError`) reject as they are, with their `state`.
 */
export function runAgent<Context, Output extends AgentOutputType = TextOutput>(
  guard: Guard,
  agent: Agent<Context, Output>,
  input: string | AgentInputItem[],
  options: RunAgentOptions<Context, Output> = {},
): Promise<AgentRun<Context, Output>> {
  const runId = options.runId ?? newRunId()
  return guard.track(options.signal, ({ signal }) =>
    driveRun(guard, agent, input, { ...options, runId, signal }),
  )
}

function newRunId(): string {
  return `run_${crypto.randomUUID()}`
}

export interface DriveOptions<Context, Output extends AgentOutputType> extends RunAgentOptions<
  Context,
  Output
> {
  readonly runId: string
  readonly signal: AbortSignal
  /** The allow under which it begins or goes on, where it was asked for before its first model call. */
  readonly allowed?: Allowed | undefined
  /** What a hosted run adds. */
  readonly hosted?: HostedRun | undefined
}

/** Starts or continues a run in a session of its own. For `runAgent` and `resumeAgent`. */
export async function driveRun<Context, Output extends AgentOutputType>(
  guard: Guard,
  agent: Agent<Context, Output>,
  input: string | AgentInputItem[] | RunState<Context, Agent<Context, Output>>,
  options: DriveOptions<Context, Output>,
): Promise<AgentRun<Context, Output>> {
  const { session, result, failure } = await drive(guard, agent, input, options)
  // The SDK may have wrapped the denial, or have failed in turn on what a stop left it.
  if (failure !== undefined && session.denial === undefined) throw failure.thrown
  if (session.aborted !== undefined) throw session.aborted
  return agentRun(session, result)
}

export interface Finished<Context, Output extends AgentOutputType> {
  readonly finalOutput?: AgentRun<Context, Output>['output']
  readonly interruptions: readonly RunToolApprovalItem[]
  readonly state: RunState<Context, Agent<Context, Output>>
}

/** How a session ended, before anybody makes sense of it. */
export interface Driven<Context, Output extends AgentOutputType> {
  readonly session: Session
  /** Of a run that streams also beside a failure. */
  readonly result: Finished<Context, Output> | undefined
  readonly failure: { readonly thrown: unknown } | undefined
}

/** Never rejects because of the run. */
export async function drive<Context, Output extends AgentOutputType>(
  guard: Guard,
  agent: Agent<Context, Output>,
  input: string | AgentInputItem[] | RunState<Context, Agent<Context, Output>>,
  options: DriveOptions<Context, Output>,
): Promise<Driven<Context, Output>> {
  guard.observe(traceQuestion)
  gateModelCalls()
  const { runId, surface = guard.surface(SERVER_SURFACE), caller, hosted, allowed } = options
  const session = new Session({ runId, surface, caller, signal: options.signal, hosted })
  if (allowed !== undefined) session.goOnUnder(allowed)
  const ended = await inSession(session, () => runInSession(session, agent, input, options))
  session.end()
  return { session, ...ended }
}

let defaultRunner: Runner | undefined

async function runInSession<Context, Output extends AgentOutputType>(
  { signal }: Session,
  agent: Agent<Context, Output>,
  input: string | AgentInputItem[] | RunState<Context, Agent<Context, Output>>,
  { context, maxTurns, onEvent, runner: given, runOptions }: DriveOptions<Context, Output>,
): Promise<Omit<Driven<Context, Output>, 'session'>> {
  const runner = given ?? (defaultRunner ??= new Runner())
  const shared = {
    ...runOptions,
    ...(context === undefined ? {} : { context }),
    ...(maxTurns === undefined ? {} : { maxTurns }),
  }
  let result: Finished<Context, Output> | undefined
  try {
    if (onEvent === undefined) {
      result = await runner.run(agent, input, shared)
    } else {
      const stream = await runner.run(agent, input, { ...shared, stream: true })
      result = stream
      for await (const event of stream) await onEvent(event)
      await stream.completed
      // A stream that is aborted just ends, as if it were complete.
      if (stream.cancelled) throw signal.reason
    }
    return { result, failure: undefined }
  } catch (thrown) {
    return { result, failure: { thrown } }
  }
}

async function agentRun<Context, Output extends AgentOutputType>(
  session: Session,
  result: Finished<Context, Output> | undefined,
): Promise<AgentRun<Context, Output>> {
  const { runId, denial } = session
  const state = result === undefined ? {} : { state: result.state }
  if (denial !== undefined)
    return { runId, status: 'denied', output: undefined, approvals: [], denial: denial.body, ...state }
  const approvals = await Promise.all((result?.interruptions ?? []).map(pendingApproval))
  if (approvals.length > 0) return { runId, status: 'interrupted', output: undefined, approvals, ...state }
  return { runId, status: 'completed', output: result?.finalOutput, approvals, ...state }
}
