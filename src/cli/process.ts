import { loadEnvFile, programEnv } from '../config.ts'
import { EXIT } from './cli.ts'
import { runCli } from './run-cli.ts'

/** Runs one command with the streams, signals and environment of this process. Answers its exit status. */
export async function runOnThisProcess(args: readonly string[]): Promise<number> {
  loadEnvFile()
  const interrupt = new AbortController()
  // The second Ctrl-C does not wait.
  const onSignal = () => (interrupt.signal.aborted ? process.exit(EXIT.interrupted) : interrupt.abort())
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  const { stdin, stdout, stderr } = process
  // Whoever reads has closed the pipe, as `head` does.
  stdout.on('error', (error: NodeJS.ErrnoException) =>
    process.exit(error.code === 'EPIPE' ? EXIT.ok : EXIT.error),
  )
  return runCli(args, { env: programEnv(), stdin, stdout, stderr, signal: interrupt.signal })
}
