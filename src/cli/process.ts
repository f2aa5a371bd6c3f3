import { loadEnvFile, programEnv } from '../config.ts'
import { EXIT } from './cli.ts'
import { runCli } from './run-cli.ts'

/**
 * Runs one command with the streams, signals and environment of this process. `fromFile`: the variables that only `.env`
 * set, when it is read already. Answers the exit status.
 */
export async function runOnThisProcess(
  args: readonly string[],
  fromFile: ReadonlySet<string> = loadEnvFile(),
): Promise<number> {
  const interrupt = new AbortController()
  // The second Ctrl-C does not wait.
  const onSignal = () => (interrupt.signal.aborted ? process.exit(EXIT.interrupted) : interrupt.abort())
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  // The terminal was closed.
  process.on('SIGHUP', () => interrupt.abort())
  const { stdin, stdout, stderr } = process
  // Whoever reads has closed the pipe, as `head` does. Only its time is over: what was stopped for a while is restored.
  let isUnread = false
  stdout.on('error', () => {
    isUnread = true
    interrupt.abort()
  })
  // Notes that nobody reads keep nobody from stopping.
  stderr.on('error', () => {})
  const status = await runCli(args, {
    env: programEnv(),
    fromFile,
    stdin,
    stdout,
    stderr,
    signal: interrupt.signal,
  })
  return isUnread && status === EXIT.interrupted ? EXIT.ok : status
}
