import type { Guard } from '../guard/guard.ts'
import type { Surface } from '../guard/surface.ts'
import { methodOf, replaceMethods } from './in-place.ts'
import type { OnDenied } from './tool-answer.ts'

/** What stands before a tool that somebody else made. */
export interface Gate {
  readonly surfaceOf: (toolName: string) => Surface
  /** Undefined when the surface is chosen by the name of each tool. */
  readonly fixedSurface: Surface | undefined
  /** One of `guardTool` was meant for this one tool: `guardAgent` leaves it as it is. */
  readonly madeBy: 'guardTool' | 'guardAgent'
  readonly onDenied: OnDenied
  /** The guard whose hosted runs are the only place where the tool may run. */
  hostedBy: Guard | undefined
}

/** By the guardrail or function that asks. */
const gates = new WeakMap<object, Gate>()

export function newGate(
  surface: Surface | Gate['surfaceOf'],
  { onDenied, madeBy }: Pick<Gate, 'onDenied' | 'madeBy'>,
): Gate {
  const place =
    typeof surface === 'function'
      ? { surfaceOf: surface, fixedSurface: undefined }
      : { surfaceOf: () => surface, fixedSurface: surface }
  return { ...place, madeBy, onDenied, hostedBy: undefined }
}

export function rememberGate(asks: object, gate: Gate): void {
  gates.set(asks, gate)
}

export function gateBehind(asks: object | undefined): Gate | undefined {
  return asks === undefined ? undefined : gates.get(asks)
}

/** Why nothing of a hosted tool may run here, whatever the authority says. */
export function misplaced(
  gate: Gate,
  surface: Surface,
  inSession: boolean,
): 'NO_SESSION' | 'GUARD_MISCONFIGURED' | undefined {
  if (gate.hostedBy === undefined) return undefined
  if (!inSession) return 'NO_SESSION'
  return gate.hostedBy === surface.guard ? undefined : 'GUARD_MISCONFIGURED'
}

/** The methods that exist are replaced by ones that ask first, on the object itself and once. */
export function gateMethods(
  target: object,
  names: readonly string[],
  gate: Gate,
  ask: (body: () => unknown, args: readonly unknown[], name: string) => unknown,
): void {
  replaceMethods(target, names, {
    make: (own, name) => {
      const asking = (...args: readonly unknown[]) => ask(() => Reflect.apply(own, target, args), args, name)
      gates.set(asking, gate)
      return asking
    },
    refusal: (name) => `Its ${name}() cannot be gated: the object is frozen, or a proxy. Leave it open.`,
  })
}

/** The gates that stand before these methods. */
export function gatesOfMethods(target: object, names: readonly string[]): readonly Gate[] {
  return names.flatMap((name) => gateBehind(methodOf(target, name)) ?? [])
}

/** The gate of every method of these that exists; undefined when one of them has none. */
export function gateOfMethods(target: object, names: readonly string[]): Gate | undefined {
  const methods = names.flatMap((name) => methodOf(target, name) ?? [])
  const found = methods.map((one) => gates.get(one))
  return found.every((gate) => gate !== undefined) ? found[0] : undefined
}
