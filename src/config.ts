import { existsSync } from 'node:fs'
import { z } from 'zod'
import { alertsShape, readAlerts, readTls, type AlertSettings } from './config-files.ts'
import { poolSize, postgres, postgresUrl } from './config-postgres.ts'
import {
  differentPorts,
  drills,
  mailFrom,
  oneKey,
  PORTS,
  realMoney,
  sharedRuns,
  sharedStore,
} from './config-together.ts'
import { HoldpointError } from './errors.ts'
import type { TlsOptions } from './http.ts'
import { TIMEOUT_MS } from './guard/time-budget.ts'
import { deviceIdProblem } from './guard/device.ts'
import { SERVER_SURFACE, type SurfaceOptions } from './guard/surface.ts'

/** The environment, as `process.env` gives it. This file is its only reader. */
export type Env = Readonly<Record<string, string | undefined>>

/** Everything that is wrong with the environment, at once: one line for each variable. */
export class ConfigError extends HoldpointError {
  override readonly name = 'ConfigError'

  constructor(problems: readonly string[]) {
    const lines = problems.map((problem) => `  ${problem}`).join('\n')
    super('CONFIG_INVALID', `The environment cannot work:\n${lines}\nSee .env.example.`)
  }
}

const port = (fallback: number) =>
  z.coerce.number('a port, 0 to 65535').int().min(0).max(65535).default(fallback)
const deviceId = z.string().superRefine((value, context) => {
  const problem = deviceIdProblem(value)
  if (problem !== undefined) context.addIssue(problem)
})
const httpUrl = () => z.url({ protocol: /^https?$/, error: 'an http or https URL, as http://127.0.0.1:4100' })
const list = z.string().transform((text) =>
  text
    .split(',')
    .map((item) => item.trim())
    .filter(Boolean),
)

/** A number of requests in each second; 0 sets no limit. */
const perSecond = (fallback: number) =>
  z.coerce.number('a whole number, 0 or above').int().min(0).default(fallback)
const secret = z.string().min(32, 'at least 32 characters')
const trustProxy = z.coerce.number('how many proxies stand in front, 0 to 8').int().min(0).max(8).default(0)

/** The keys that seal paused runs, each 32 bytes in base64url or hex. The first seals, all open. */
const stateKeys = list.transform((texts, context) => {
  if (texts.length === 0) context.addIssue(STATE_KEY_PROBLEM)
  return texts.map((text) => {
    const key = /^[0-9a-f]{64}$/i.test(text) ? Buffer.from(text, 'hex') : Buffer.from(text, 'base64url')
    // The text is a secret: it is not repeated.
    if (key.length !== 32 || !/^[\w-]+=?$/.test(text)) context.addIssue(STATE_KEY_PROBLEM)
    return key
  })
})
const STATE_KEY_PROBLEM =
  '32 random bytes in base64url or hex, or several with commas between; make one with: openssl rand -hex 32'

const mail = {
  SMTP_URL: z.url({ protocol: /^smtps?$/, error: 'smtp://… or smtps://…' }).optional(),
  MAIL_FROM: z.string().default('holdpoint <holdpoint@localhost>'),
}

const common = {
  HOST: z.string().default('127.0.0.1'),
  DATA_DIR: z.string().default('./data'),
  LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
  ALLOWED_HOSTS: list.default([]),
  TRUST_PROXY: trustProxy,
  METRICS_TOKEN: secret.optional(),
  TLS_CERT_FILE: z.string().optional(),
  TLS_KEY_FILE: z.string().optional(),
}

const toolServerUrls = list.pipe(
  z.array(
    z.url({
      protocol: /^https?$/,
      error: 'http or https URLs with commas between, as http://127.0.0.1:4200',
    }),
  ),
)

const controlPlaneShape = z.object({
  ...common,
  CONTROL_PLANE_PORT: port(PORTS.CONTROL_PLANE_PORT),
  OPERATOR_PORT: port(PORTS.OPERATOR_PORT),
  PLATFORM_TOKEN: secret.optional(),
  VALIDATE_WORKERS: z.coerce.number('how many threads, 1 to 64').int().min(1).max(64).default(1),
  VALIDATES_PER_SECOND_PER_KEY: perSecond(5000),
  VALIDATES_PER_SECOND_PER_ORG: perSecond(20_000),
  DECISION_LOG: z.enum(['denials', 'all'], 'denials or all').default('denials'),
  DECISION_RETENTION_DAYS: z.coerce.number('a number of days, 1 to 3650').int().min(1).max(3650).default(30),
  CONSOLE_URL: httpUrl().optional(),
  DRILL_TOOL_SERVER_URL: toolServerUrls.optional(),
  DRILL_TOKEN: z.string().optional(),
  DRILL_TOKEN_FILE: z.string().optional(),
  DRILL_ORG_ID: z.string().optional(),
  MACHINEID_CA_FILE: z.string().optional(),
  DATABASE_URL: postgresUrl,
  DATABASE_POOL_SIZE: poolSize(10),
  VALIDATE_POOL_SIZE: poolSize(4),
  CONSISTENCY: z.enum(['primary', 'quorum'], 'primary or quorum').default('primary'),
  ...postgres,
  ...mail,
})

