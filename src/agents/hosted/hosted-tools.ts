import type { FunctionTool } from '@openai/agents'

/** By `invoke`, which a namespaced copy of a tool shares with it. */
const hosted = new WeakSet<object>()

/** From now on the tool runs only in a session of ours, or as a direct call: elsewhere it denies `NO_SESSION`. */
export function markHosted(tool: Pick<FunctionTool, 'invoke'>): void {
  hosted.add(tool.invoke)
}

export function isHosted(tool: Pick<FunctionTool, 'invoke'>): boolean {
  return hosted.has(tool.invoke)
}
