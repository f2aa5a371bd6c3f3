import { RunContext } from '@openai/agents'
import type { ToolAnswer, ToolCall } from './tool-answer.ts'

/** A call that did not come through a run of the SDK. It goes through the same `invoke`, so it is parsed the same way. */
export interface DirectCall extends ToolCall {
  /** What the call gave: `invoke` itself can only give text. */
  answer?: ToolAnswer
}

const directCalls = new WeakMap<RunContext<unknown>, DirectCall>()

/** A run context of its own: the one thing that the SDK hands on to every callback of a tool, errors included. */
export function directRunContext(call: DirectCall): RunContext<unknown> {
  const runContext = new RunContext(call.context)
  directCalls.set(runContext, call)
  return runContext
}

export function directCallOf(runContext: RunContext<unknown>): DirectCall | undefined {
  return directCalls.get(runContext)
}
