import { GuardMisconfiguredError } from '../errors.ts'

export type Method = (this: unknown, ...args: readonly unknown[]) => unknown

/** What stands in the place of a method. */
const replaced = new WeakSet<object>()

/**
 * Puts something of ours in the place of the methods that exist, on the object itself and once. `make` is given the method
 * that was there. Throws `GUARD_MISCONFIGURED` before it changes anything when one of them cannot be replaced.
 */
export function replaceMethods(
  target: object,
  names: readonly string[],
  { make, refusal }: { readonly make: (own: Method, name: string) => Method; readonly refusal: Refusal },
): void {
  const fixed = fixedMethod(target, names)
  if (fixed !== undefined) throw new GuardMisconfiguredError(refusal(fixed))
  for (const name of names) {
    const own = methodOf(target, name)
    if (own === undefined || replaced.has(own)) continue
    const value = make(own, name)
    const before = Object.getOwnPropertyDescriptor(target, name)
    replaced.add(value)
    Object.defineProperty(target, name, { value, writable: true, configurable: true, enumerable: true })
    // A proxy may go on giving its own: nothing of it may run then.
    if (methodOf(target, name) !== value) {
      if (before === undefined) Reflect.deleteProperty(target, name)
      else Object.defineProperty(target, name, before)
      throw new GuardMisconfiguredError(refusal(name))
    }
  }
}

/** What to say of a method that cannot be replaced, with the next step. */
export type Refusal = (method: string) => string

/** A method that `replaceMethods` could not replace, as on a frozen object; undefined when there is none. */
export function fixedMethod(target: object, names: readonly string[]): string | undefined {
  return names.find((name) => {
    const own = methodOf(target, name)
    if (own === undefined || replaced.has(own)) return false
    const descriptor = Object.getOwnPropertyDescriptor(target, name)
    return descriptor === undefined ? !Object.isExtensible(target) : descriptor.configurable !== true
  })
}

export function methodOf(target: object, name: string): Method | undefined {
  const own = Reflect.get(target, name) as unknown
  return typeof own === 'function' ? (own as Method) : undefined
}
