import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { OpenAIProvider, Runner } from '@openai/agents'
import { createAccountsAssistant } from '../../tools/accounts-assistant.ts'
import { createAccountsTools, type AccountsToolsOptions } from '../../tools/accounts-tools.ts'
import { createScriptedModel } from '../../tools/scripted-model.ts'
import { createPostgresSinks, createSinks, type Sinks } from '../../tools/sinks.ts'
import type { HostedAgent } from '../agents/hosted/hosted-agent.ts'
import type { RunStore } from '../agents/hosted/run-store.ts'
import type { ToolServerConfig } from '../config.ts'
import { createAlerts, type Alerts } from '../gates/alerts.ts'
import type { Guard } from '../guard/guard.ts'
import { GuardMisconfiguredError } from '../errors.ts'
import { exit } from '../exit.ts'
import { surfaceDeviceId } from '../guard/device.ts'
import { shippedSurfaces } from '../guard/surface.ts'
import { jittered } from '../jitter.ts'
import type { Logger } from '../log.ts'
import type { MachineID } from '../machineid/client.ts'
import { resolveProfile } from '../machineid/options.ts'
import { clientFromConfig, guardFromConfig } from '../start-guard.ts'
import { StartupDenied } from '../startup-denied.ts'
import { createPostgresToolStore } from '../store/postgres/tool-store.ts'
import { createSqliteToolStore } from '../store/sqlite/tool-store.ts'
import type { ToolStore } from '../store/tool-store.ts'
import { createAuthorityDesk } from '../tool-server/authority-desk.ts'
import { CANARY_TOOL } from '../tool-server/canary.ts'
import { callerRecord, callersOf, readCallers, type Callers } from '../tool-server/callers.ts'
import { createRunReporter } from '../tool-server/run-reporter.ts'
import { createToolServer } from '../tool-server/tool-server.ts'
import { namingPort, type Running } from './lifecycle.ts'
import { isLoopback } from '../loopback.ts'
import { ensureToolServerSecrets, toolServerFile, type ToolServerSecrets } from './secrets.ts'

/** The tool server, listening: config → store → guard → startup boundary → server. Throws `StartupDenied`, having started nothing. */
export async function startToolServer(config: ToolServerConfig, log: Logger): Promise<Running> {
  const alerts = alertsOf(config, log)
  const secrets = ensureToolServerSecrets(config.DATA_DIR, { tokensCount: tokensCount(config) })
  const guardConfig = withDefaults(config, secrets.runtime)
  const store = await openStore(config)
  const authority = new URL(guardConfig.MACHINEID_BASE_URL)
  const client = clientFromConfig(guardConfig)
  const guard = guardFromConfig(guardConfig, {
    authority: client,
    log,
    alerts,
    journal: store.journal,
    surfaces: config.surfaces ?? shippedSurfaces(config.MACHINEID_DEVICE_ID),
    canaryDeviceId: canaryOf(config.MACHINEID_DEVICE_ID),
    onServerDenied: (denied) => {
      if (config.ON_SERVER_DENIED !== 'exit') return
      log.fatal({ code: denied.code, request_id: denied.requestId }, 'the server device is denied, exiting')
      void guard
        .close()
        .then(() => alerts?.close())
        .finally(() => exit(log, 1))
    },
  })
  const sinks = await openSinks(config)
  const reporter = reporterOf(client, store.runs, log)
  const toolServer = createToolServer({
    guard,
    tools: createAccountsTools(guard, sinks),
    agents: [accountsAssistant(guard, sinks, config)],
    runs: {
      store: store.runs,
      stateKeys: config.RUN_STATE_KEY ?? [Buffer.from(secrets.runStateKey, 'base64url')],
      approvalTtlMs: config.APPROVAL_TTL_SECONDS * 1000,
      maxConcurrentRuns: config.MAX_CONCURRENT_RUNS,
      desk: deskOf(client, config, log),
      watcher: reporter,
    },
    callers: callersFromConfig(config, secrets),
    publicUrl: config.PUBLIC_URL,
    metricsToken: config.METRICS_TOKEN,
    allowedHosts: config.ALLOWED_HOSTS,
    trustProxy: config.TRUST_PROXY,
    tls: config.tls,
    about: {
      profile: resolveProfile(guardConfig.MACHINEID_PROFILE, authority),
      origin: authority.origin,
      journal: await store.durability(),
    },
    log,
  })
  await startup(guard, { client, alerts, config, log })
  const listening = toolServer.listen({ host: config.HOST, port: config.TOOL_SERVER_PORT })
  const { url } = await namingPort('TOOL_SERVER_PORT', listening)
  reporter?.begin()
  const model = config.OPENAI_API_KEY === undefined ? SCRIPTED : (config.OPENAI_MODEL ?? "the SDK's default")
  log.info({ url, model }, 'tool server is listening')
  const close = async () => {
    await guard.close()
    await toolServer.close()
    await reporter?.close()
    await alerts?.close()
    await client.close()
    await sinks.close()
    await store.close()
  }
  return { url, close }
}

