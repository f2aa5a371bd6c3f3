import type { Computer, ComputerTool } from '@openai/agents'
import { callOfComputer, gateAction } from './action-call.ts'
import { gateMethods, gateOfMethods, gatesOfMethods, type Gate } from './gates.ts'

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

/** The gates before it, whether or not something goes past them. */
export function gatesOfComputer(tool: AnyComputerTool): readonly Gate[] {
  const gate = seats.get(tool)
  const { computer } = tool
  const own = isInstance(computer) ? gatesOfMethods(computer, COMPUTER_METHODS) : []
  return gate === undefined ? own : [gate, ...own]
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
    const at = { gate, tool: tool.name, call, onDenied: 'abort' } as const
    // It belongs to no call: nobody can have approved it, and nobody needs to.
    const outcome = await gateAction(
      name === 'initRun' ? { ...at, keptBack: async () => undefined } : at,
      body,
    )
    if (!outcome.allowed) throw outcome.denial
    return outcome.value
  })
}
