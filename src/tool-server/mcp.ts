import { toNodeHandler } from '@modelcontextprotocol/node'
import {
  createMcpHandler,
  McpServer,
  type CallToolResult,
  type StandardSchemaWithJSON,
} from '@modelcontextprotocol/server'
import { Router } from 'express'
import { z } from 'zod'

import type { GuardedToolCore, ToolAnswer } from '../agents/tool-answer.ts'
import { messageOf } from '../errors.ts'
import type { Logger } from '../log.ts'
import { callerOf, requireScope } from './auth.ts'
import { refusalText } from './refuse.ts'
import { CallerChosenId, issuesOf, MAX_REQUEST_BYTES } from './tool-routes.ts'

const CALL_ID_META = 'holdpoint/call_id'
const RUN_ID_META = 'holdpoint/run_id'
const REQUEST_ID_META = 'holdpoint/request_id'
const REPLAYED_META = 'holdpoint/replayed'

/** `_meta` belongs to everybody; only our two keys are looked at. A JSON-RPC id is never a call id. */
const CallMeta = z.object({
  [CALL_ID_META]: CallerChosenId.optional(),
  [RUN_ID_META]: CallerChosenId.optional(),
})

export interface McpOptions {
  readonly tools: ReadonlyMap<string, GuardedToolCore>
  readonly name: string
  readonly version: string
  readonly log: Logger
}

export interface McpRoute {
  readonly router: Router
  close(): Promise<void>
}

/** `/mcp`: the same tools over Streamable HTTP, stateless. A denial is a result with `isError`, never a protocol error. */
export function mcpRoute({ tools, name, version, log }: McpOptions): McpRoute {
  const onerror = (error: Error) => log.warn({ err: messageOf(error) }, 'MCP request refused')
  const handler = createMcpHandler(
    ({ authInfo }) => {
      if (authInfo === undefined) throw new Error('An MCP request came without its caller.')
      // The list of tools never changes, so there is nothing to subscribe to.
      const server = new McpServer({ name, version }, { capabilities: { tools: { listChanged: false } } })
      for (const tool of tools.values()) {
        server.registerTool(
          tool.name,
          { description: tool.description, inputSchema: advertised(tool) },
          (args, { mcpReq }) => callTool(tool, args, { ...mcpReq, caller: authInfo.clientId }, log),
        )
      }
      return server
    },
    { onerror, maxRequestBodySize: MAX_REQUEST_BYTES, maxSubscriptions: 0 },
  )
  const serve = toNodeHandler(handler, { onerror, maxRequestBodySize: MAX_REQUEST_BYTES })
  const router = Router({ caseSensitive: true, strict: true })
  router.all('/mcp', requireScope('tools:call'), async (request, response) => {
    const { id, scopes } = callerOf(request)
    // The token itself is not handed on.
    const auth = { token: '', clientId: id, scopes: [...scopes] }
    await serve(Object.assign(request, { auth }), response)
  })
  return { router, close: () => handler.close() }
}

interface CallOrigin {
  readonly caller: string
  readonly _meta?: unknown
  readonly signal: AbortSignal
}

async function callTool(
  tool: GuardedToolCore,
  args: unknown,
  { caller, signal, _meta = {} }: CallOrigin,
  log: Logger,
): Promise<CallToolResult> {
  const meta = CallMeta.safeParse(_meta)
  if (!meta.success) {
    const message = `_meta["${CALL_ID_META}"] and _meta["${RUN_ID_META}"] must be printable text of 1 to 256 characters.`
    return textResult(refusalText({ code: 'BAD_REQUEST', message, issues: issuesOf(meta.error) }), true)
  }
  try {
    const answer = await tool.call({
      arguments: args,
      callId: meta.data[CALL_ID_META],
      runId: meta.data[RUN_ID_META],
      caller,
      signal,
    })
    return { ...textResult(answer.output, answer.kind !== 'output'), _meta: resultMeta(answer) }
  } catch (thrown) {
    // The SDK would show the message of whatever is thrown here to the model.
    log.error({ tool: tool.name, err: messageOf(thrown) }, 'MCP call failed')
    const message = 'The call failed inside the server. The error was logged.'
    return textResult(refusalText({ code: 'INTERNAL_ERROR', message }), true)
  }
}

function textResult(text: string, isError: boolean): CallToolResult {
  return { content: [{ type: 'text', text }], isError }
}

function resultMeta(answer: ToolAnswer): Record<string, unknown> {
  switch (answer.kind) {
    case 'output':
      return { [REQUEST_ID_META]: answer.requestId, [REPLAYED_META]: answer.replayed }
    case 'refused':
      return { [REQUEST_ID_META]: answer.body.request_id, [REPLAYED_META]: false }
    case 'bad_arguments':
      return { [REPLAYED_META]: false }
  }
}

/**
 * The schema as it is listed. It lets everything through: arguments are parsed once, by the tool itself, so that
 * its answer to bad ones is the same over every transport.
 */
function advertised({ parameters }: GuardedToolCore): StandardSchemaWithJSON {
  return {
    '~standard': {
      version: 1,
      vendor: 'holdpoint',
      validate: (value) => ({ value }),
      jsonSchema: { input: () => parameters, output: () => parameters },
    },
  }
}
