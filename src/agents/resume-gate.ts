import { RunContext, RunState, type Agent, type AgentOutputType } from '@openai/agents'
import type { Guard, RunOutcome } from '../guard/guard.ts'
import { SERVER_SURFACE } from '../guard/surface.ts'
import { gateRun, type Admitted } from './run-gate.ts'
import { withoutApprovals } from './run-state-text.ts'

/** What to go on from, once it may be read. */
export interface Paused<Context, Output extends AgentOutputType> {
  readonly agent: Agent<Context, Output>
  /** The SDK's state as text. */
  readonly text: string
  /** Replaces the one that the run had. */
  readonly context: Context
}

/**
 * The only way back into a paused run: asks for the server device at `resume`, and only then opens and parses the
 * state, which may already connect to MCP servers. The approvals that the state claims are dropped. Denied, it opens
 * nothing; a stop that is pushed while it opens is a denial too. What `open` and `goOn` throw is thrown.
 */
export async function gateResume<Context, Output extends AgentOutputType, T>(
  guard: Guard,
  { runId, signal }: { readonly runId: string; readonly signal?: AbortSignal | undefined },
  open: () => Promise<Paused<Context, Output>>,
  goOn: (state: RunState<Context, Agent<Context, Output>>, admitted: Admitted) => Promise<T>,
): Promise<RunOutcome<T>> {
  const at = { surface: guard.surface(SERVER_SURFACE), boundary: 'resume', runId, signal } as const
  const read = async () => {
    guard.reach('run.resume_allowed')
    const { agent, text, context } = await open()
    const state = await RunState.fromStringWithContext<Context, Agent<Context, Output>>(
      agent,
      withoutApprovals(text),
      new RunContext(context),
      { contextStrategy: 'replace' },
    )
    guard.reach('run.state_opened')
    return state
  }
  return gateRun<T>(guard, at, async (admitted) => {
    const { decision } = admitted
    let isStopped = false
    const unwatch = guard.watch(decision, () => (isStopped = true))
    const state = await read().finally(unwatch)
    if (isStopped) return { allowed: false, decision: guard.denyNow(at, 'STOP_PUSHED') }
    return { allowed: true, value: await goOn(state, admitted), decision }
  })
}
