import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createAccountsTools, type AccountsToolsOptions } from '../../tools/accounts-tools.ts'
import { createLedger } from '../../tools/ledger.ts'
import { createOutbox } from '../../tools/outbox.ts'
import { createRecords } from '../../tools/records.ts'
import type { ToolServerConfig } from '../config.ts'
import type { Guard } from '../guard/guard.ts'
import { shippedSurfaces } from '../guard/surface.ts'
import { jittered } from '../jitter.ts'
import type { Logger } from '../log.ts'
import { guardFromConfig } from '../start-guard.ts'
import { StartupDenied } from '../startup-denied.ts'
import { callerRecord, callersOf, readCallers, type Callers } from '../tool-server/callers.ts'
import { createToolServer } from '../tool-server/tool-server.ts'
import { exit, namingPort, type Running } from './lifecycle.ts'
import { isLoopback } from '../loopback.ts'
import { ensureToolServerSecrets, toolServerFile } from './secrets.ts'

/** The tool server, listening: config → guard → startup boundary → server. Throws `StartupDenied`, having started nothing. */
export async function startToolServer(config: ToolServerConfig, log: Logger): Promise<Running> {
  const secrets = ensureToolServerSecrets(config.DATA_DIR)
  const guard = guardFromConfig(withDefaults(config, secrets.runtime), {
    log,
    surfaces: config.surfaces ?? shippedSurfaces(config.MACHINEID_DEVICE_ID),
    onServerDenied: (denied) => {
      if (config.ON_SERVER_DENIED !== 'exit') return
      log.fatal({ code: denied.code, request_id: denied.requestId }, 'the server device is denied, exiting')
      void guard.close().finally(() => exit(log, 1))
    },
  })
  if (config.SMTP_URL !== undefined) {
    log.warn('SMTP_URL serves the mails of the control plane: send_email writes to the outbox in DATA_DIR')
  }
  const sinks = openSinks(config.DATA_DIR)
  const toolServer = createToolServer({
    guard,
    tools: createAccountsTools(guard, sinks),
    callers: callersFromConfig(config, secrets.callerToken),
    publicUrl: config.PUBLIC_URL,
    allowedHosts: config.ALLOWED_HOSTS,
    trustProxy: config.TRUST_PROXY,
    tls: config.tls,
    log,
  })
  await startup(guard, config, log)
  const listening = toolServer.listen({ host: config.HOST, port: config.TOOL_SERVER_PORT })
  const { url } = await namingPort('TOOL_SERVER_PORT', listening)
  log.info({ url }, 'tool server is listening')
  const close = async () => {
    await guard.close()
    await toolServer.close()
    sinks.ledger.close()
    sinks.records.close()
  }
  return { url, close }
}

/** What the shipped tools act on: an embedded ledger, a folder of mails, a table of records. */
function openSinks(dataDir: string): AccountsToolsOptions {
  return {
    ledger: createLedger({ file: join(dataDir, 'ledger.sqlite') }),
    outbox: createOutbox({ directory: join(dataDir, 'outbox') }),
    records: createRecords({ file: join(dataDir, 'records.sqlite') }),
  }
}

/** Without settings: the control plane that `npm start` runs beside it, and the key that it wrote. */
function withDefaults(config: ToolServerConfig, runtime: string | undefined): ToolServerConfig {
  const hasKey = config.MACHINEID_ORG_KEY !== undefined || config.MACHINEID_ORG_KEY_FILE !== undefined
  return {
    ...config,
    MACHINEID_BASE_URL: config.MACHINEID_BASE_URL ?? `http://127.0.0.1:${config.CONTROL_PLANE_PORT}`,
    MACHINEID_ORG_KEY_FILE:
      hasKey || runtime === undefined ? config.MACHINEID_ORG_KEY_FILE : toolServerFile(config.DATA_DIR),
  }
}

/** Off loopback only a file counts: the token of the first start lies beside the tools. */
function callersFromConfig(config: ToolServerConfig, token: string): Callers | undefined {
  if (config.CALLER_TOKENS_FILE !== undefined) return readCallers(config.CALLER_TOKENS_FILE)
  if (!isLoopback(config.HOST) || config.PUBLIC_URL !== undefined) return undefined
  return callersOf([
    callerRecord(token, { id: 'first-caller', name: 'First caller', scopes: ['tools:call'] }),
  ])
}

const WAIT_MS = { min: 1000, max: 30_000 }

async function startup(guard: Guard, config: ToolServerConfig, log: Logger): Promise<void> {
  for (let delayMs = WAIT_MS.min; ; delayMs = Math.min(delayMs * 2, WAIT_MS.max)) {
    const decision = await guard.start()
    if (decision.allowed) return
    if (config.ON_STARTUP_DENIED === 'exit') {
      await guard.close({ graceMs: 0 })
      throw new StartupDenied(decision)
    }
    log.warn({ code: decision.code, delay_ms: delayMs }, 'startup denied, asking again')
    await sleep(jittered(delayMs))
  }
}
