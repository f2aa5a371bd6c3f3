import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'

import type { CliConfig } from '../config.ts'
import { KEY_KINDS, orList } from '../machineid/wire.ts'
import { EXIT, type Need } from './cli.ts'
import { CliError } from './cli-error.ts'
import { checkFoundUrl, checkOperatorWay } from './env-file.ts'

/** What `npm start` wrote for operators. Each field may be missing: somebody may have taken keys out. */
const OperatorFile = z.looseObject({
  viewer: z.string().optional(),
  stop: z.string().optional(),
  operator: z.string().optional(),
  admin: z.string().optional(),
  platformToken: z.string().optional(),
  approverToken: z.string().optional(),
  consoleUrl: z.string().optional(),
})
const ApproverFile = z.looseObject({ approverToken: z.string().optional() })

type Holder = keyof z.infer<typeof OperatorFile>

/** The keys of `operator.json` that may, the least first. */
const MAY: Record<Need, readonly ('viewer' | 'stop' | 'operator' | 'admin' | 'platformToken')[]> = {
  see: ['viewer', 'stop', 'operator', 'admin'],
  evidence: ['viewer', 'operator', 'admin'],
  stop: ['stop', 'operator', 'admin'],
  restore: ['operator', 'admin'],
  manage: ['admin'],
  platform: ['platformToken'],
}

export interface KeyAtHand {
  readonly secret: string
  /** `stop`, or `platform`. */
  readonly kind: string
  /** Where it was found, for messages: `HOLDPOINT_KEY`. */
  readonly from: string
  readonly isPlatform: boolean
}

export interface KeysAtHand {
  /** HOLDPOINT_KEY whatever its kind, else the least of those in `operator.json` that may. Throws `NO_KEY`. */
  key(need: Need): KeyAtHand
  /** HOLDPOINT_TOKEN, else the approver's that `npm start` made. */
  token(): string | undefined
  /** CONSOLE_URL, else where the control plane of DATA_DIR answers operators. Throws `ADDRESS_NOT_TRUSTED`. */
  operatorUrl(need: Need): string
}

/** Reads nothing before it is asked. `fromFile`: the variables that only `.env` of the current folder sets. */
export function keysAtHand(config: CliConfig, fromFile: ReadonlySet<string> = new Set()): KeysAtHand {
  const settings = { config, fromFile }
  const path = join(config.DATA_DIR, 'operator.json')
  let read: { readonly file: z.infer<typeof OperatorFile> | undefined } | undefined
  const file = () => (read ??= { file: readJson(path, OperatorFile) }).file
  return {
    key: (need) => {
      if (need === 'platform') return platformToken(config, file, path)
      if (config.HOLDPOINT_KEY !== undefined) {
        const secret = checkedSecret(config.HOLDPOINT_KEY, 'HOLDPOINT_KEY')
        return { secret, kind: kindOf(secret), from: 'HOLDPOINT_KEY', isPlatform: false }
      }
      for (const kind of MAY[need]) {
        const secret = file()?.[kind]
        if (typeof secret === 'string') {
          return {
            secret: checkedSecret(secret, path),
            kind,
            from: `"${kind}" of ${path}`,
            isPlatform: false,
          }
        }
      }
      throw noKey(need, path, file() !== undefined)
    },
    token: () =>
      config.HOLDPOINT_TOKEN === undefined
        ? (file()?.approverToken ??
          readJson(join(config.DATA_DIR, 'approver.json'), ApproverFile)?.approverToken)
        : checkedSecret(config.HOLDPOINT_TOKEN, 'HOLDPOINT_TOKEN'),
    operatorUrl: (need) => {
      checkOperatorWay(settings, need)
      if (config.CONSOLE_URL !== undefined) return withoutSlash(config.CONSOLE_URL)
      const found = file()?.consoleUrl
      if (found === undefined) return `http://127.0.0.1:${config.OPERATOR_PORT}`
      checkFoundUrl(settings, need, found, path)
      return withoutSlash(found)
    },
  }
}

function platformToken(
  config: CliConfig,
  file: () => Partial<Record<Holder, unknown>> | undefined,
  path: string,
) {
  const given = config.PLATFORM_TOKEN
  const secret = given ?? file()?.platformToken
  if (typeof secret !== 'string') throw noKey('platform', path, file() !== undefined)
  const from = given === undefined ? `"platformToken" of ${path}` : 'PLATFORM_TOKEN'
  return { secret: checkedSecret(secret, from), kind: 'platform', from, isPlatform: true }
}

function noKey(need: Need, path: string, hasFile: boolean): CliError {
  const wanted = need === 'platform' ? 'PLATFORM_TOKEN' : 'HOLDPOINT_KEY'
  const kinds = need === 'platform' ? 'the platform token' : `a key of kind ${orList([...MAY[need], 'full'])}`
  const why = hasFile ? `${path} has none that may do this` : `there is no ${path}`
  return new CliError(
    'NO_KEY',
    `This takes ${kinds}, and ${why}. Set ${wanted}, or set DATA_DIR to where the control plane keeps its files.`,
    EXIT.usage,
  )
}

/** A header could not carry anything else. */
function checkedSecret(secret: string, from: string): string {
  if (/^[\x21-\x7e]{1,512}$/.test(secret)) return secret
  throw new CliError(
    'KEY_UNUSABLE',
    `${from} has characters that no key has. Copy it again, without spaces or line breaks.`,
    EXIT.usage,
  )
}

/** As the key's own shape says; the control plane decides by what it knows. */
function kindOf(secret: string): string {
  const kind = /^org_([a-z]+)_/.exec(secret)?.[1]
  return KEY_KINDS.find((known) => known === kind) ?? 'unknown'
}

function readJson<T>(path: string, schema: z.ZodType<T>): T | undefined {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined
    throw new CliError(
      'SECRETS_UNREADABLE',
      `${path} cannot be read. Check its owner and mode.`,
      EXIT.error,
      {
        cause,
      },
    )
  }
  try {
    return schema.parse(JSON.parse(text))
  } catch {
    // The cause would quote the file's content.
    throw new CliError(
      'SECRETS_UNREADABLE',
      `${path} is not what holdpoint wrote there. Put the original back.`,
    )
  }
}

function withoutSlash(url: string): string {
  return url.replace(/\/+$/, '')
}
