import { RunContext, type FunctionTool } from '@openai/agents'
import type { ToolSchema } from './tool-schema.ts'

interface Parsing {
  parsed?: { readonly arguments: unknown }
}

const parsings = new WeakMap<RunContext<unknown>, Parsing>()

/**
 * The arguments as the SDK's own parser leaves them, which it keeps behind `invoke`: a call that ends before it does
 * anything. Undefined when they do not fit the tool.
 */
export async function parseOnly(
  tool: Pick<FunctionTool, 'invoke' | 'name'>,
  schema: ToolSchema,
  text: string,
): Promise<Parsing['parsed']> {
  const runContext = new RunContext<unknown>(undefined)
  const parsing: Parsing = {}
  parsings.set(runContext, parsing)
  await tool.invoke(runContext, text)
  const { parsed } = parsing
  return parsed === undefined || schema.issues(parsed.arguments).length > 0 ? undefined : parsed
}

/** True when the call only wants to know its arguments. */
export function isParseOnly(runContext: RunContext<unknown>, args: unknown): boolean {
  const parsing = parsings.get(runContext)
  if (parsing === undefined) return false
  parsing.parsed = { arguments: args }
  return true
}
