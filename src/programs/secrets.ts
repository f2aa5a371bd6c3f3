import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import { endedByRestore } from '../control-plane/generation.ts'
import type { KeyRecord } from '../control-plane/records.ts'
import type { ControlPlaneService } from '../control-plane/service.ts'
import type { ControlPlaneStore } from '../control-plane/store.ts'
import { HoldpointError, messageOf } from '../errors.ts'
import { newCallerToken } from '../tool-server/callers.ts'

/** What somebody has added to a file stays in it. */
const OperatorSecrets = z.looseObject({
  orgId: z.string(),
  viewer: z.string(),
  stop: z.string(),
  operator: z.string(),
  admin: z.string(),
  platformToken: z.string(),
  /** Decides what waits for a person. Not in the file of an earlier version. */
  approverToken: z.string().optional(),
  /** Where operators ask. Not in the file of an earlier version. */
  consoleUrl: z.string().optional(),
})
const ToolServerSecrets = z.looseObject({
  orgId: z.string().optional(),
  runtime: z.string().optional(),
  callerToken: z.string(),
  /** Of the approver's token, which the tool server must not have. Not in the file of an earlier version. */
  approverSha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
  /** Seals paused runs: 32 bytes in base64url. Not in the file of an earlier version. */
  runStateKey: z
    .string()
    .regex(/^[\w-]{43}$/)
    .optional(),
})
const ApproverSecrets = z.looseObject({ approverToken: z.string() })

/** What an operator needs. The tool server never opens this file. */
export type OperatorSecrets = z.infer<typeof OperatorSecrets>
/** What the tool server needs: a key that can only ask, the token of its first caller, the key that seals its runs. */
export type ToolServerSecrets = z.infer<typeof ToolServerSecrets>

/** What the runtime key of `npm start` may ask for: the devices of agents, in any environment. */
export const FIRST_BINDINGS = ['openai-agent:*']

export const operatorFile = (dataDir: string) => join(dataDir, 'operator.json')
export const toolServerFile = (dataDir: string) => join(dataDir, 'tool-server.json')
/** Where there is no `operator.json`, because the control plane is elsewhere. */
const approverFile = (dataDir: string) => join(dataDir, 'approver.json')

export interface FirstStart {
  readonly dataDir: string
  readonly store: ControlPlaneStore
  readonly service: ControlPlaneService
  /** Taken over when the operator chose one. */
  readonly platformToken: string | undefined
}

/** What the two files hold; undefined for one that is not there. Throws `SECRETS_UNREADABLE`. */
export function readSecrets(dataDir: string): {
  readonly operator: OperatorSecrets | undefined
  readonly toolServer: ToolServerSecrets | undefined
} {
  return {
    operator: readJson(operatorFile(dataDir), OperatorSecrets),
    toolServer: readJson(toolServerFile(dataDir), ToolServerSecrets),
  }
}

/**
 * The first start makes an org on the free plan and writes its secrets to two files, mode 0600; later starts read
 * them. Undefined when the operator keeps `operator.json` elsewhere. Throws `SECRETS_MISSING`, `SECRETS_UNKNOWN` or
 * `SECRETS_ENDED` when database and files do not belong together.
 */
export async function ensureSecrets(options: FirstStart): Promise<OperatorSecrets | undefined> {
  const { dataDir, service } = options
  const { operator, toolServer } = readSecrets(dataDir)
  if ((await service.countOrgs()) === 0) {
    if (operator === undefined && toolServer?.runtime === undefined) return createSecrets(options, toolServer)
    throw secretsUnknown(dataDir)
  }
  if (operator === undefined) {
    if (toolServer?.runtime !== undefined) await assertKnown(options, [toolServer.runtime], toolServer.orgId)
    return undefined
  }
  if (toolServer?.runtime === undefined) throw secretsMissing(dataDir, toolServerFile(dataDir))
  await assertKnown(options, [operator.admin, operator.stop, toolServer.runtime], operator.orgId)
  return completeSecrets(dataDir, operator, toolServer)
}

