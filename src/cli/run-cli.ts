import { readFileSync } from 'node:fs'
import { rootCertificates } from 'node:tls'
import { Command, CommanderError, Option } from 'commander'

import { readCliConfig, type CliConfig, type Env } from '../config.ts'
import { HoldpointError, messageOf } from '../errors.ts'
import { packageVersion } from '../package-version.ts'
import { EXIT, type Cli, type Commands } from './cli.ts'
import { CliError } from './cli-error.ts'
import { createCli, type CliParts, type GlobalOptions } from './create-cli.ts'
import { registerAll } from './commands.ts'
import { createHttp, type Http } from './http.ts'
import { shown, type In, type Out } from './terminal.ts'

export interface CliContext {
  readonly env: Env
  /** Variables of `env` that only `.env` of the current folder sets. Default: none. */
  readonly fromFile?: ReadonlySet<string>
  readonly stdin: In
  readonly stdout: Out
  readonly stderr: Out
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal
  /** Default: the wall clock. */
  readonly nowMs?: () => number
  /** Default: all of them. */
  readonly register?: Commands
}

/** Runs one command, and answers its exit status. Never rejects; opens nothing before the command does. */
export async function runCli(argv: readonly string[], context: CliContext): Promise<number> {
  const { stdout, stderr, signal, register = registerAll } = context
  let http: Http | undefined
  let cli: Cli | undefined
  const program = createProgram(context)
  const asTyped = (text: string) =>
    context.env['npm_command'] === 'exec' ? throughNpx(text, program.commands) : text
  const makeCli = () => {
    const config = readCliConfig(context.env)
    http = createHttp({ caPem: caOf(config), signal })
    return createCli({ ...context, config, http, options: program.opts<GlobalOptions>(), asTyped })
  }
  register(program, () => (cli ??= makeCli()))
  try {
    await program.parseAsync([...argv], { from: 'user' })
    return signal.aborted ? EXIT.interrupted : EXIT.ok
  } catch (error) {
    const isJson = program.opts<GlobalOptions>().json === true
    return tell(error, { stderr, signal, isJson, asTyped })
  } finally {
    await http?.close()
    await Promise.all([drained(stdout), drained(stderr)])
  }
}

function createProgram({ stdout, stderr }: CliContext): Command {
  const program = new Command('holdpoint')
  return (
    program
      .description('Stops what agents do, and proves that it stopped.')
      .usage('[options] <command>')
      .addOption(new Option('--json', 'answer in JSON'))
      .addOption(new Option('-y, --yes', 'do not ask, whatever is hit'))
      .addOption(
        new Option('--tool-server <url>', 'a tool server; may be given several times').argParser(
          (url: string, before: readonly string[] | undefined) => [...(before ?? []), url],
        ),
      )
      .version(packageVersion(), '-V, --version', 'print the version')
      .helpCommand('help [command]', 'what a command does')
      .configureHelp({ showGlobalOptions: true, sortSubcommands: false })
      .configureOutput({
        writeOut: (text) => void stdout.write(text),
        writeErr: (text) => void stderr.write(shown(text)),
        getOutHelpWidth: () => stdout.columns ?? 100,
        getErrHelpWidth: () => stderr.columns ?? 100,
        getOutHasColors: () => false,
        getErrHasColors: () => false,
      })
      .showSuggestionAfterError()
      // Inherited by every command that is added.
      .exitOverride()
  )
}

/** The commands in a text as somebody has to type them who has no `holdpoint` but `npx holdpoint`. */
function throughNpx(text: string, commands: readonly Command[]): string {
  const names = commands.map((command) => command.name()).join('|')
  const before = '^|[\\s"\'`(]|\u001B\\[\\d+m'
  return text.replace(new RegExp(`(?<=${before})(?<!npx )holdpoint (?=(?:${names})\\b)`, 'gm'), 'npx $&')
}

function caOf({
  MACHINEID_CA_FILE: caFile,
  TLS_CERT_FILE: certFile,
}: CliConfig): string | string[] | undefined {
  const file = caFile ?? certFile
  if (file === undefined) return undefined
  try {
    const pem = readFileSync(file, 'utf8')
    // The servers' own certificate may be one that everybody trusts.
    return caFile === undefined ? [...rootCertificates, pem] : pem
  } catch (cause) {
    const name = caFile === undefined ? 'TLS_CERT_FILE' : 'MACHINEID_CA_FILE'
    throw new CliError('CONFIG_INVALID', `${name} cannot be read: ${messageOf(cause)}`, EXIT.usage, { cause })
  }
}

function tell(
  error: unknown,
  {
    stderr,
    signal,
    isJson,
    asTyped,
  }: Pick<CliContext, 'stderr' | 'signal'> & Pick<CliParts, 'asTyped'> & { readonly isJson: boolean },
): number {
  // Commander has said it itself; help and version are no errors.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage
  const { code, status } = about(error)
  const isInterrupted = signal.aborted
  const message = messageOf(error)
  if (isJson) stderr.write(`${shown(JSON.stringify({ error: { code, message } }))}\n`)
  else stderr.write(`${shown(asTyped(message))}${message.includes(code) ? '' : ` (${code})`}\n`)
  // A stop that did not hold is not made good by whoever does not want to wait for the rest.
  return isInterrupted && status !== EXIT.denied ? EXIT.interrupted : status
}

function about(error: unknown): { readonly code: string; readonly status: number } {
  if (error instanceof CliError) return error
  if (!(error instanceof HoldpointError)) return { code: 'INTERNAL', status: EXIT.error }
  return { code: error.code, status: error.code === 'CONFIG_INVALID' ? EXIT.usage : EXIT.error }
}

function drained(stream: Out): Promise<void> {
  return new Promise((resolve) => {
    if (stream.writableEnded || stream.destroyed) resolve()
    else stream.write('', () => resolve())
  })
}
