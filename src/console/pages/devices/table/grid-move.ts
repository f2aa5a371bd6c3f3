/** Where a key leads from one control of one row; undefined when it leads nowhere. Without `row` it stays in the row. */
export function moveOf(
  key: string,
  from: { readonly row: number; readonly column: number; readonly count: number; readonly page: number },
): { readonly row: number | undefined; readonly column: number } | undefined {
  const { row, column, count, page } = from
  if (key === 'ArrowLeft') return { row: undefined, column: column - 1 }
  if (key === 'ArrowRight') return { row: undefined, column: column + 1 }
  const rows: Readonly<Record<string, number>> = {
    ArrowDown: row + 1,
    ArrowUp: row - 1,
    PageDown: row + page,
    PageUp: row - page,
    Home: 0,
    End: count - 1,
  }
  const to = rows[key]
  return to === undefined ? undefined : { row: Math.max(0, Math.min(count - 1, to)), column }
}
