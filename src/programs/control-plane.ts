import { join } from 'node:path'
import type { ControlPlaneConfig } from '../config.ts'
import type { DrillRunner } from '../control-plane/drills/drill-runs.ts'
import { createFolderMailer } from '../control-plane/mail-folder.ts'
import { createSmtpMailer } from '../control-plane/mail-smtp.ts'
import type { Mailer } from '../control-plane/mail.ts'
import { createService } from '../control-plane/service.ts'
import type { ControlPlaneStore } from '../control-plane/store.ts'
import { exit } from '../exit.ts'
import type { Logger } from '../log.ts'
import { isLoopback } from '../loopback.ts'
import type { DecisionSource } from '../store/decision-source.ts'
import { openControlPlaneStore as openPostgresStore } from '../store/postgres/control-plane.ts'
import { seenFileIn } from '../store/postgres/seen-file.ts'
import { whileLocked } from '../store/postgres/while-locked.ts'
import { openControlPlaneStore } from '../store/sqlite/control-plane.ts'
import { databaseFile } from './database-file.ts'
import { createDrillRunner } from './drill-runner.ts'
import { fromHere, type Running } from './lifecycle.ts'
import {
  ensureSecrets,
  ensureSharedSecrets,
  operatorFile,
  writeConsoleUrl,
  type OperatorSecrets,
  newPlatformToken,
} from './secrets.ts'
import { serveControlPlane } from './serve-control-plane.ts'

/**
 * The authority, listening: config → store → secrets → lanes. `onFatal` is told when nothing can be acknowledged or
 * answered any more. Default: exits.
 */
export async function startControlPlane(
  config: ControlPlaneConfig,
  log: Logger,
  onFatal: (problem: Error) => void = () => exit(log, 1),
): Promise<Required<Running>> {
  const { HOST: host, DATA_DIR: dataDir, PLATFORM_TOKEN: platformToken } = config
  const mailer = mailerOf(config, log)
  const { store, source } = await openStore(config, log)
  const secrets = await secretsOf(store, config)
  if (secrets === undefined && config.DATABASE_URL === undefined) warnOfMissing(config, log)
  const { url, operatorUrl, close } = await serveControlPlane({
    store,
    source,
    log,
    host,
    port: config.CONTROL_PLANE_PORT,
    operatorPort: config.OPERATOR_PORT,
    workers: config.VALIDATE_WORKERS,
    limits: {
      perKeyPerSecond: config.VALIDATES_PER_SECOND_PER_KEY,
      perOrgPerSecond: config.VALIDATES_PER_SECOND_PER_ORG,
    },
    recordAllows: config.DECISION_LOG === 'all',
    retentionDays: config.DECISION_RETENTION_DAYS,
    loopback: isLoopback(host),
    // Where operator.json was taken away: one that nobody has. Without any, a listener on loopback makes orgs for everybody.
    platformToken: platformToken ?? secrets?.platformToken ?? newPlatformToken(),
    metricsToken: config.METRICS_TOKEN,
    hosts: hostsOf(config),
    trustedProxies: config.TRUST_PROXY,
    tls: config.tls,
    mailer,
    consoleUrl: config.CONSOLE_URL,
    drillRunner: drillRunnerOf(config, secrets),
    onFatal,
    onDied: (error) => {
      log.fatal({ err: error }, 'a thread that answers validates ended')
      onFatal(error instanceof Error ? error : new Error(String(error)))
    },
  })
  if (secrets !== undefined) writeConsoleUrl(dataDir, config.CONSOLE_URL ?? fromHere(operatorUrl))
  log.info({ url, operator_url: operatorUrl }, 'control plane is listening')
  return { url, operatorUrl, close: () => close() }
}