const guardShape = z.object({
  MACHINEID_ORG_KEY: z.string().optional(),
  MACHINEID_ORG_KEY_FILE: z.string().optional(),
  MACHINEID_BASE_URL: httpUrl().optional(),
  MACHINEID_CA_FILE: z.string().optional(),
  MACHINEID_DEVICE_ID: deviceId.default('openai-agent:dev:tool-server:01'),
  MACHINEID_SURFACES: z.string().optional(),
  MACHINEID_PROFILE: z.enum(['holdpoint', 'machineid']).optional(),
  VALIDATE_TIMEOUT_MS: z.coerce
    .number(`a number of milliseconds, ${TIMEOUT_MS.min} to ${TIMEOUT_MS.max}`)
    .min(TIMEOUT_MS.min)
    .max(TIMEOUT_MS.max)
    .default(TIMEOUT_MS.default),
  DATA_DIR: common.DATA_DIR,
  LOG_LEVEL: common.LOG_LEVEL,
})

const modelShape = z.object({
  OPENAI_API_KEY: z.string().optional(),
  OPENAI_BASE_URL: httpUrl().optional(),
  OPENAI_MODEL: z.string().optional(),
})

const toolServerShape = guardShape.extend({
  ...common,
  TOOL_SERVER_PORT: port(PORTS.TOOL_SERVER_PORT),
  CONTROL_PLANE_PORT: port(PORTS.CONTROL_PLANE_PORT),
  ON_STARTUP_DENIED: z.enum(['exit', 'wait']).default('exit'),
  ON_SERVER_DENIED: z.enum(['deny', 'exit']).default('deny'),
  PUBLIC_URL: httpUrl().optional(),
  CALLER_TOKENS_FILE: z.string().optional(),
  RUN_STATE_KEY: stateKeys.optional(),
  APPROVAL_TTL_SECONDS: z.coerce
    .number('a number of seconds, 10 to 86400')
    .int()
    .min(10)
    .max(86_400)
    .default(900),
  APPROVAL_DESK: z.enum(['on', 'off'], 'on or off').default('on'),
  MAX_CONCURRENT_RUNS: z.coerce
    .number('how many runs at once, 1 to 10000')
    .int()
    .min(1)
    .max(10_000)
    .default(64),
  ...modelShape.shape,
  STRIPE_API_KEY: z
    .string()
    .regex(/^(?:sk|rk)_(?:test|live)_\S+$/, 'a secret key of Stripe: sk_test_…, or restricted: rk_live_…')
    .optional(),
  STRIPE_PAYMENT_METHOD: z
    .string()
    .regex(/^pm_\w+$/, 'the id of a payment method: pm_…')
    .optional(),
  STRIPE_CUSTOMER: z
    .string()
    .regex(/^cus_\w+$/, 'the id of a customer: cus_…')
    .optional(),
  STRIPE_API_BASE: httpUrl().optional(),
  ...alertsShape,
  TOOL_DATABASE_URL: postgresUrl,
  TOOL_DATABASE_POOL_SIZE: poolSize(10),
  ...postgres,
  ...mail,
})

const cliShape = z.object({
  HOLDPOINT_KEY: z.string().optional(),
  HOLDPOINT_TOKEN: z.string().optional(),
  PLATFORM_TOKEN: z.string().optional(),
  TOOL_SERVER_URL: toolServerUrls.optional(),
  CONSOLE_URL: controlPlaneShape.shape.CONSOLE_URL,
  OPERATOR_PORT: port(PORTS.OPERATOR_PORT),
  TOOL_SERVER_PORT: port(PORTS.TOOL_SERVER_PORT),
  CALLER_TOKENS_FILE: z.string().optional(),
  MACHINEID_CA_FILE: z.string().optional(),
  TLS_CERT_FILE: z.string().optional(),
  NO_COLOR: z.string().optional(),
  DATA_DIR: common.DATA_DIR,
})

/** Of what works on the store without the servers. */
const storeShape = controlPlaneShape.pick({ DATA_DIR: true, DATABASE_URL: true, DATABASE_TIMEOUT_MS: true })

