import { pino, type Logger, type DestinationStream } from 'pino'

export type { Logger } from 'pino'

// Keys that must never reach a log line, whatever field or message they came in.
const SECRET =
  /\b(?:org_[A-Za-z0-9_-]{6,}|hp[a-z]_[A-Za-z0-9_-]{6,}|sk[-_][A-Za-z0-9_-]{8,}|rk_[A-Za-z0-9_]{8,})/g

/** `text` with everything that looks like a key replaced. */
export function redact(text: string): string {
  return text.replace(SECRET, (key) => `${key.slice(0, key.indexOf('_') + 1 || 3)}[redacted]`)
}

export interface LogOptions {
  /** pino's levels, or `silent`. Default `info`. */
  readonly level?: string
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
