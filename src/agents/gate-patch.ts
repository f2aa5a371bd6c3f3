import type { ApplyPatchResult, ApplyPatchTool } from '@openai/agents'
import { callOfAction, gateAction } from './action-call.ts'
import { gateMethods, type Gate } from './gates.ts'

export const EDITOR_METHODS = ['createFile', 'updateFile', 'deleteFile'] as const

/** The editor asks before each file. A denial is a failed operation with the text of the refusal. */
export function gatePatch(tool: ApplyPatchTool, gate: Gate): void {
  gateMethods(
    tool.editor,
    EDITOR_METHODS,
    gate,
    async (body, [operation]): Promise<ApplyPatchResult | void> => {
      const call = callOfAction(operation)
      const at = { gate, tool: tool.name, call, onDenied: gate.onDenied }
      const outcome = await gateAction(at, body as () => Promise<ApplyPatchResult | void>)
      return outcome.allowed ? outcome.value : { status: 'failed', output: outcome.answer.output }
    },
  )
}