/** Undefined when it is turned off, and with hosted MachineID. */
function deskOf(client: MachineID, { APPROVAL_DESK }: ToolServerConfig, log: Logger) {
  if (APPROVAL_DESK === 'off' || client.approvals === undefined) return undefined
  return createAuthorityDesk(client, { log })
}

/** Undefined with hosted MachineID. */
function reporterOf({ runReports: reports }: MachineID, store: RunStore, log: Logger) {
  return reports === undefined ? undefined : createRunReporter({ reports, store, log })
}

/** Undefined when nobody is to be told. A drill that stops its canary is no news. */
function alertsOf({ alerts }: ToolServerConfig, log: Logger): Alerts | undefined {
  return alerts && createAlerts({ ...alerts, log, ignore: ({ at }) => at.tool === CANARY_TOOL })
}

/** Undefined for a device of fewer segments than a surface's needs: there is nothing to drill with a canary then. */
function canaryOf(serverDeviceId: string): string | undefined {
  return serverDeviceId.split(':').length < 3 ? undefined : surfaceDeviceId(serverDeviceId, 'canary')
}

const SCRIPTED = 'scripted: set OPENAI_API_KEY for a real one'

/** The agent that ships: on OpenAI's model when there is a key for it, else on a scripted one. */
function accountsAssistant(
  guard: Guard,
  sinks: AccountsToolsOptions,
  { OPENAI_API_KEY: apiKey, OPENAI_BASE_URL: baseURL, OPENAI_MODEL: model }: ToolServerConfig,
): HostedAgent {
  if (apiKey === undefined) {
    const agent = createAccountsAssistant(guard, { ...sinks, model: createScriptedModel() })
    return { agent, runner: new Runner({ tracingDisabled: true }) }
  }
  const modelProvider = new OpenAIProvider({ apiKey, ...(baseURL === undefined ? {} : { baseURL }) })
  return {
    agent: createAccountsAssistant(guard, { ...sinks, model }),
    // Traces go to OpenAI, whose key they are sent with: not when somebody else serves the model.
    runner: new Runner({ modelProvider, tracingDisabled: baseURL !== undefined }),
  }
}

/** The journal and the runs: in a file under DATA_DIR, or in the Postgres that all replicas share. */
async function openStore(config: ToolServerConfig): Promise<ToolStore> {
  const { TOOL_DATABASE_URL: url, DATABASE_TIMEOUT_MS: timeoutMs } = config
  if (url === undefined) return createSqliteToolStore({ file: join(config.DATA_DIR, 'journal.sqlite') })
  return createPostgresToolStore({ url, timeoutMs, poolSize: poolsOf(config).store })
}

/** One setting for all connections: a fifth of them for what the shipped tools write outside of the journal. */
function poolsOf({ TOOL_DATABASE_POOL_SIZE: all }: ToolServerConfig) {
  const tables = Math.max(1, Math.floor(all / 5))
  return { tables, store: Math.max(1, all - tables) }
}

