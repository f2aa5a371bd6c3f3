import type { Server } from 'node:http'
import express, { type Express } from 'express'
import helmet from 'helmet'

import type { HostedAgent } from '../agents/hosted/hosted-agent.ts'
import { createRuns, type RunsOptions } from '../agents/hosted/runs.ts'
import type { Runs } from '../agents/hosted/run-types.ts'
import { guardedToolCore } from '../agents/tool-core.ts'
import type { GuardedToolCore } from '../agents/tool-answer.ts'
import { GuardMisconfiguredError } from '../errors.ts'
import { localRequestId } from '../guard/decision.ts'
import type { Guard } from '../guard/guard.ts'
import {
  answerUnparsable,
  closeServer,
  createWebServer,
  listen,
  type Listening,
  type TlsOptions,
} from '../http.ts'
import type { Logger } from '../log.ts'
import type { ToolServerAbout } from './about.ts'
import { identify } from './auth.ts'
import type { Callers } from './callers.ts'
import { canaryRoute } from './canary.ts'
import { healthRoutes } from './health.ts'
import { hostCheck } from './host-check.ts'
import { inspectRoute } from './inspect.ts'
import { isLoopback } from '../loopback.ts'
import { mcpRoute } from './mcp.ts'
import { metricsRoute } from './metrics-route.ts'
import { createToolServerMetrics } from './metrics.ts'
import { onError } from './on-error.ts'
import { refuse } from './refuse.ts'
import { runDecisionRoutes } from './run-decisions.ts'
import { runRoutes } from './run-routes.ts'
import { createRunStreams } from './run-stream.ts'
import { toolRoutes } from './tool-routes.ts'

/** Where hosted runs are kept, and how. */
export interface ToolServerRunsOptions extends Omit<RunsOptions, 'guard' | 'agents' | 'tools' | 'log'> {
  /** How often an idle event stream shows that it lives, in milliseconds. Default 15,000. */
  readonly heartbeatMs?: number
}

/** What `createToolServer` takes. */
export interface ToolServerOptions {
  /** Whom its tools ask. Start it before `listen`. */
  readonly guard: Guard
  /** Tools that `guardedTool` made on this guard. */
  readonly tools: readonly object[]
  /** Agents to host, on this guard. They need `runs`. Default: none, and no routes for runs. */
  readonly agents?: readonly HostedAgent[] | undefined
  /** With `agents`. The journal of `store` must be the guard's. */
  readonly runs?: ToolServerRunsOptions | undefined
  /** Who may call. Without, everybody on this machine may, and nobody else. */
  readonly callers?: Callers | undefined
  /** Where callers reach it, when that is not loopback: `https://tools.example.com`. Then `/metrics` always takes its token. */
  readonly publicUrl?: string | undefined
  /** Who carries it may read `/metrics` from anywhere. Without, that is for this machine alone. */
  readonly metricsToken?: string | undefined
  /** More host names by which it may be reached. */
  readonly allowedHosts?: readonly string[] | undefined
  /** Express's setting `trust proxy`: whose word on a caller's address the log believes. Default: nobody's. */
  readonly trustProxy?: boolean | number | string | undefined
  /** Certificate chain and key as PEM, to serve HTTPS itself. */
  readonly tls?: TlsOptions | undefined
  /** What `GET /inspect` and `/readyz` say of how it was put together. Default: that it is custom. */
  readonly about?: ToolServerAbout | undefined
  /** Default: the guard's. */
  readonly log?: Logger
  /** As MCP clients see it. Default `holdpoint`. */
  readonly name?: string
  /** Default `1.0.0`. */
  readonly version?: string
}

/** A tool server that `createToolServer` made. */
export interface ToolServer {
  readonly app: Express
  readonly server: Server
  /** Present with `agents`. */
  readonly runs: Runs | undefined
  /** Starts to listen, and to look for queued and lost runs. Throws `GUARD_MISCONFIGURED` for an address other machines can reach when there are no callers. */
  listen(address: { readonly host?: string; readonly port: number }): Promise<Listening>
  /**
   * Accepts nothing new, and lets answers in progress finish and runs pause or end for up to `graceMs` (default 5000).
   * Close the guard first: calls that run then get its grace time, and new ones are told `GUARD_SHUTTING_DOWN`. The
   * store stays open.
   */
  close(options?: { readonly graceMs?: number }): Promise<void>
}

