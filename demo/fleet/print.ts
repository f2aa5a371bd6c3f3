import type { Check, StopResult, TopologyResult } from './result.ts'
import type { Told } from './prove.ts'

/** Shows what goes on, to people. */
export interface Printer {
  readonly told: Told
  readonly line: (text: string) => void
}

interface Streams {
  readonly out: { readonly write: (text: string) => unknown }
  /** A terminal's line is written over; elsewhere there is one only once in a while. */
  readonly progress: { readonly write: (text: string) => unknown; readonly isTTY?: boolean }
  /** Nothing but progress. */
  readonly quiet: boolean
}

const PROGRESS_EVERY_MS = 2000
const CLEAR = '\r\u001B[2K'

export function createPrinter({ out, progress, quiet }: Streams): Printer {
  let shownAtMs = performance.now()
  const clear = () => void (progress.isTTY === true && progress.write(CLEAR))
  const line = (text: string) => {
    if (quiet) return
    clear()
    out.write(`${text}\n`)
    shownAtMs = performance.now()
  }
  return {
    line,
    told: {
      check: ({ check, ok, seen }) => line(`${mark(ok)} ${check.padEnd(CHECK_WIDTH)}  ${seen}`),
      stop: (stop) => {
        for (const text of stopLines(stop)) line(text)
      },
      progress: (text) => {
        if (progress.isTTY === true) return void progress.write(`${CLEAR}      ${text} …`)
        if (performance.now() - shownAtMs < PROGRESS_EVERY_MS) return
        shownAtMs = performance.now()
        progress.write(`      ${text} …\n`)
      },
    },
  }
}

const CHECK_WIDTH = 15
const INDENT = ' '.repeat(CHECK_WIDTH + 9)
const mark = (ok: boolean) => (ok ? '  ok  ' : '  FAIL')

const WORDS: Record<StopResult['action'], string> = {
  'device.revoke': 'revoke',
  'lock.add': 'lock',
  'org.disable': 'disable org',
}

function stopLines(stop: StopResult): readonly string[] {
  const { action, target, deniedAfterMs, backAfterMs, goingOn } = stop
  const what = action === 'org.disable' ? 'every device' : target
  const codes = Object.entries(stop.codes)
    .toSorted(([, a], [, b]) => b - a)
    .map(([code, times]) => `${times} ${code}`)
    .join(', ')
  return [
    `${mark(stop.ok)} ${WORDS[action].padEnd(CHECK_WIDTH)}  ${what}: acked after ${ms(stop.ackMs)}`,
    `${INDENT}${stop.denied} of ${stop.stopped} stopped, each denied within ${ms(deniedAfterMs.max)} (median ${ms(deniedAfterMs.p50)}): ${codes}`,
    `${INDENT}starts asked for after the ack: ${stop.startsAfterAck}; begun before it: ${stop.inFlightAtAck}${stop.inFlightAtAck === 0 ? '' : `, the last ${ms(stop.inFlightMs)} after it`}`,
    ...(goingOn === 0
      ? []
      : [
          `${INDENT}${stop.wentOn} of ${goingOn} others went on: ${stop.othersBefore} starts before, ${stop.othersAfter} after, in ${ms(stop.observedMs)} each`,
        ]),
    ...(stop.unanswered === 0
      ? []
      : [
          `${INDENT}${stop.unanswered} questions got no answer in time: denied all the same (G4), and asked again`,
        ]),
    `${INDENT}restored: ${stop.back} of ${stop.stopped} back within ${ms(backAfterMs.max)} (median ${ms(backAfterMs.p50)})`,
  ]
}

function ms(value: number): string {
  return `${value < 100 ? value.toFixed(1) : Math.round(value).toLocaleString('en-US')} ms`
}

/** The closing table: a row for each stop. */
export function summary(results: readonly TopologyResult[]): string {
  const rows = results.flatMap((result) => result.stops.map((stop) => rowOf(result, stop)))
  const head = [
    '',
    'topology',
    'stop',
    'stopped',
    'late starts',
    'denied by',
    'went on',
    'before → after',
    'back by',
  ]
  const widths = head.map((title, at) => Math.max(title.length, ...rows.map((row) => row[at]?.length ?? 0)))
  const lay = (row: readonly string[]) =>
    row
      .map((cell, at) => (at > 2 ? cell.padStart(widths[at] ?? 0) : cell.padEnd(widths[at] ?? 0)))
      .join('  ')
      .trimEnd()
  return [lay(head), widths.map((width) => '─'.repeat(width)).join('  '), ...rows.map(lay)].join('\n')
}

function rowOf({ topology }: TopologyResult, stop: StopResult): readonly string[] {
  return [
    stop.ok ? 'ok' : 'FAILED',
    topology,
    stop.action === 'org.disable' ? WORDS[stop.action] : `${WORDS[stop.action]} ${stop.target}`,
    `${stop.denied}/${stop.stopped}`,
    String(stop.startsAfterAck),
    ms(stop.deniedAfterMs.max),
    `${stop.wentOn}/${stop.goingOn}`,
    `${stop.othersBefore} → ${stop.othersAfter}`,
    ms(stop.backAfterMs.max),
  ]
}

export function failedOf({ checks, stops }: TopologyResult): readonly (Check | StopResult)[] {
  return [...checks, ...stops].filter(({ ok }) => !ok)
}