/**
 * The same where several nodes share a database: the one that finds it empty makes the org, and has the files. Undefined
 * on the others, which need none.
 */
export async function ensureSharedSecrets(options: FirstStart): Promise<OperatorSecrets | undefined> {
  const { operator } = readSecrets(options.dataDir)
  if (operator === undefined && (await options.service.countOrgs()) > 0) return undefined
  return ensureSecrets(options)
}

/** `orgId`: undefined in a `tool-server.json` of an earlier version. */
async function assertKnown(
  { dataDir, store, service }: FirstStart,
  keys: readonly string[],
  orgId: string | undefined,
): Promise<void> {
  for (const key of keys) {
    const record = await service.findKey(key)
    if (record === undefined || record.orgId !== (orgId ?? record.orgId)) throw secretsUnknown(dataDir)
    // Burned by an operator is another matter: the control plane starts, so that one can go on.
    if (await endedByRestore(store, record)) throw secretsEnded(dataDir, record)
  }
}

/** Writes both files, with what an earlier version did not put there: the approver's token and the key that seals runs. */
export function completeSecrets(
  dataDir: string,
  operator: OperatorSecrets,
  toolServer: ToolServerSecrets,
): OperatorSecrets {
  const approverToken = operator.approverToken ?? newCallerToken()
  const approverSha256 = sha256(approverToken)
  const runStateKey = toolServer.runStateKey ?? newRunStateKey()
  if (toolServer.approverSha256 !== approverSha256 || toolServer.runStateKey === undefined)
    writeSecret(toolServerFile(dataDir), { ...toolServer, approverSha256, runStateKey })
  // Of the time when only a tool server ran here: its token counts no more.
  rmSync(approverFile(dataDir), { force: true })
  if (operator.approverToken !== undefined) return operator
  const completed = { ...operator, approverToken }
  writeSecret(operatorFile(dataDir), completed)
  return completed
}

function secretsMissing(dataDir: string, file: string): HoldpointError {
  return new HoldpointError(
    'SECRETS_MISSING',
    `The database in ${dataDir} has an org, but ${file} is not there or holds no keys. Put the file back; keys are stored ` +
      `hashed and cannot be read from the database. To begin anew, move ${dataDir} away.`,
  )
}

function secretsUnknown(dataDir: string): HoldpointError {
  return new HoldpointError(
    'SECRETS_UNKNOWN',
    `${operatorFile(dataDir)} and ${toolServerFile(dataDir)} hold keys that the database in ${dataDir} does not know. ` +
      'Put the database back that they belong to, or move the two files away together with it to begin anew.',
  )
}

function secretsEnded(dataDir: string, { endedAtMs }: KeyRecord): HoldpointError {
  const at = endedAtMs === null ? '' : ` at ${new Date(endedAtMs).toISOString()}`
  return new HoldpointError(
    'SECRETS_ENDED',
    `${operatorFile(dataDir)} and ${toolServerFile(dataDir)} were made before the database was restored${at}, and a restore ` +
      'ends every key. npx holdpoint restore-backup has written new ones there: put those files back. If there are none, because a ' +
      'backup was copied by hand, make them now: npx holdpoint backup FILE, then npx holdpoint restore-backup FILE.',
  )
}

async function createSecrets(
  options: FirstStart,
  existing: ToolServerSecrets | undefined,
): Promise<OperatorSecrets> {
  const { dataDir, service } = options
  const { orgId, keys } = await service.createOrg({ kinds: ['viewer', 'stop', 'operator', 'admin'] })
  const { key: runtime } = await service.issueKey({ orgId, kind: 'runtime', bindings: FIRST_BINDINGS })
  const platformToken = options.platformToken ?? newPlatformToken()
  const operator = OperatorSecrets.parse({ orgId, ...keys, platformToken })
  const toolServer = { ...existing, orgId, runtime, callerToken: existing?.callerToken ?? newCallerToken() }
  writeSecret(toolServerFile(dataDir), toolServer)
  writeSecret(operatorFile(dataDir), operator)
  return completeSecrets(dataDir, operator, toolServer)
}