export type CliConfig = z.infer<typeof cliShape>
export type ControlPlaneConfig = z.infer<typeof controlPlaneShape> & { readonly tls: TlsOptions | undefined }
export type GuardConfig = z.infer<typeof guardShape> & { readonly surfaces: SurfaceOptions | undefined }
export type ToolServerConfig = z.infer<typeof toolServerShape> &
  GuardConfig & { readonly tls: TlsOptions | undefined; readonly alerts: AlertSettings | undefined }

/** Throws `ConfigError`. */
export function readControlPlaneConfig(env: Env = process.env): ControlPlaneConfig {
  const problems: string[] = []
  const config = parse(controlPlaneShape, env, problems)
  differentPorts(env, problems, ['CONTROL_PLANE_PORT', 'OPERATOR_PORT'])
  sharedStore(env, problems)
  mailFrom(env, problems)
  drills(env, problems)
  const tls = readTls(env, problems)
  if (config === undefined || problems.length > 0) throw new ConfigError(problems)
  return { ...config, tls }
}

/** What the commands read that work on the store without the servers. Throws `ConfigError`. */
export function readStoreConfig(env: Env = process.env): z.infer<typeof storeShape> {
  return readShape(storeShape, env)
}

/** What `startGuard` reads. Throws `ConfigError`. */
export function readGuardConfig(env: Env = process.env): GuardConfig {
  const problems: string[] = []
  const config = parse(guardShape, env, problems)
  const surfaces = readSurfaces(env, problems)
  oneKey(env, problems)
  if (config === undefined || problems.length > 0) throw new ConfigError(problems)
  return { ...config, surfaces }
}

/** Throws `ConfigError`. */
export function readToolServerConfig(env: Env = process.env): ToolServerConfig {
  const problems: string[] = []
  const config = parse(toolServerShape, env, problems)
  const surfaces = readSurfaces(env, problems)
  const tls = readTls(env, problems)
  // Else the control plane is on another machine.
  if (!env['MACHINEID_BASE_URL']) differentPorts(env, problems, ['CONTROL_PLANE_PORT', 'TOOL_SERVER_PORT'])
  oneKey(env, problems)
  sharedRuns(env, problems)
  mailFrom(env, problems)
  realMoney(env, problems)
  const alerts = readAlerts(env, problems)
  if (config === undefined || problems.length > 0) throw new ConfigError(problems)
  return { ...config, surfaces, tls, alerts }
}

function readShape<T extends z.ZodObject>(shape: T, env: Env): z.infer<T> {
  const problems: string[] = []
  const config = parse(shape, env, problems)
  if (config === undefined) throw new ConfigError(problems)
  return config
}

function parse<T extends z.ZodObject>(shape: T, env: Env, problems: string[]): z.infer<T> | undefined {
  // An empty variable is one that is not set, as compose files and shells leave them.
  const set = Object.fromEntries(
    Object.keys(shape.shape).flatMap((name) => (env[name] ? [[name, env[name]]] : [])),
  )
  const parsed = shape.safeParse(set)
  if (parsed.success) return parsed.data
  problems.push(...parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`))
  return undefined
}

/** `payments,email`, or with devices `payments=openai-agent:prod:payments:02,records=tool-server`. */
function readSurfaces(env: Env, problems: string[]): SurfaceOptions | undefined {
  const text = env['MACHINEID_SURFACES']
  if (!text) return undefined
  const entries = list.parse(text).map((item) => item.split('='))
  if (entries.every((entry) => entry.length === 1)) return entries.map(([name]) => name as string)
  const wrong = entries.filter((entry) => entry.length !== 2 || entry.includes(''))
  if (wrong.length > 0) {
    problems.push(
      'MACHINEID_SURFACES: give names (payments,email) or name=device for each (payments=openai-agent:prod:payments:02,records=' +
        `${SERVER_SURFACE}), not both`,
    )
  }
  return Object.fromEntries(entries)
}

/** What the command line reads. Throws `ConfigError`. */
export function readCliConfig(env: Env = process.env): CliConfig {
  return readShape(cliShape, env)
}

/** The whole environment, to hand on to a program of ours. */
export function programEnv(): Env {
  return process.env
}

/**
 * Reads `.env` of the working directory into the environment, if there is one. What is set already stays. Answers what
 * was not: the variables that only `.env` sets.
 */
export function loadEnvFile(): ReadonlySet<string> {
  const before = new Set(Object.keys(process.env))
  if (existsSync('.env')) process.loadEnvFile('.env')
  return new Set(Object.keys(process.env).filter((name) => !before.has(name)))
}

/** Which model the demo and the examples run on. There the SDK itself reads `OPENAI_API_KEY` and `OPENAI_BASE_URL`. */
export function readModelConfig(env: Env = process.env): z.infer<typeof modelShape> {
  return readShape(modelShape, env)
}
