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

async function main(command: string | undefined): Promise<number> {
  loadEnvFile()
  if (command === undefined) {
    const { startAll } = await import('./programs/start.ts')
    return startAll(programEnv(), (text) => void process.stdout.write(`${text}\n`))
  }
  const program = PROGRAMS[command]
  if (program === undefined) {
    const known = `There are: ${Object.keys(PROGRAMS).join(', ')}, or none for both.`
    const isHelp = ['help', '-h', '--help'].includes(command)
    if (isHelp) process.stdout.write(`${known} Settings: .env.example\n`)
    else process.stderr.write(`Unknown program "${command}". ${known}\n`)
    return isHelp ? 0 : 2
  }
  await program()
  return 0
}

main(process.argv[2]).then(
  (status) => (process.exitCode = status),
  // The channel to a supervisor would keep a failed program alive.
  (error: unknown) => process.stderr.write(`${explain(error)}\n`, () => process.exit(1)),
)
