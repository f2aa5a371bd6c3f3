import type { Server } from 'node:http'
import express, { type ErrorRequestHandler, type Express } from 'express'
import helmet from 'helmet'

import { guardedToolCore } from '../agents/tool-core.ts'
import type { GuardedToolCore } from '../agents/tool-answer.ts'
import { GuardMisconfiguredError, messageOf } from '../errors.ts'
import { localRequestId } from '../guard/decision.ts'
import type { Guard } from '../guard/guard.ts'
import {
  answerUnparsable,
  BadBodyError,
  closeServer,
  createWebServer,
  listen,
  type Listening,
  type TlsOptions,
} from '../http.ts'
import type { Logger } from '../log.ts'
import { identify } from './auth.ts'
import type { Callers } from './callers.ts'
import { healthRoutes } from './health.ts'
import { hostCheck } from './host-check.ts'
import { isLoopback } from '../loopback.ts'
import { mcpRoute } from './mcp.ts'
import { refuse } from './refuse.ts'
import { toolRoutes } from './tool-routes.ts'

export interface ToolServerOptions {
  readonly guard: Guard
  /** Tools that `guardedTool` made on this guard. */
  readonly tools: readonly object[]
  /** Who may call. Without, everybody on this machine may, and nobody else. */
  readonly callers?: Callers | undefined
  /** Where callers reach it, when that is not loopback, for example `https://tools.example.com`. */
  readonly publicUrl?: string | undefined
  /** More host names by which it may be reached. */
  readonly allowedHosts?: readonly string[] | undefined
  /** Express's setting `trust proxy`: whose word on a caller's address the log believes. Default: nobody's. */
  readonly trustProxy?: boolean | number | string | undefined
  /** Certificate chain and key as PEM, to serve HTTPS itself. */
  readonly tls?: TlsOptions | undefined
  /** Default: the guard's. */
  readonly log?: Logger
  /** As MCP clients see it. Default `holdpoint`. */
  readonly name?: string
  /** Default `1.0.0`. */
  readonly version?: string
}

export interface ToolServer {
  readonly app: Express
  readonly server: Server
  /** Starts to listen. Throws `GUARD_MISCONFIGURED` for an address other machines can reach when there are no callers. */
  listen(address: { readonly host?: string; readonly port: number }): Promise<Listening>
  /**
   * Accepts nothing new and lets answers in progress finish for up to `graceMs` (default 5000). Close the guard
   * first: calls that run then get its grace time, and new ones are told `GUARD_SHUTTING_DOWN`.
   */
  close(options?: { readonly graceMs?: number }): Promise<void>
}

/** How long a request may take to arrive, in milliseconds. */
const TIMEOUTS = { requestTimeout: 30_000, headersTimeout: 10_000 } as const

/** Builds the tool server: no port yet. Throws `GUARD_MISCONFIGURED`, naming the tool or option. */
export function createToolServer(options: ToolServerOptions): ToolServer {
  const { guard, callers, publicUrl, log = guard.log, name = 'holdpoint', version = '1.0.0' } = options
  if (callers === undefined && publicUrl !== undefined) throw noCallers(`PUBLIC_URL=${publicUrl}`)
  const tools = guardedCores(options.tools, guard)
  const mcp = mcpRoute({ tools, name, version, log })

  const app = express()
  app.disable('x-powered-by')
  app.set('query parser', 'simple')
  app.set('trust proxy', options.trustProxy ?? false)
  app.use(securityHeaders(publicUrl))
  // Before the host check, because a platform's probes come to the bare address.
  app.use(healthRoutes(guard))
  app.use(hostCheck(options))
  app.use(identify(callers, log))
  app.use(toolRoutes(tools))
  app.use(mcp.router)
  app.use((_request, response) =>
    refuse(response, {
      statusCode: 404,
      code: 'ROUTE_NOT_FOUND',
      message: 'There is nothing here. Try GET /tools, POST /tools/:name or /mcp.',
    }),
  )
  app.use(onError(log))

  const server = createWebServer(TIMEOUTS, options.tls, app)
  answerUnparsable(server, localRequestId)
  return {
    app,
    server,
    listen: async ({ host = '127.0.0.1', port }) => {
      if (callers === undefined && !isLoopback(host)) throw noCallers(`HOST=${host}`)
      return listen(server, { host, port })
    },
    close: async (closing = {}) => {
      await closeServer(server, closing)
      await mcp.close()
    },
  }
}

function guardedCores(tools: readonly object[], guard: Guard): Map<string, GuardedToolCore> {
  const cores = new Map<string, GuardedToolCore>()
  for (const tool of tools) {
    const core = guardedToolCore(tool)
    const name = core?.name ?? String((tool as { name?: unknown } | null)?.name)
    const problem =
      core === undefined
        ? 'is not guarded. Make it with guardedTool(guard.surface(…), …)'
        : core.surface.guard !== guard
          ? 'belongs to another guard. Make it with a surface of the guard of this server'
          : cores.has(name)
            ? 'is there twice. Give one of the two another name'
            : core.runOnly.length > 0
              ? `has ${core.runOnly.join(', ')}: only runs of the SDK apply it. Leave it out, or check inside the tool`
              : undefined
    if (core === undefined || problem !== undefined) {
      throw new GuardMisconfiguredError(`The tool "${name}" ${problem}.`)
    }
    cores.set(name, core)
  }
  return cores
}

function noCallers(setting: string): GuardMisconfiguredError {
  return new GuardMisconfiguredError(
    `${setting} lets other machines call the tools, but no caller is known. Set CALLER_TOKENS_FILE ` +
      '(docs/operating.md, "Callers", says what is in it), or listen on 127.0.0.1.',
  )
}

/** No page is served here: what a browser would show of an answer may load and run nothing. */
function securityHeaders(publicUrl: string | undefined) {
  return helmet({
    contentSecurityPolicy: {
      useDefaults: false,
      directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] },
    },
    strictTransportSecurity: publicUrl?.startsWith('https:') ?? false,
  })
}

function onError(log: Logger): ErrorRequestHandler {
  return (error: unknown, _request, response, _next) => {
    if (error instanceof BadBodyError) return refuse(response, error)
    if (error instanceof URIError) {
      return refuse(response, {
        statusCode: 400,
        code: 'BAD_REQUEST',
        message: 'The path cannot be decoded. GET /tools lists the tools by name.',
      })
    }
    if (response.destroyed) return
    const requestId = localRequestId()
    log.error({ request_id: requestId, err: messageOf(error) }, 'request failed')
    refuse(response, {
      statusCode: 500,
      code: 'INTERNAL_ERROR',
      message: 'The request failed inside the server. The error was logged with this request_id.',
      requestId,
    })
  }
}
