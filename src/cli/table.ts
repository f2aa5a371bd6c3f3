import { stripVTControlCharacters } from 'node:util'

import type { Cli } from './cli.ts'
import { oneLine } from './one-line.ts'

export interface Column<Row> {
  readonly title: string
  readonly of: (row: Row) => string | number
  /** Cells of the widest such column are cut when the terminal is too narrow. Default: never cut. */
  readonly shrinks?: boolean
}

const GAP = '  '
const MIN_WIDTH = 8

/**
 * For a terminal: columns side by side, cut to its width. For a pipe: one tab between the cells, whole, and the titles
 * in the first line all the same, so that `cut -f` and `awk -F'\t'` find what they look for.
 */
export function table<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  { columns: width, paint }: Pick<Cli, 'columns' | 'paint'>,
): string {
  const titles = columns.map(({ title }) => title)
  const cells = rows.map((row) => columns.map(({ of }) => oneLine(String(of(row)))))
  if (width === undefined) return [titles, ...cells].map((line) => line.join('\t')).join('\n')
  const widths = fitted(columns, [titles, ...cells], width)
  const lay = (line: readonly string[]) =>
    line
      .map((cell, at) => {
        const cut = shortened(cell, widths[at] as number)
        return at === line.length - 1 ? cut : cut + ' '.repeat((widths[at] as number) - length(cut))
      })
      .join(GAP)
      .trimEnd()
  return [paint.dim(lay(titles)), ...cells.map(lay)].join('\n')
}

function fitted<Row>(
  columns: readonly Column<Row>[],
  lines: readonly (readonly string[])[],
  width: number,
): readonly number[] {
  const widths = columns.map((_, at) => Math.max(...lines.map((line) => length(line[at] as string))))
  let over = widths.reduce((sum, one) => sum + one, 0) + GAP.length * (widths.length - 1) - width
  while (over > 0) {
    const widest = columns
      .map(({ shrinks = false }, at) => (shrinks ? (widths[at] as number) : 0))
      .reduce((best, one, at, all) => (one > (all[best] as number) ? at : best), 0)
    const spare = columns[widest]?.shrinks === true ? (widths[widest] as number) - MIN_WIDTH : 0
    if (spare <= 0) break
    widths[widest] = (widths[widest] as number) - 1
    over -= 1
  }
  return widths
}

function length(cell: string): number {
  return Array.from(stripVTControlCharacters(cell)).length
}

/** Only cells without colour are cut. */
function shortened(cell: string, width: number): string {
  if (length(cell) <= width || cell.includes('\u001B')) return cell
  return `${Array.from(cell)
    .slice(0, width - 1)
    .join('')}…`
}