/** What the shipped tools act on: Stripe and a mail server where they are set, else a ledger and a folder of mails. */
async function openSinks(config: ToolServerConfig): Promise<Sinks> {
  const { STRIPE_API_KEY: apiKey, STRIPE_PAYMENT_METHOD: paymentMethod, STRIPE_CUSTOMER: customer } = config
  const { TOOL_DATABASE_URL: url, DATABASE_TIMEOUT_MS: timeoutMs } = config
  const baseUrl = config.STRIPE_API_BASE
  const options = {
    dataDir: config.DATA_DIR,
    stripe: apiKey === undefined ? undefined : { apiKey, paymentMethod, customer, baseUrl },
    smtp: config.SMTP_URL === undefined ? undefined : { smtpUrl: config.SMTP_URL },
    mailFrom: config.MAIL_FROM,
  }
  if (url === undefined) return createSinks(options)
  return createPostgresSinks({ ...options, database: { url, timeoutMs, poolSize: poolsOf(config).tables } })
}

/**
 * Without settings: the control plane that `npm start` runs beside it, and the key that it wrote. That key goes to this
 * machine alone, whatever a `.env` says. Throws `GUARD_MISCONFIGURED`.
 */
function withDefaults(
  config: ToolServerConfig,
  runtime: string | undefined,
): ToolServerConfig & { readonly MACHINEID_BASE_URL: string } {
  const hasKey = config.MACHINEID_ORG_KEY !== undefined || config.MACHINEID_ORG_KEY_FILE !== undefined
  const authority = config.MACHINEID_BASE_URL ?? `http://127.0.0.1:${config.CONTROL_PLANE_PORT}`
  if (hasKey || runtime === undefined) return { ...config, MACHINEID_BASE_URL: authority }
  const keyFile = toolServerFile(config.DATA_DIR)
  const { origin, hostname } = new URL(authority)
  if (!isLoopback(hostname)) {
    throw new GuardMisconfiguredError(
      `MACHINEID_BASE_URL is ${origin}, and no key for it is set. The one in ${keyFile} goes to another machine only when ` +
        `you say so: set MACHINEID_ORG_KEY_FILE to the file of its key, be it ${keyFile}.`,
    )
  }
  return { ...config, MACHINEID_BASE_URL: authority, MACHINEID_ORG_KEY_FILE: keyFile }
}

/** Off loopback only a file counts: the token of the first start lies beside the tools. */
function tokensCount({ CALLER_TOKENS_FILE, HOST, PUBLIC_URL }: ToolServerConfig): boolean {
  return CALLER_TOKENS_FILE === undefined && isLoopback(HOST) && PUBLIC_URL === undefined
}

function callersFromConfig(config: ToolServerConfig, secrets: ToolServerSecrets): Callers | undefined {
  if (config.CALLER_TOKENS_FILE !== undefined) return readCallers(config.CALLER_TOKENS_FILE)
  if (!tokensCount(config)) return undefined
  const { callerToken, approverSha256: sha256 } = secrets
  const first = callerRecord(callerToken, { id: 'first-caller', name: 'First caller', scopes: FIRST_SCOPES })
  // Its token is the operator's; only the hash is here.
  const approver = { id: 'approver', name: 'Approver', scopes: APPROVER_SCOPES }
  return callersOf(sha256 === undefined ? [first] : [first, { ...approver, sha256 }])
}

const FIRST_SCOPES = ['tools:call', 'runs:start', 'runs:resume'] as const
const APPROVER_SCOPES = ['runs:approve', 'runs:resume'] as const

const WAIT_MS = { min: 1000, max: 30_000 }

interface Startup {
  readonly client: MachineID
  readonly alerts: Alerts | undefined
  readonly config: ToolServerConfig
  readonly log: Logger
}

async function startup(guard: Guard, { client, alerts, config, log }: Startup): Promise<void> {
  for (let delayMs = WAIT_MS.min; ; delayMs = Math.min(delayMs * 2, WAIT_MS.max)) {
    const decision = await guard.start()
    if (decision.allowed) return
    if (config.ON_STARTUP_DENIED === 'exit') {
      await guard.close({ graceMs: 0 })
      await alerts?.close()
      await client.close()
      throw new StartupDenied(decision)
    }
    log.warn({ code: decision.code, delay_ms: delayMs }, 'startup denied, asking again')
    await sleep(jittered(delayMs))
  }
}
