import { HoldpointError } from '../errors.ts'
import { exit } from '../exit.ts'
import type { Logger } from '../log.ts'
import { StartupDenied } from '../startup-denied.ts'

/** A program that runs: where, and how it ends. */
export interface Running {
  readonly url: string
  /** Of the control plane: where operators ask. */
  readonly operatorUrl?: string
  close(): Promise<void>
}

/** What a supervised program tells its parent: that it can be used, or that it was denied and has started nothing. */
export type ProgramMessage =
  | { readonly state: 'ready'; readonly url: string; readonly operatorUrl?: string | undefined }
  | { readonly state: 'denied'; readonly code: string; readonly deviceId: string }

/**
 * Runs a program until SIGTERM, SIGINT, or the end of its supervisor; then closes it and exits 0. One that is still
 * starting exits 0 at once: nobody was told that it can be used. A second signal exits at once. What goes wrong on the
 * way is one message and status 1.
 */
export async function runProgram(start: () => Promise<Running>, log: Logger): Promise<void> {
  process.on('uncaughtException', (error) => die(log, error))
  process.on('unhandledRejection', (error) => die(log, error))
  let running: Running | undefined
  let ending = false
  const end = (signal: string) => {
    if (ending) process.exit(130)
    ending = true
    log.info({ signal }, running === undefined ? 'ended while it was starting' : 'shutting down')
    if (running === undefined) return exit(log, 0)
    running.close().then(
      () => exit(log, 0),
      (error: unknown) => die(log, error),
    )
  }
  // Before the start, which may wait for long: the kernel keeps a signal that nobody handles from the first process of a
  // container, and the end of a supervisor is told once.
  process.on('SIGTERM', end)
  process.on('SIGINT', end)
  process.once('disconnect', () => end('disconnect'))
  running = await start().catch((error: unknown) => {
    if (error instanceof StartupDenied) {
      const { code, deviceId } = error.decision
      process.send?.({ state: 'denied', code, deviceId } satisfies ProgramMessage)
    }
    throw error
  })
  const { url, operatorUrl } = running
  process.send?.({ state: 'ready', url, operatorUrl } satisfies ProgramMessage)
}

/** For an error that no code expected: state is on disk, so a fresh process is safer than this one. */
function die(log: Logger, error: unknown): void {
  log.fatal({ err: error }, 'unexpected error, exiting')
  exit(log, 1)
}

/** A wildcard address is one to listen on, not one to ask at. */
export function fromHere(url: string): string {
  return url.replace('//0.0.0.0:', '//127.0.0.1:').replace('//[::]:', '//[::1]:')
}

/** A user's mistake is told in one message without a stack; anything else keeps its stack. */
export function explain(error: unknown): string {
  if (!(error instanceof HoldpointError))
    return error instanceof Error ? (error.stack ?? error.message) : String(error)
  return error.message.includes(error.code) || error instanceof ProgramEndedError
    ? error.message
    : `${error.message} (${error.code})`
}

type Denial = Extract<ProgramMessage, { state: 'denied' }>

/** One of our programs ended before it could be used. The message is what it said itself. */
export class ProgramEndedError extends HoldpointError {
  override readonly name = 'ProgramEndedError'
  /** When the authority denied its startup. */
  readonly denied: Denial | undefined

  constructor(message: string, denied?: Denial) {
    super('PROGRAM_ENDED', message)
    this.denied = denied
  }
}

/** Adds to a failed `listen` which variable holds the port. */
export async function namingPort<T>(variable: string, listening: Promise<T>): Promise<T> {
  try {
    return await listening
  } catch (cause) {
    if (!(cause instanceof HoldpointError) || cause.code !== 'LISTEN_FAILED') throw cause
    throw new HoldpointError(cause.code, `${cause.message} The port is ${variable}, the address is HOST.`, {
      cause,
    })
  }
}
