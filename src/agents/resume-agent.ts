import type { Agent, AgentOutputType, TextOutput } from '@openai/agents'
import { digestOfText } from '../canonical-json.ts'
import type { Guard } from '../guard/guard.ts'
import { refusalOf } from '../guard/refusal.ts'
import { refusalBody } from './model-text.ts'
import { applyDecisions, type ApprovalDecision } from './pending-approvals.ts'
import { gateResume } from './resume-gate.ts'
import { driveRun, type AgentRun, type RunAgentOptions } from './run-agent.ts'

/** What `resumeAgent` takes, beside the agent and its state. */
export interface ResumeAgentOptions<
  Context = unknown,
  Output extends AgentOutputType = TextOutput,
> extends RunAgentOptions<Context, Output> {
  /**
   * From where people decide, never from the state itself. Calls without a decision go on waiting. While the agent
   * behind an agent tool is paused, give the decision on that tool again with those on its agent's calls.
   */
  readonly approvals?: readonly ApprovalDecision[]
}

/**
 * The resume gate: asks for the server device at `resume`, and only then reads the state, applies the decisions and
 * goes on in a session. Denied, it reads nothing, connects to nothing and runs nothing. Approvals inside the state do
 * not count, and its context is replaced. Give the `runId` of the run, so that an effect with the key `'each-call'`
 * that it had before the pause is recognised. By default it is made from the state's text: the same text resumed twice
 * pays once, and another state of the run counts as another run. Also for states of errors:
 * `serializeState(error.state)`. Throws `APPROVAL_UNKNOWN` and `APPROVAL_MISMATCH` before anything runs; rejects
 * otherwise as `runAgent` does.
 */
export async function resumeAgent<Context, Output extends AgentOutputType = TextOutput>(
  guard: Guard,
  agent: Agent<Context, Output>,
  serializedState: string,
  options: ResumeAgentOptions<Context, Output> = {},
): Promise<AgentRun<Context, Output>> {
  const { approvals = [], context, signal } = options
  const runId = options.runId ?? runIdOf(serializedState)
  const read = async () => ({ agent, text: serializedState, context: context as Context })
  const outcome = await gateResume(guard, { runId, signal }, read, async (state, { work, decision }) => {
    await applyDecisions(agent, state, approvals)
    return driveRun(guard, agent, state, { ...options, runId, signal: work.signal, allowed: decision })
  })
  if (outcome.allowed) return outcome.value
  options.signal?.throwIfAborted()
  const denial = refusalBody(refusalOf(outcome.decision), { onDenied: 'stop' })
  return { runId, status: 'denied', output: undefined, approvals: [], denial }
}

function runIdOf(serializedState: string): string {
  return `run_${digestOfText(serializedState).slice(0, 32)}`
}
