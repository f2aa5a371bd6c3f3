import type { Host } from './host.ts'

/** A run that was abandoned has only its save left to do. */
const SAVE_MS = 5_000

/** Resolves when every run of this process has ended, and at the latest when those that have not are abandoned. */
export async function endAll({ executions }: Host, graceMs: number): Promise<void> {
  const running = [...executions]
  const ended = Promise.allSettled(running.map(({ done }) => done))
  if (await isWithin(graceMs, ended)) return
  for (const execution of running) {
    execution.end('shutdown')
    execution.abandon()
  }
  await isWithin(SAVE_MS, ended)
}

async function isWithin(ms: number, promise: Promise<unknown>): Promise<boolean> {
  const late = Promise.withResolvers<boolean>()
  const timer = setTimeout(() => late.resolve(false), ms)
  try {
    return await Promise.race([promise.then(() => true), late.promise])
  } finally {
    clearTimeout(timer)
  }
}
