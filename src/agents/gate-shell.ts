import type { ShellAction, ShellResult, ShellTool } from '@openai/agents'
import { callOfAction, gateAction } from './action-call.ts'
import { gateMethods, type Gate } from './gates.ts'

export const SHELL_METHODS = ['run'] as const

/** False for a shell that runs at OpenAI. */
export function isLocalShell(tool: ShellTool): boolean {
  return tool.environment?.type === 'local' && tool.shell !== undefined
}

/** The shell asks before each action. A denial is what each command of it says on its stderr. */
export function gateShell(tool: ShellTool, gate: Gate): void {
  if (tool.shell === undefined) return
  gateMethods(tool.shell, SHELL_METHODS, gate, async (body, [action]): Promise<ShellResult> => {
    const call = callOfAction(action)
    const at = { gate, tool: tool.name, call, onDenied: gate.onDenied }
    const outcome = await gateAction(at, body as () => Promise<ShellResult>)
    if (outcome.allowed) return outcome.value
    const refused = {
      stdout: '',
      stderr: outcome.answer.output,
      outcome: { type: 'exit', exitCode: NOT_PERMITTED },
    } as const
    return { output: (action as ShellAction).commands.map(() => refused) }
  })
}

/** What a shell itself exits with when it may not execute a command. */
const NOT_PERMITTED = 126
