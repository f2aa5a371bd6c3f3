import { HoldpointError } from '../errors.ts'
import { EXIT } from './cli.ts'

/** Ends a command with one message and a status, and without a stack. */
export class CliError extends HoldpointError {
  override readonly name = 'CliError'
  readonly status: number

  constructor(code: string, message: string, status: number = EXIT.error, options?: { cause?: unknown }) {
    super(code, message, options)
    this.status = status
  }
}
