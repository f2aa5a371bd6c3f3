import { createInterface } from 'node:readline/promises'
import type { Readable, Writable } from 'node:stream'
import { styleText } from 'node:util'

import { redact } from '../redact.ts'
import type { Paint } from './cli.ts'

/** A stream that may be a terminal. */
export type In = Readable & { readonly isTTY?: boolean }
export type Out = Writable & { readonly isTTY?: boolean; readonly columns?: number }

export function createPaint(isColoured: boolean): Paint {
  const paint = (format: Parameters<typeof styleText>[0]) => (text: string) =>
    isColoured ? styleText(format, text, { validateStream: false }) : text
  return {
    bold: paint('bold'),
    dim: paint('dim'),
    red: paint('red'),
    green: paint('green'),
    yellow: paint('yellow'),
  }
}

// What others wrote (reasons, labels, names of tools) must not steer the terminal of who looks at it.
const STEERS = /\p{Cc}(?:\[\d{1,2}m)?|\p{Bidi_Control}/gu
// What `createPaint` writes. Others hide what stands behind them, or paint it in the colour of the background.
const COLOUR = /^\[(?:1|2|22|31|32|33|39)m$/

/** Without keys, and without anything that would steer a terminal but our colours, line breaks and tabs. */
export function shown(text: string): string {
  return redact(text).replace(STEERS, (found) => {
    const isHarmless =
      found[0] === '\n' || found[0] === '\t' || (found[0] === '\u001B' && COLOUR.test(found.slice(1)))
    return isHarmless ? found : `\uFFFD${found.slice(1)}`
  })
}

/** The same value as JSON, which leaves these as they are otherwise. */
export function jsonText(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replace(/[\p{Cc}\p{Bidi_Control}]/gu, (one) =>
    one === '\n' ? one : `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

const AFTER_MS = 1000
const TURN_MS = 120
const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏']

/** One line that goes away again, from the second second on. */
export function spin(out: Out, text: string): { update(text: string): void; end(): void } {
  let at = 0
  let said = text
  let isShown = false
  let turning: NodeJS.Timeout | undefined
  const draw = () => {
    isShown = true
    const room = (out.columns || 80) - 3
    out.write(
      `\r\u001B[2K${FRAMES[at++ % FRAMES.length] ?? ''} ${shown(said).replaceAll('\n', ' ').slice(0, room)}`,
    )
  }
  const waiting = setTimeout(() => {
    draw()
    turning = setInterval(draw, TURN_MS).unref()
  }, AFTER_MS).unref()
  return {
    update: (more) => {
      said = more
      if (isShown) draw()
    },
    end: () => {
      clearTimeout(waiting)
      clearInterval(turning)
      if (isShown) out.write('\r\u001B[2K')
      isShown = false
    },
  }
}

/** Asks on `out`, so that what the command answers stays alone on standard output. Rejects when `signal` aborts. */
export async function ask(question: string, input: In, out: Out, signal: AbortSignal): Promise<string> {
  // Not as a terminal of its own: Ctrl-C stays a signal, and nothing of the screen is redrawn.
  const lines = createInterface({ input, output: out, terminal: false })
  const closed = new Promise<string>((resolve) => lines.once('close', () => resolve('')))
  try {
    return await Promise.race([lines.question(question, { signal }), closed])
  } finally {
    lines.close()
  }
}
