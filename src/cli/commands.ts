import { auditCommands } from './audit-export.ts'
import { callerCommands } from './callers.ts'
import type { Commands } from './cli.ts'
import { completionCommands } from './completion.ts'
import { deviceCommands } from './devices.ts'
import { doctorCommands } from './doctor.ts'
import { drillCommands } from './drill/drill.ts'
import { explainCommands } from './explain.ts'
import { keyCommands } from './keys.ts'
import { lockCommands } from './locks.ts'
import { orgCommands } from './org.ts'
import { panicCommands } from './panic.ts'
import { programCommands } from './programs.ts'
import { replicasCommands } from './replicas.ts'
import { runCommands } from './runs.ts'
import { statusCommands } from './status.ts'
import { stopsCommands } from './stops.ts'
import { surfaceCommands } from './surface.ts'
import { tailCommands } from './tail.ts'

/** In the order of the help. */
const GROUPS: readonly (readonly [heading: string, commands: readonly Commands[]])[] = [
  ['Stop and restore:', [panicCommands, deviceCommands, surfaceCommands, lockCommands, orgCommands]],
  ['Look:', [statusCommands, tailCommands, explainCommands, stopsCommands, replicasCommands, runCommands]],
  ['Prove:', [drillCommands, doctorCommands, auditCommands]],
  ['Who may:', [keyCommands, callerCommands]],
  ['Run:', [programCommands, completionCommands]],
]

/** Every command of the CLI. */
export const registerAll: Commands = (program, cli) => {
  for (const [heading, commands] of GROUPS) {
    program.commandsGroup(heading)
    for (const add of commands) add(program, cli)
  }
}
