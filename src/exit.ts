import { Writable } from 'node:stream'
import { symbols } from 'pino'
import type { Logger } from './log.ts'

/** How long a log may take to be written, in milliseconds. */
const FLUSH_MS = 2000

/** Exits once the log is written; without the rest of a log that cannot be written in time. Never throws. */
export function exit(log: Logger, status: number): void {
  process.exitCode = status
  const end = () => process.exit(status)
  setTimeout(end, FLUSH_MS)
  const { [symbols.streamSym]: stream } = log as { readonly [symbols.streamSym]?: unknown }
  try {
    // pino knows no flush of Node's own streams, and takes them for written.
    if (stream instanceof Writable) stream.write('', end)
    else log.flush(end)
  } catch {
    end()
  }
}