const GRACE_MS = 5_000

/** How long a request may take to arrive, in milliseconds. */
const TIMEOUTS = { requestTimeout: 30_000, headersTimeout: 10_000 } as const

/** Builds the tool server: no port yet. Throws `GUARD_MISCONFIGURED`, naming the tool or option. */
export function createToolServer(options: ToolServerOptions): ToolServer {
  const { guard, callers, publicUrl, log = guard.log, name = 'holdpoint', version = '1.0.0' } = options
  const { about = {}, agents = [] } = options
  if (callers === undefined && publicUrl !== undefined) throw noCallers(`PUBLIC_URL=${publicUrl}`)
  const tools = guardedCores(options.tools, guard)
  const runs = runsOf(options, log)
  const mcp = mcpRoute({ tools, name, version, log })

  const app = express()
  app.disable('x-powered-by')
  app.set('query parser', 'simple')
  app.set('trust proxy', options.trustProxy ?? false)
  app.use(securityHeaders(publicUrl))
  // Before the host check, because a platform's probes come to the bare address.
  app.use(healthRoutes({ guard, runs: runs?.runs, about }))
  app.use(hostCheck(options))
  const identified = identify(callers, log)
  const metrics = createToolServerMetrics(guard)
  app.use(metricsRoute(metrics, { token: options.metricsToken, relayed: publicUrl !== undefined }))
  app.use(identified)
  app.use(inspectRoute({ guard, tools, agents, about }))
  app.use(canaryRoute(guard))
  app.use(toolRoutes(tools))
  app.use(mcp.router)
  if (runs !== undefined) app.use(runs.routers)
  app.use((_request, response) =>
    refuse(response, {
      statusCode: 404,
      code: 'ROUTE_NOT_FOUND',
      message: `There is nothing here. Try GET /tools, POST /tools/:name, ${runs === undefined ? '' : '/runs '}or /mcp.`,
    }),
  )
  app.use(onError(log))

  const server = createWebServer(TIMEOUTS, options.tls, app)
  answerUnparsable(server, localRequestId)
  return {
    app,
    server,
    runs: runs?.runs,
    listen: async ({ host = '127.0.0.1', port }) => {
      if (callers === undefined && !isLoopback(host)) throw noCallers(`HOST=${host}`)
      const listening = await listen(server, { host, port })
      runs?.runs.begin()
      return listening
    },
    close: async (closing = {}) => {
      runs?.streams.close()
      await Promise.all([
        closeServer(server, closing),
        runs?.runs.close({ graceMs: closing.graceMs ?? GRACE_MS }),
      ])
      await mcp.close()
    },
  }
}

/** Throws `GUARD_MISCONFIGURED` when agents and store do not go together. */
function runsOf({ guard, agents = [], tools, runs: options }: ToolServerOptions, log: Logger) {
  if (agents.length === 0 && options === undefined) return undefined
  if (agents.length === 0) throw misfit('runs: no agent is hosted. Give agents too, or leave it out')
  if (options === undefined) {
    throw misfit('agents: hosted agents need a store. Give runs: { store, stateKeys } too')
  }
  const { heartbeatMs, ...runsOptions } = options
  const runs = createRuns({ ...runsOptions, guard, agents, tools, log })
  const streams = createRunStreams({ runs, log, heartbeatMs })
  return { runs, streams, routers: [runRoutes(runs, streams), runDecisionRoutes(runs)] }
}

function misfit(problem: string): GuardMisconfiguredError {
  return new GuardMisconfiguredError(`createToolServer: ${problem}.`)
}

function guardedCores(tools: readonly object[], guard: Guard): Map<string, GuardedToolCore> {
  const cores = new Map<string, GuardedToolCore>()
  for (const tool of tools) {
    const core = guardedToolCore(tool)
    const name = core?.name ?? String((tool as { name?: unknown } | null)?.name)
    const problem =
      core === undefined
        ? 'is not guarded. Make it with guardedTool(guard.surface(…), …)'
        : core.guard !== guard
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
