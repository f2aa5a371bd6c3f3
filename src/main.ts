import { loadEnvFile, programEnv, readControlPlaneConfig, readToolServerConfig } from './config.ts'
import { createLogger } from './log.ts'
import { explain, runProgram } from './programs/lifecycle.ts'

// config → stores → server; each program closes in reverse. A program loads only what it needs.
const PROGRAMS: Record<string, () => Promise<void>> = {
  'control-plane': async () => {
    const config = readControlPlaneConfig()
    const { startControlPlane } = await import('./programs/control-plane.ts')
    const log = createLogger({ level: config.LOG_LEVEL, name: 'control-plane' })
    await runProgram(() => startControlPlane(config, log), log)
  },
  'tool-server': async () => {
    const config = readToolServerConfig()
    const { startToolServer } = await import('./programs/tool-server.ts')
    const log = createLogger({ level: config.LOG_LEVEL, name: 'tool-server' })
    await runProgram(() => startToolServer(config, log), log)
  },
}

/** What is done and then over, with a status. */
const COMMANDS: Record<string, (args: readonly string[]) => Promise<number>> = {
  backup: async (args) => {
    const { runBackup } = await import('./programs/backup.ts')
    return runBackup(args, { dataDir: readControlPlaneConfig().DATA_DIR, say, note })
  },
  'restore-backup': async (args) => {
    const { runRestoreBackup } = await import('./programs/restore-backup.ts')
    return runRestoreBackup(args, { dataDir: readControlPlaneConfig().DATA_DIR, say, note })
  },
  audit: async (args) => {
    const { runAudit } = await import('./programs/audit.ts')
    return runAudit(args, { say, note })
  },
}

const say = (text: string) => void process.stdout.write(`${text}\n`)
const note = (text: string) => void process.stderr.write(`${text}\n`)

async function main(command: string | undefined, args: readonly string[]): Promise<number> {
  loadEnvFile()
  if (command === undefined) {
    const { startAll } = await import('./programs/start.ts')
    return startAll(programEnv(), say)
  }
  const run = COMMANDS[command]
  if (run !== undefined) return run(args)
  const program = PROGRAMS[command]
  if (program === undefined) {
    const known =
      `There are: ${Object.keys(PROGRAMS).join(', ')}, or none for both; ` +
      `and the commands ${Object.keys(COMMANDS).join(', ')}.`
    const isHelp = ['help', '-h', '--help'].includes(command)
    if (isHelp) say(`${known} Settings: .env.example`)
    else note(`Unknown program "${command}". ${known}`)
    return isHelp ? 0 : 2
  }
  await program()
  return 0
}

main(process.argv[2], process.argv.slice(3)).then(
  (status) => (process.exitCode = status),
  // The channel to a supervisor would keep a failed program alive.
  (error: unknown) => process.stderr.write(`${explain(error)}\n`, () => process.exit(1)),
)
