/** How many rows are read and written out before anything else gets its turn. */
const SLICE_ROWS = 500

/** All rows, in slices: an org may have so many replicas that a stop would have to wait for them. */
export async function inSlices<T>(
  turn: () => Promise<void>,
  read: (page: { readonly after: T | undefined; readonly limit: number }) => Promise<readonly T[]>,
): Promise<T[]> {
  const rows: T[] = []
  for (;;) {
    await turn()
    const slice = await read({ after: rows.at(-1), limit: SLICE_ROWS })
    rows.push(...slice)
    if (slice.length < SLICE_ROWS) return rows
  }
}
