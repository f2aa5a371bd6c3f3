import type { CliConfig } from '../config.ts'
import { EXIT, type Cli } from './cli.ts'
import { CliError } from './cli-error.ts'
import { checkToolServerWay } from './env-file.ts'
import type { Http } from './http.ts'
import { keysAtHand } from './keys-at-hand.ts'
import { createOperatorClient } from './operator-client.ts'
import { ask, createPaint, jsonText, shown, spin, type In, type Out } from './terminal.ts'
import { createToolServerClient } from './tool-server-client.ts'

/** Of every command. */
export interface GlobalOptions {
  readonly json?: boolean
  readonly yes?: boolean
  readonly toolServer?: readonly string[]
}

export interface CliParts {
  readonly config: CliConfig
  /** As in `CliContext`. */
  readonly fromFile?: ReadonlySet<string>
  readonly http: Http
  readonly options: GlobalOptions
  readonly stdin: In
  readonly stdout: Out
  readonly stderr: Out
  readonly signal: AbortSignal
  readonly nowMs?: () => number
  /** A text with its commands as they are to be typed here. */
  readonly asTyped: (text: string) => string
}

/** Opens nothing. */
export function createCli(parts: CliParts): Cli {
  const { config, http, options, stdin, stdout, stderr, signal, nowMs = Date.now, asTyped } = parts
  const settings = { config, fromFile: parts.fromFile ?? new Set<string>() }
  const isJson = options.json === true
  const isTerminal = stdout.isTTY === true
  const keys = keysAtHand(config, settings.fromFile)
  const print = (text: string) => void stdout.write(`${text}\n`)
  const asText = (text: string | (() => string)) => shown(asTyped(typeof text === 'string' ? text : text()))
  return {
    show: ({ json, text, secret }) => {
      if (isJson) return print(jsonText(json, 2))
      const said = asText(text)
      if (said !== '') print(said)
      if (secret !== undefined) print(secret)
    },
    line: ({ json, text }) => print(isJson ? jsonText(json) : asText(text)),
    progress: (text) =>
      isJson || stderr.isTTY !== true ? { update: () => {}, end: () => {} } : spin(stderr, text),
    note: (text) => void stderr.write(`${shown(asTyped(text))}\n`),
    confirm: async (question) => {
      if (options.yes === true) return true
      if (stdin.isTTY !== true || stderr.isTTY !== true) throw nobodyToAsk(question)
      const answer = await ask(`${shown(question)} [y/N] `, stdin, stderr, signal).catch((cause: unknown) => {
        throw new CliError('INTERRUPTED', 'Interrupted. Nothing was changed.', EXIT.interrupted, { cause })
      })
      return /^y(es)?$/i.test(answer.trim())
    },
    isSure: options.yes === true,
    signal,
    paint: createPaint(isTerminal && !isJson && !config.NO_COLOR),
    columns: isTerminal ? stdout.columns || 80 : undefined,
    isJson,
    operator: (need) => createOperatorClient(http, keys.operatorUrl(need), keys.key(need)),
    toolServers: () => {
      checkToolServerWay(settings, options.toolServer !== undefined)
      const urls = options.toolServer ??
        config.TOOL_SERVER_URL ?? [`http://127.0.0.1:${config.TOOL_SERVER_PORT}`]
      return [...new Set(urls.map(checkedUrl))].map((url) => createToolServerClient(http, url, keys.token()))
    },
    dataDir: config.DATA_DIR,
    callerTokensFile: config.CALLER_TOKENS_FILE,
    nowMs,
  }
}

function nobodyToAsk(question: string): CliError {
  return new CliError(
    'CONFIRMATION_NEEDED',
    `${question}\nThere is nobody to ask. Add --yes to do it, or --dry-run to see what it would hit.`,
    EXIT.usage,
  )
}

function checkedUrl(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  // A URL may carry a password: it is not repeated.
  if (
    parsed === undefined ||
    !/^https?:$/.test(parsed.protocol) ||
    parsed.username !== '' ||
    parsed.password !== ''
  ) {
    throw new CliError(
      'BAD_URL',
      '--tool-server takes an http or https URL without a password, for example http://127.0.0.1:4200.',
      EXIT.usage,
    )
  }
  return url.replace(/\/+$/, '')
}
