/** One thing that a change was about, as it was and as it is now. */
export interface Field {
  /** `labels › team`. */
  readonly name: string
  /** As text; undefined where there was none. */
  readonly before: string | undefined
  readonly after: string | undefined
  readonly is: 'added' | 'removed' | 'changed' | 'same'
}

const MAX_DEPTH = 8

/** What `before` and `after` of an audit row say, field by field: what changed first. */
export function difference(before: unknown, after: unknown): Field[] {
  const then = flattened(before)
  const now = flattened(after)
  const names = [...new Set([...then.keys(), ...now.keys()])]
  const fields = names.map((name) => fieldOf(name, then.get(name), now.get(name)))
  return [...fields.filter(({ is }) => is !== 'same'), ...fields.filter(({ is }) => is === 'same')]
}

function fieldOf(name: string, before: string | undefined, after: string | undefined): Field {
  if (before === after) return { name, before, after, is: 'same' }
  const is = before === undefined ? 'added' : after === undefined ? 'removed' : 'changed'
  return { name, before, after, is }
}

/** Objects by the names of their members; everything else is one text. */
function flattened(value: unknown, path: readonly string[] = []): Map<string, string> {
  if (path.length === 0 && (value === null || value === undefined)) return new Map()
  if (!isObject(value) || path.length >= MAX_DEPTH) {
    return new Map([[path.join(' › ') || 'value', textOf(value, path.at(-1) ?? '')]])
  }
  const members = Object.entries(value)
  // An empty object is something else than none.
  if (members.length === 0) return path.length === 0 ? new Map() : new Map([[path.join(' › '), '{}']])
  return new Map(members.flatMap(([name, member]) => [...flattened(member, [...path, name])]))
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** As JSON, so that nothing looks like something else. Instants say when they are as well. */
function textOf(value: unknown, name: string): string {
  const text = JSON.stringify(value) ?? 'undefined'
  if (typeof value !== 'number' || !/(?:^at|At)Ms$/.test(name)) return text
  const at = new Date(value)
  return Number.isNaN(at.getTime()) ? text : `${text} (${at.toISOString()})`
}
