import type { Computer, ComputerTool } from '@openai/agents'
import { callOfComputer, gateAction } from './action-call.ts'
import { gateMethods, gateOfMethods, type Gate } from './gates.ts'

export const COMPUTER_METHODS = [
  'initRun',
  'screenshot',
  'click',
  'doubleClick',
  'drag',
  'keypress',
  'move',
  'scroll',
  'type',
  'wait',
] as const

type AnyComputerTool = ComputerTool<unknown, Computer>

const seats = new WeakMap<AnyComputerTool, Gate>()

/**
 * The computer asks before each method. The model can be shown a picture only, so a denial aborts the run, whatever
 * `onDenied` says. A computer that is made for each run is gated when the SDK puts it into the tool, which it does
 * before its first method: the factory itself it keeps to itself.
 */
export function gateComputer(tool: AnyComputerTool, gate: Gate): void {
  if (seats.has(tool)) return
  seats.set(tool, gate)
  let current = tool.computer
  gateInstance(tool, current, gate)
  Object.defineProperty(tool, 'computer', {
    enumerable: true,
    configurable: true,
    get: () => current,
    set: (computer: AnyComputerTool['computer']) => {
      gateInstance(tool, computer, gate)
      current = computer
    },
  })
}

/** Undefined when something in it would go past the gate. */
export function gateOfComputer(tool: AnyComputerTool): Gate | undefined {
  const gate = seats.get(tool)
  const { computer } = tool
  return isInstance(computer) ? gate && gateOfMethods(computer, COMPUTER_METHODS) : gate
}

/** Neither a factory nor `{ create, dispose }`. */
export function isInstance(computer: AnyComputerTool['computer']): computer is Computer {
  if (typeof computer !== 'object') return false
  return 'click' in computer || !('create' in computer && typeof computer.create === 'function')
}

function gateInstance(tool: AnyComputerTool, computer: AnyComputerTool['computer'], gate: Gate): void {
  if (!isInstance(computer)) return
  gateMethods(computer, COMPUTER_METHODS, gate, async (body, args, name) => {
    const call = callOfComputer(tool, args.at(-1))
    const preparesOnly = name === 'initRun'
    const outcome = await gateAction({ gate, tool: tool.name, call, onDenied: 'abort', preparesOnly }, body)
    if (!outcome.allowed) throw outcome.denial
    return outcome.value
  })
}
