import type { ChildProcess } from 'node:child_process'

/** What a process beside this one can be asked to do. Answers go over the wire as JSON does. */
// oxlint-disable-next-line typescript/no-explicit-any -- what they take and give differs
type Api = Readonly<Record<string, (...args: any[]) => unknown>>

interface Asked {
  readonly id: number
  readonly name: string
  readonly args: readonly unknown[]
}
type Answered = { readonly id: number } & (
  { readonly value: unknown; readonly error?: never } | { readonly error: string }
)

export type Remote<T extends Api> = <K extends keyof T & string>(
  name: K,
  ...args: Parameters<T[K]>
) => Promise<Awaited<ReturnType<T[K]>>>

/** The end that is asked: messages come in the order in which they were sent. It ends with whoever started it. */
export function serveRemote(api: Api): void {
  const answer = async ({ id, name, args }: Asked): Promise<Answered> => {
    try {
      return { id, value: await api[name]?.(...args) }
    } catch (error) {
      return { id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) }
    }
  }
  process.on('message', (asked: Asked) => {
    void answer(asked).then((answered) => process.send?.(answered))
  })
  process.on('disconnect', () => process.exit())
}

/** The end that asks. */
export function remoteOf<T extends Api>(child: ChildProcess): Remote<T> {
  const waiting = new Map<number, PromiseWithResolvers<unknown>>()
  let last = 0
  child.on('message', (answered: Answered) => {
    const one = waiting.get(answered.id)
    waiting.delete(answered.id)
    if (answered.error === undefined) one?.resolve(answered.value)
    else one?.reject(new Error(answered.error))
  })
  child.once('exit', (code, signal) => {
    for (const one of waiting.values()) one.reject(new Error(`The process ended with ${code ?? signal}.`))
    waiting.clear()
  })
  return ((name: string, ...args: unknown[]) => {
    const one = Promise.withResolvers<unknown>()
    const id = ++last
    waiting.set(id, one)
    child.send({ id, name, args } satisfies Asked)
    return one.promise
  }) as Remote<T>
}

/**
 * Milliseconds of a clock that all processes of one machine share: CLOCK_MONOTONIC on Linux, which counts from the same
 * instant for all of them. Of no use between machines.
 */
export function machineMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}
