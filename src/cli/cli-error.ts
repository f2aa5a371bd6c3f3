import { HoldpointError } from '../errors.ts'
import { EXIT } from './cli.ts'

/** Ends a command with one message and a status, and without a stack. */
export class CliError extends HoldpointError {
  override readonly name = 'CliError'
  readonly status: number
  /** With `EPOCH_STALE` and `EPOCH_REQUIRED`: the epoch to look at before trying again. */
  readonly epoch: number | undefined

  constructor(code: string, message: string, status: number = EXIT.error, options?: CliErrorOptions) {
    super(code, message, options)
    this.status = status
    this.epoch = options?.epoch
  }
}

interface CliErrorOptions {
  readonly cause?: unknown
  readonly epoch?: number | undefined
}
