import type { Agent, AgentOutputType, RunState } from '@openai/agents'

/** The parts of a serialized state that matter here. Runs of agents that are tools lie in it as text. */
interface StateJson {
  context?: Record<string, unknown>
  pendingAgentToolRuns?: Record<string, string>
}

/**
 * A paused run as text, without the app's context, which may hold secrets: `resumeAgent` takes a fresh one. The text
 * is not sealed: whoever can change it chooses the arguments of pending calls. Keep it where only you can write.
 */
export function serializeState<Context, Output extends AgentOutputType>(
  state: RunState<Context, Agent<Context, Output>>,
): string {
  return JSON.stringify(rewritten(state.toJSON(), (context) => ({ ...context, context: {} })))
}

/**
 * The text without the approvals that it claims, inner runs included: the SDK drops those of the outer run with
 * `contextStrategy: 'replace'`, but merges those of the inner ones. Throws a `SyntaxError` on what is not JSON.
 */
export function withoutApprovals(text: string): string {
  return JSON.stringify(
    rewritten(JSON.parse(text) as StateJson, (context) => ({
      context: context['context'] ?? {},
      usage: context['usage'],
      toolInput: context['toolInput'],
      approvals: {},
      // Must be there since schema 1.18, or the SDK refuses the state.
      approvalInvocations: [],
    })),
  )
}

function rewritten(
  json: StateJson,
  rewrite: (context: Record<string, unknown>) => Record<string, unknown>,
): StateJson {
  const inner = Object.entries(json.pendingAgentToolRuns ?? {}).map(([key, text]) => [
    key,
    JSON.stringify(rewritten(JSON.parse(text) as StateJson, rewrite)),
  ])
  return {
    ...json,
    ...(json.context === undefined ? {} : { context: rewrite(json.context) }),
    ...(inner.length === 0
      ? {}
      : { pendingAgentToolRuns: Object.fromEntries(inner) as Record<string, string> }),
  }
}
