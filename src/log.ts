import { pino, type DestinationStream, type Logger } from 'pino'
import { redact } from './redact.ts'

/** pino's logger. */
export type { Logger } from 'pino'

/** What `createLogger` takes. */
export interface LogOptions {
  /** pino's levels, or `silent`. Default `info`. */
  readonly level?: string
  /** Stands in each line as `name`. */
  readonly name?: string
  /** Default: standard output. */
  readonly destination?: DestinationStream
}

/** A structured logger, one JSON object a line, that never prints a key. */
export function createLogger(options: LogOptions = {}): Logger {
  const settings = {
    level: options.level ?? 'info',
    ...(options.name === undefined ? {} : { name: options.name }),
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    hooks: { streamWrite: redact },
  }
  return options.destination === undefined ? pino(settings) : pino(settings, options.destination)
}
