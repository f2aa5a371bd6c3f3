import { readCliConfig, type CliConfig } from '../config.ts'
import { isLoopback } from '../loopback.ts'
import { EXIT, type Need } from './cli.ts'
import { CliError } from './cli-error.ts'

type Setting = keyof CliConfig

/** The settings, and which of them only `.env` of the current folder says. */
interface Settings {
  readonly config: CliConfig
  readonly fromFile: ReadonlySet<string>
}

/**
 * `.env` of the current folder may be anybody's, as of a repository that was just cloned. It may not say where a secret
 * goes that does not stand in it, or whom to trust there. Throws `ADDRESS_NOT_TRUSTED`.
 */
export function checkOperatorWay(settings: Settings, need: Need): void {
  const { config } = settings
  const given: Setting = need === 'platform' ? 'PLATFORM_TOKEN' : 'HOLDPOINT_KEY'
  const address: Setting[] =
    config.CONSOLE_URL === undefined ? ['DATA_DIR', 'OPERATOR_PORT'] : ['CONSOLE_URL']
  checkWay(settings, config[given] === undefined ? 'DATA_DIR' : given, address)
}

/** As `checkOperatorWay`. `isGiven`: with `--tool-server`. */
export function checkToolServerWay(settings: Settings, isGiven: boolean): void {
  const { config } = settings
  const address: Setting = config.TOOL_SERVER_URL === undefined ? 'TOOL_SERVER_PORT' : 'TOOL_SERVER_URL'
  const secret = config.HOLDPOINT_TOKEN === undefined ? 'DATA_DIR' : 'HOLDPOINT_TOKEN'
  checkWay(settings, secret, isGiven ? [] : [address])
}

/**
 * A data folder that nobody named is found where the command is called, and may be anybody's too: an address elsewhere
 * that stands there is for its own keys only. Throws `ADDRESS_NOT_TRUSTED`.
 */
export function checkFoundUrl({ config, fromFile }: Settings, need: Need, url: string, path: string): void {
  const secret = need === 'platform' ? 'PLATFORM_TOKEN' : 'HOLDPOINT_KEY'
  const isNamed = isSaid(config, 'DATA_DIR') && !fromFile.has('DATA_DIR')
  if (config[secret] === undefined || fromFile.has(secret) || isNamed) return
  if (URL.canParse(url) && isLoopback(new URL(url).hostname)) return
  throw notTrusted(secret, `the address stands only in ${path}`)
}

/** `secret` holds it; `DATA_DIR` when it stands in a file there. `address` says where it is about to go. */
function checkWay({ config, fromFile }: Settings, secret: Setting, address: readonly Setting[]): void {
  if (fromFile.has(secret) || !isSaid(config, secret)) return
  const trusted = config.MACHINEID_CA_FILE === undefined ? 'TLS_CERT_FILE' : 'MACHINEID_CA_FILE'
  const foreign = [...address, trusted] as const
  const names = foreign.filter((name) => fromFile.has(name) && isSaid(config, name))
  if (names.length === 0) return
  throw notTrusted(secret, `${names.join(' and ')} ${names.length === 1 ? 'stands' : 'stand'} only in .env`)
}

/** Whoever copied `.env.example` has said nothing with a default. */
function isSaid(config: CliConfig, name: Setting): boolean {
  return String(config[name]) !== String(readCliConfig({})[name])
}

function notTrusted(secret: Setting, where: string): CliError {
  const what = secret === 'DATA_DIR' ? 'DATA_DIR, with its keys, is' : `${secret} is`
  return new CliError(
    'ADDRESS_NOT_TRUSTED',
    `${what} set in the environment, but ${where} of the current folder, which anybody may have written. ` +
      'Nothing was sent. Set both in the environment, or both in .env.',
    EXIT.usage,
  )
}
