// A shell, an editor and a computer that only count, and the items with which a model calls them.

import {
  applyPatchTool,
  computerTool,
  shellTool,
  type ApplyPatchOperation,
  type Editor,
  type Shell,
} from '@openai/agents'

/** What really ran, in order. */
export type Ran = string[]

export function countingShell(ran: Ran): Shell {
  return {
    run: async ({ commands }) => {
      ran.push(...commands)
      const output = commands.map((command) => ({
        stdout: `${command} ok`,
        stderr: '',
        outcome: { type: 'exit' as const, exitCode: 0 },
      }))
      return { output, maxOutputLength: 100 }
    },
  }
}

export function countingEditor(ran: Ran): Editor {
  const note = async ({ type, path }: ApplyPatchOperation) => {
    ran.push(`${type} ${path}`)
    return { output: `${path} written` }
  }
  return { createFile: note, updateFile: note, deleteFile: note }
}

/** A class with a private part, as a real one would be. */
export class CountingComputer {
  readonly environment = 'browser'
  readonly dimensions: [number, number] = [800, 600]
  readonly #ran: Ran

  constructor(ran: Ran) {
    this.#ran = ran
  }

  initRun() {
    this.#ran.push('initRun')
  }
  screenshot() {
    this.#ran.push('screenshot')
    return 'cGl4ZWxz'
  }
  click(x: number, y: number) {
    this.#ran.push(`click ${x},${y}`)
  }
  doubleClick() {
    this.#ran.push('doubleClick')
  }
  drag() {
    this.#ran.push('drag')
  }
  keypress() {
    this.#ran.push('keypress')
  }
  move() {
    this.#ran.push('move')
  }
  scroll() {
    this.#ran.push('scroll')
  }
  type(text: string) {
    this.#ran.push(`type ${text}`)
  }
  wait() {
    this.#ran.push('wait')
  }
}

export const shellOf = (ran: Ran, options: { needsApproval?: boolean } = {}) =>
  shellTool({ shell: countingShell(ran), ...options })
export const patchOf = (ran: Ran, options: { needsApproval?: boolean } = {}) =>
  applyPatchTool({ editor: countingEditor(ran), ...options })
export const computerOf = (ran: Ran, options: { needsApproval?: boolean } = {}) =>
  computerTool({ computer: new CountingComputer(ran), ...options })

export const shellCall = (callId: string, ...commands: string[]) => ({
  type: 'shell_call' as const,
  callId,
  status: 'completed' as const,
  action: { commands },
})

export const patchCall = (callId: string, operation: ApplyPatchOperation) => ({
  type: 'apply_patch_call' as const,
  callId,
  status: 'completed' as const,
  operation,
})

export const clickCall = (callId: string, x = 1, y = 2) => ({
  type: 'computer_call' as const,
  callId,
  status: 'completed' as const,
  action: { type: 'click' as const, x, y, button: 'left' as const },
})
