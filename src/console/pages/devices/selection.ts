/** Which devices are chosen, and from where on a range is counted. */
export interface Selection {
  readonly ids: ReadonlySet<string>
  readonly anchor: string | undefined
}

export const NOTHING: Selection = { ids: new Set(), anchor: undefined }

export function toggled({ ids }: Selection, id: string): Selection {
  const next = new Set(ids)
  if (!next.delete(id)) next.add(id)
  return { ids: next, anchor: id }
}

/** Adds everything from the anchor to `id`, in the order that is shown. Without an anchor that is `id` alone. */
export function extended({ ids, anchor }: Selection, id: string, shown: readonly string[]): Selection {
  const from = anchor === undefined ? -1 : shown.indexOf(anchor)
  const to = shown.indexOf(id)
  const range = from === -1 ? [id] : shown.slice(Math.min(from, to), Math.max(from, to) + 1)
  return { ids: new Set([...ids, ...range]), anchor: from === -1 ? id : anchor }
}

export function withAll({ ids, anchor }: Selection, shown: readonly string[]): Selection {
  return { ids: new Set([...ids, ...shown]), anchor }
}

export function without({ ids, anchor }: Selection, shown: readonly string[]): Selection {
  const left = new Set(ids)
  for (const id of shown) left.delete(id)
  return { ids: left, anchor }
}
