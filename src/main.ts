import {
  loadEnvFile,
  programEnv,
  readControlPlaneConfig,
  readStoreConfig,
  readToolServerConfig,
} from './config.ts'
import { createLogger } from './log.ts'
import type { CommandContext } from './programs/backup.ts'
import { explain, runProgram } from './programs/lifecycle.ts'

// config → stores → server; each program closes in reverse. A program loads only what it needs.
const PROGRAMS: Record<string, () => Promise<void>> = {
  'control-plane': async () => {
    const config = readControlPlaneConfig()
    const log = createLogger({ level: config.LOG_LEVEL, name: 'control-plane' })
    await runProgram(async () => {
      const { startControlPlane } = await import('./programs/control-plane.ts')
      return startControlPlane(config, log)
    }, log)
  },
  'tool-server': async () => {
    const config = readToolServerConfig()
    const log = createLogger({ level: config.LOG_LEVEL, name: 'tool-server' })
    await runProgram(async () => {
      const { startToolServer } = await import('./programs/tool-server.ts')
      return startToolServer(config, log)
    }, log)
  },
}

function commandContext(): CommandContext {
  const { DATA_DIR: dataDir, DATABASE_URL: url, DATABASE_TIMEOUT_MS: timeoutMs } = readStoreConfig()
  return { dataDir, database: url === undefined ? undefined : { url, timeoutMs }, say, note }
}

/** What works on the store or on files of this machine, without the servers, and is then over with a status. */
const FILE_COMMANDS: Record<string, (args: readonly string[]) => Promise<number>> = {
  backup: async (args) => {
    const { runBackup } = await import('./programs/backup.ts')
    return runBackup(args, commandContext())
  },
  'restore-backup': async (args) => {
    const { runRestoreBackup } = await import('./programs/restore-backup.ts')
    return runRestoreBackup(args, commandContext())
  },
  'audit verify': async (args) => {
    const { runAudit } = await import('./programs/audit.ts')
    return runAudit(['verify', ...args], { say, note }, () => commandContext().database)
  },
}

const say = (text: string) => void process.stdout.write(`${text}\n`)
const note = (text: string) => void process.stderr.write(`${text}\n`)

async function main(args: readonly string[]): Promise<number> {
  const fromFile = loadEnvFile()
  const [command, ...rest] = args
  const asksForHelp = rest.some((arg) => arg === '--help' || arg === '-h')
  if (command === undefined || (command === 'start' && rest.length === 0)) {
    const { startAll } = await import('./programs/start.ts')
    return startAll(programEnv(), say)
  }
  const program = PROGRAMS[command]
  if (program !== undefined && rest.length === 0) {
    await program()
    return 0
  }
  const [onFiles, given] = command === 'audit' ? [`audit ${rest[0]}`, rest.slice(1)] : [command, rest]
  const run = FILE_COMMANDS[onFiles]
  if (run !== undefined && !asksForHelp) return run(given)
  const { runOnThisProcess } = await import('./cli/process.ts')
  return runOnThisProcess(args, fromFile)
}

main(process.argv.slice(2)).then(
  (status) => (process.exitCode = status),
  // The channel to a supervisor would keep a failed program alive.
  (error: unknown) => process.stderr.write(`${explain(error)}\n`, () => process.exit(1)),
)
