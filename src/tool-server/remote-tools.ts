import {
  ModelBehaviorError,
  tool,
  type FunctionTool,
  type RunContext,
  type ToolOptions,
} from '@openai/agents'
import { z } from 'zod'

import { GuardDeniedError } from '../agents/guard-denied.ts'
import { badArgumentsAnswer } from '../agents/model-text.ts'
import { applyOnDenied, beforeTurn, callingAgent, rememberCallingAgent } from '../agents/on-denied.ts'
import { currentSession, type AnyAgent } from '../agents/session.ts'
import { HoldpointError } from '../errors.ts'
import { whatToTry } from '../unreachable.ts'
import { callRemoteTool, sendRequest, type RemoteServer } from './remote-call.ts'

/** What `remoteTools` takes, beside address and token. */
export interface RemoteToolsOptions {
  /** Named in each call that is not part of a `runAgent`, which names its own run. */
  readonly runId?: string
  /** How long one call may take, answer included, in milliseconds. Default 60,000. */
  readonly timeoutMs?: number
  /** Ends the listing and every call. */
  readonly signal?: AbortSignal
}

const Definitions = z.array(
  z.object({
    type: z.literal('function'),
    name: z.string(),
    description: z.string(),
    parameters: z.record(z.string(), z.unknown()),
    strict: z.boolean(),
  }),
)
type Definition = z.infer<typeof Definitions>[number]

type ToolCallDetails = Parameters<FunctionTool['invoke']>[2]

/**
 * The tools of a tool server as tools of the Agents SDK. The hold points are the server's; a denial does to the run
 * what the tool's `onDenied` says there. A call whose connection is lost is sent once more with the same call id, by
 * which the server knows what it has done; one that was aborted, timed out or answered is not. Throws
 * `TOOL_SERVER_UNREACHABLE` and `TOOL_SERVER_REFUSED`.
 */
export async function remoteTools(
  url: string,
  token: string,
  options: RemoteToolsOptions = {},
): Promise<FunctionTool[]> {
  const { timeoutMs = 60_000, signal, runId } = options
  const server: RemoteServer = { url: url.replace(/\/$/, ''), token, timeoutMs, signal }
  return (await listTools(server)).map((definition) => remoteTool(server, definition, runId))
}

async function listTools(server: RemoteServer): Promise<readonly Definition[]> {
  let answer
  try {
    answer = await sendRequest(server, '/tools')
  } catch (cause) {
    throw new HoldpointError(
      'TOOL_SERVER_UNREACHABLE',
      `The tool server is not reachable at ${server.url}. ${whatToTry(server.url)}`,
      { cause },
    )
  }
  const parsed = Definitions.safeParse(answer.body)
  if (answer.statusCode === 200 && parsed.success) return parsed.data
  const { message } = (answer.body ?? {}) as { message?: unknown }
  throw new HoldpointError(
    'TOOL_SERVER_REFUSED',
    `The tool server at ${server.url} did not list its tools (HTTP ${answer.statusCode}). ` +
      (typeof message === 'string' ? message : 'Is this the address of a holdpoint tool server?'),
  )
}

function remoteTool(
  server: RemoteServer,
  definition: Definition,
  ownRunId: string | undefined,
): FunctionTool {
  const { name, description, parameters, strict } = definition
  const execute = async (args: unknown, runContext?: RunContext, details?: ToolCallDetails) => {
    const session = currentSession()
    const runId = session?.runId ?? ownRunId
    const toolCall = details?.toolCall
    const callId = toolCall?.callId
    const signals = [details?.signal, session?.signal].filter((signal) => signal !== undefined)
    const { output, refusal } = await callRemoteTool(server, { name, args, callId, runId, signals })
    const agent = callingAgent(toolCall)
    if (refusal !== undefined && agent && runContext && callId !== undefined)
      applyOnDenied({ kind: 'refused', output, body: refusal }, agent, runContext, callId)
    return output
  }
  const built = {
    name,
    description,
    parameters,
    strict,
    execute,
    inputGuardrails: [rememberCallingAgent],
    isEnabled: (at: { runContext: RunContext; agent: AnyAgent }) => {
      beforeTurn(at.runContext)
      return true
    },
    errorFunction: (_runContext: RunContext, error: unknown) => errorText(error),
  }
  return tool(built as unknown as ToolOptions<undefined>)
}

/** `execute` throws only to abort the run; the other way here is arguments that are no JSON. */
function errorText(error: unknown): string {
  if (error instanceof GuardDeniedError) throw error
  if (error instanceof ModelBehaviorError)
    return badArgumentsAnswer(['The arguments must be a JSON object.']).output
  throw error
}
