import { GuardMisconfiguredError } from '../errors.ts'
import type { Guard } from '../guard/guard.ts'
import type { Surface } from '../guard/surface.ts'
import type { OnDenied } from './tool-answer.ts'

/** What stands before a tool that somebody else made. */
export interface Gate {
  readonly surfaceOf: (toolName: string) => Surface
  readonly onDenied: OnDenied
  /** The guard whose hosted runs are the only place where the tool may run. */
  hostedBy: Guard | undefined
}

/** By the guardrail or function that asks. */
const gates = new WeakMap<object, Gate>()

export function newGate(surfaceOf: Gate['surfaceOf'], onDenied: OnDenied): Gate {
  return { surfaceOf, onDenied, hostedBy: undefined }
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
  const fixed = fixedMethod(target, names)
  if (fixed !== undefined)
    throw new GuardMisconfiguredError(`Its ${fixed}() cannot be gated: the object is frozen. Leave it open.`)
  for (const name of names) {
    const own = Reflect.get(target, name) as unknown
    if (typeof own !== 'function' || gates.has(own)) continue
    const asking = (...args: unknown[]) => ask(() => Reflect.apply(own, target, args) as unknown, args, name)
    Object.defineProperty(target, name, {
      value: asking,
      writable: true,
      configurable: true,
      enumerable: true,
    })
    gates.set(asking, gate)
  }
}

/** Why `gateMethods` would fail, or undefined. */
export function fixedMethod(target: object, names: readonly string[]): string | undefined {
  return names.find((name) => {
    const own = Reflect.get(target, name) as unknown
    if (typeof own !== 'function' || gates.has(own)) return false
    const descriptor = Object.getOwnPropertyDescriptor(target, name)
    return descriptor === undefined ? !Object.isExtensible(target) : descriptor.configurable !== true
  })
}

/** The gate of every method of these that exists; undefined when one of them has none. */
export function gateOfMethods(target: object, names: readonly string[]): Gate | undefined {
  const methods = names.map((name) => Reflect.get(target, name) as unknown)
  const found = methods.filter((one) => typeof one === 'function').map((one) => gates.get(one))
  return found.every((gate) => gate !== undefined) ? found[0] : undefined
}
