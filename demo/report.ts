/** One thing the demo claims, and what was seen. */
export interface Row {
  readonly step: string
  readonly expected: string
  readonly seen: string
  readonly timeMs: number
}

export const asExpected = (row: Row): boolean => row.seen === row.expected

export interface Report {
  readonly rows: Row[]
  /** Runs one step, prints its outcome at once, and keeps it for the table. A throw is an outcome too. */
  step(step: string, expected: string, run: () => Promise<string>): Promise<void>
  /** One line of what goes on. */
  say(text: string): void
}

export function createReport(print: (line: string) => void): Report {
  const rows: Row[] = []
  return {
    rows,
    say: (text) => print(`    ${text}`),
    step: async (step, expected, run) => {
      print(`\n${step}`)
      const startMs = performance.now()
      const seen = await run().catch((error: unknown) => `failed: ${String(error)}`)
      const row = { step, expected, seen, timeMs: performance.now() - startMs }
      rows.push(row)
      print(asExpected(row) ? `  ok  ${seen}` : `  NOT AS EXPECTED  ${seen}\n      expected: ${expected}`)
    },
  }
}

/** The whole text was printed when the step ended. */
function short(text: string): string {
  return text.length <= SEEN_CHARS ? text : `${text.slice(0, SEEN_CHARS - 1)}…`
}

const SEEN_CHARS = 48

/** The closing table, as wide as its longest cells. */
export function table(rows: readonly Row[]): string {
  const cells = rows.map((row) => [
    asExpected(row) ? 'ok' : 'FAILED',
    row.step,
    row.expected,
    asExpected(row) ? 'the same' : short(row.seen),
    `${row.timeMs.toFixed(0)} ms`,
  ])
  const all = [['', 'step', 'expected', 'seen', 'time'], ...cells]
  const widths = (all[0] ?? []).map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)))
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd()
  const rule = widths.map((width) => '─'.repeat(width)).join('  ')
  const [head = [], ...body] = all
  return [line(head), rule, ...body.map(line)].join('\n')
}