/** Without a token of its own it uses the approver's, which the first start made beside the tool server's. */
function drillRunnerOf(
  config: ControlPlaneConfig,
  secrets: OperatorSecrets | undefined,
): DrillRunner | undefined {
  const { DRILL_TOOL_SERVER_URL: toolServerUrls, DRILL_TOKEN_FILE: file } = config
  const value = config.DRILL_TOKEN ?? secrets?.approverToken
  const token = file !== undefined ? { file } : value !== undefined && { value }
  const orgId = config.DRILL_ORG_ID ?? secrets?.orgId
  if (toolServerUrls === undefined || token === false || orgId === undefined) return undefined
  return createDrillRunner({
    orgId,
    toolServerUrls,
    token,
    dataDir: config.DATA_DIR,
    caFile: config.MACHINEID_CA_FILE,
    certificateFile: config.TLS_CERT_FILE,
  })
}

/** Not the tool server's outbox: these mails hold links that open the org. */
function mailerOf({ SMTP_URL: smtpUrl, MAIL_FROM: from, DATA_DIR }: ControlPlaneConfig, log: Logger): Mailer {
  return smtpUrl === undefined
    ? createFolderMailer({ directory: join(DATA_DIR, 'operator-outbox'), from, log })
    : createSmtpMailer({ smtpUrl, from })
}

/** Where Host is checked, the name of the console is one of ours too. */
function hostsOf({ HOST, ALLOWED_HOSTS, CONSOLE_URL }: ControlPlaneConfig): readonly string[] {
  const checked = isLoopback(HOST) || ALLOWED_HOSTS.length > 0
  return checked && CONSOLE_URL !== undefined
    ? [...ALLOWED_HOSTS, new URL(CONSOLE_URL).hostname]
    : ALLOWED_HOSTS
}

interface OpenedStore {
  readonly store: ControlPlaneStore
  readonly source: DecisionSource
}

async function openStore(config: ControlPlaneConfig, log: Logger): Promise<OpenedStore> {
  const { DATABASE_URL: url, DATABASE_TIMEOUT_MS: timeoutMs, CONSISTENCY: consistency } = config
  if (url === undefined) {
    const file = databaseFile(config.DATA_DIR)
    return { store: openControlPlaneStore({ file }), source: { kind: 'sqlite', file } }
  }
  const store = await openPostgresStore({
    url,
    poolSize: config.DATABASE_POOL_SIZE,
    timeoutMs,
    consistency,
    log,
    seenFile: seenFileIn(config.DATA_DIR),
  })
  return {
    store,
    source: {
      kind: 'postgres',
      url,
      poolSize: config.VALIDATE_POOL_SIZE,
      timeoutMs,
      consistency,
      knowledge: store.knowledge,
    },
  }
}

/** On purpose, where the operator has moved the file away; so it is said, and does not keep anybody from starting. */
function warnOfMissing({ DATA_DIR, PLATFORM_TOKEN, ...config }: ControlPlaneConfig, log: Logger): void {
  const off = []
  if (PLATFORM_TOKEN === undefined)
    off.push('calls with the platform token are refused: set PLATFORM_TOKEN to the one in that file')
  const hasToken = config.DRILL_TOKEN !== undefined || config.DRILL_TOKEN_FILE !== undefined
  if (config.DRILL_TOOL_SERVER_URL !== undefined && (!hasToken || config.DRILL_ORG_ID === undefined))
    off.push('drills are off: set DRILL_TOKEN_FILE and DRILL_ORG_ID')
  const file = operatorFile(DATA_DIR)
  log.warn(
    { file, off },
    `${file} is not there: nobody makes new keys, those of the org are where you keep it`,
  )
}

/** Undefined: the operator keeps the secrets elsewhere, or another node has made the org, and has them. */
async function secretsOf(
  store: ControlPlaneStore,
  config: ControlPlaneConfig,
): Promise<OperatorSecrets | undefined> {
  const { DATA_DIR: dataDir, DATABASE_URL: url, PLATFORM_TOKEN: platformToken } = config
  try {
    const service = createService({ store, onDecisionsLost: () => {} })
    const first = { dataDir, store, service, platformToken }
    if (url === undefined) return await ensureSecrets(first)
    // Of several nodes that start together one makes the org.
    return await whileLocked({ url, timeoutMs: config.DATABASE_TIMEOUT_MS }, () => ensureSharedSecrets(first))
  } catch (error) {
    await store.close()
    throw error
  }
}
