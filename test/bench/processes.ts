import { fork, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'

import type { ServerOptions, ServerReady } from './control-plane-server.ts'

export interface Forked<T> {
  readonly process: ChildProcess
  /** The first thing it said. */
  readonly ready: T
}

/** One of the programs beside this one, once it has said something. It ends when it is disconnected. */
export async function start<T>(file: string, args: readonly string[] = []): Promise<Forked<T>> {
  const child = fork(join(import.meta.dirname, file), args, { execArgv: ['--conditions=holdpoint-source'] })
  const ready = await new Promise<T>((resolve, reject) => {
    child.once('message', (message) => resolve(message as T))
    child.once('exit', (code) => reject(new Error(`${file} ended with ${code}`)))
  })
  return { process: child, ready }
}

export function startControlPlane(options: ServerOptions): Promise<Forked<ServerReady>> {
  return start<ServerReady>('control-plane-server.ts', [JSON.stringify(options)])
}

export async function end({ process: child }: Forked<unknown>): Promise<void> {
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.disconnect()
  await ended
}

/** For example `quantile(times, 0.99)`. */
export function quantile(all: readonly number[], share: number): number {
  const sorted = all.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
}

export function milliseconds(all: readonly number[]): string {
  const at = (share: number) => quantile(all, share).toFixed(1)
  return `p50 ${at(0.5)}  p99 ${at(0.99)}  max ${at(1)} ms`
}
