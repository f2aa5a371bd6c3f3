import { setTimeout as sleep } from 'node:timers/promises'

import { CliError } from './cli-error.ts'
import { goesBy, wasNeverSent } from './operator-refusal.ts'
import { sentence } from './sentence.ts'

const FIRST_PAUSE_MS = 100
const LAST_PAUSE_MS = 1000
export const TRY_TIMEOUT_MS = 3000

export interface Tries<T> {
  readonly result: T
  readonly tries: number
  /** Of the try that was answered, from its request to the ack. */
  readonly ackMs: number
}

export interface TriesOptions<T> {
  readonly waitMs: number
  readonly signal: AbortSignal
  /** Says how often it failed so far. */
  readonly onFailed: (tries: number, why: string) => void
  readonly stop: () => Promise<T>
  /** The command to give again. */
  readonly repeat: string
}

/** A stop is idempotent, so it is made again until it is acked. Throws `STOP_UNKNOWN` or `STOP_NOT_MADE` when it was not. */
export async function stopUntilAcked<T>(options: TriesOptions<T>): Promise<Tries<T>> {
  const { waitMs, signal, onFailed, stop, repeat } = options
  const begunMs = performance.now()
  let pauseMs = FIRST_PAUSE_MS
  let maybeMade = false
  for (let tries = 1; ; tries += 1) {
    const sentMs = performance.now()
    try {
      const result = await stop()
      return { result, tries, ackMs: performance.now() - sentMs }
    } catch (error) {
      if (!(error instanceof CliError)) throw error
      if (!goesBy(error)) throw maybeMade ? unsure(error, repeat) : error
      maybeMade ||= !wasNeverSent(error)
      onFailed(tries, error.message)
      const passedMs = performance.now() - begunMs
      if (signal.aborted || passedMs + pauseMs > waitMs)
        throw gaveUp({ error, tries, passedMs, maybeMade, repeat })
    }
    await sleep(pauseMs, undefined, { signal }).catch(() => undefined)
    pauseMs = Math.min(pauseMs * 2, LAST_PAUSE_MS)
  }
}

interface GaveUp {
  readonly error: CliError
  readonly tries: number
  readonly passedMs: number
  readonly maybeMade: boolean
  readonly repeat: string
}

function gaveUp({ error, tries, passedMs, maybeMade, repeat }: GaveUp): CliError {
  const often = `${tries === 1 ? 'One try' : `${tries} tries`} in ${(passedMs / 1000).toFixed(1)} s`
  const options = { cause: error }
  if (!maybeMade) {
    return new CliError(
      'STOP_NOT_MADE',
      `NOT stopped. ${often}, and none reached the control plane. ${sentence(error.message)} Retry: ${repeat}`,
      error.status,
      options,
    )
  }
  return new CliError(
    'STOP_UNKNOWN',
    `Unknown whether it is stopped: retry. ${often} without an ack. ${sentence(error.message)} Retry: ${repeat}`,
    error.status,
    options,
  )
}

function unsure(error: CliError, repeat: string): CliError {
  const message = `${sentence(error.message)} A try before may have been taken all the same: see holdpoint status. Retry: ${repeat}`
  return new CliError(error.code, message, error.status, { cause: error })
}