export function newPlatformToken(): string {
  return `hpp_${randomBytes(32).toString('base64url')}`
}

/** Tells operators where to ask, once that is known. */
export function writeConsoleUrl(dataDir: string, consoleUrl: string): void {
  const file = operatorFile(dataDir)
  const operator = JSON.parse(readFileSync(file, 'utf8')) as OperatorSecrets
  if (operator.consoleUrl !== consoleUrl) writeSecret(file, { ...operator, consoleUrl })
}

/**
 * The tool server's own secrets; makes what is not there, as on a machine without a control plane: a caller token, the
 * key that seals runs, and where the tokens of the files count an approver, whose token goes to `approver.json` while
 * only its hash stays here.
 */
export function ensureToolServerSecrets(
  dataDir: string,
  { tokensCount }: { readonly tokensCount: boolean },
): ToolServerSecrets & { readonly runStateKey: string } {
  const existing = readJson(toolServerFile(dataDir), ToolServerSecrets)
  const callerToken = existing?.callerToken ?? newCallerToken()
  const runStateKey = existing?.runStateKey ?? newRunStateKey()
  const approverSha256 = existing?.approverSha256 ?? (tokensCount ? firstApprover(dataDir) : undefined)
  const secrets = { ...existing, callerToken, runStateKey, approverSha256 }
  const isComplete = existing?.runStateKey !== undefined && existing.approverSha256 === approverSha256
  if (!isComplete) writeSecret(toolServerFile(dataDir), secrets)
  return secrets
}

/** Beside an `operator.json` the control plane makes the approver, when it starts. */
function firstApprover(dataDir: string): string | undefined {
  if (existsSync(operatorFile(dataDir))) return undefined
  const approverToken = newCallerToken()
  writeSecret(approverFile(dataDir), { approverToken })
  return sha256(approverToken)
}

/** The token that `npm start` made for whoever decides. Undefined where there is none. */
export function readApproverToken(dataDir: string): string | undefined {
  return (
    readJson(operatorFile(dataDir), OperatorSecrets)?.approverToken ??
    readJson(approverFile(dataDir), ApproverSecrets)?.approverToken
  )
}

function newRunStateKey(): string {
  return randomBytes(32).toString('base64url')
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

function readJson<T>(file: string, schema: z.ZodType<T>): T | undefined {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new HoldpointError('SECRETS_UNREADABLE', `${file} cannot be read. Check its owner and mode.`, {
      cause,
    })
  }
  try {
    return schema.parse(JSON.parse(text))
  } catch (cause) {
    // The cause would quote the file's content.
    throw new HoldpointError(
      'SECRETS_UNREADABLE',
      `${file} is not what holdpoint wrote there. Put the original back.`,
      {
        cause: cause instanceof SyntaxError ? undefined : cause,
      },
    )
  }
}

/** Makes a directory below DATA_DIR that only this user can enter. */
export function makeDataDir(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
  } catch (cause) {
    throw notWritable(directory, cause)
  }
}

function notWritable(path: string, cause: unknown): HoldpointError {
  const message = `${path} cannot be written (${messageOf(cause)}). Check DATA_DIR, its owner and mode.`
  return new HoldpointError('DATA_DIR_NOT_WRITABLE', message, { cause })
}

/** Whole or not at all: written beside and renamed. */
export function writeSecret(file: string, value: unknown): void {
  makeDataDir(dirname(file))
  try {
    const draft = `${file}.${process.pid}.tmp`
    const text = typeof value === 'string' ? value : `${JSON.stringify(value, null, 2)}\n`
    writeFileSync(draft, text, { mode: 0o600, flush: true })
    renameSync(draft, file)
  } catch (cause) {
    throw notWritable(file, cause)
  }
}
