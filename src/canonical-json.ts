import { createHash } from 'node:crypto'

/** JSON text that is the same for the same value: keys sorted, no white space. Throws on what JSON cannot hold. */
export function canonicalJson(value: unknown): string {
  const text = JSON.stringify(value)
  return text === undefined ? 'null' : JSON.stringify(sortKeys(JSON.parse(text)))
}

/** SHA-256 of the canonical JSON, in hex. */
export function digestOf(value: unknown): string {
  return digestOfText(canonicalJson(value))
}

/** SHA-256 of a text, in hex. */
export function digestOfText(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys)
  if (typeof value !== 'object' || value === null) return value
  // A null prototype, so that a key named __proto__ is a key like any other.
  const sorted: Record<string, unknown> = Object.create(null)
  for (const [key, member] of Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
    sorted[key] = sortKeys(member)
  return sorted
}
