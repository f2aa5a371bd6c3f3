import { createHash } from 'node:crypto'
import { types } from 'node:util'

/**
 * JSON text that is the same for the same value: keys sorted, no white space. Throws on what JSON cannot hold, and on what
 * it does not show, such as a Set: no digest would tell when that changes. A member that is undefined counts as absent.
 */
export function canonicalJson(value: unknown): string {
  const text = JSON.stringify(value, refuseHidden)
  return text === undefined ? 'null' : JSON.stringify(sortKeys(JSON.parse(text)))
}

/** SHA-256 of the canonical JSON, in hex. */
export function digestOf(value: unknown): string {
  return digestOfText(canonicalJson(value))
}

/**
 * `digestOf` of a value that JSON shows whole; undefined for every other: what a person sees of such a value is not what
 * would run. Whole are plain objects and arrays, texts, truth values, finite numbers, null and valid dates (as ISO text),
 * at most `MAX_JSON_DEPTH` deep. A member that is undefined counts as absent.
 */
export function faithfulDigestOf(value: unknown): string | undefined {
  return isFaithful(value, MAX_JSON_DEPTH) ? digestOf(value) : undefined
}

/** How deep JSON of others may be nested: far beyond what anybody can read, and far below where recursion breaks. */
export const MAX_JSON_DEPTH = 128

/** Whether parsed JSON is nested deeper than `MAX_JSON_DEPTH`. Goes no deeper itself. */
export function isTooDeep(value: unknown, depthLeft = MAX_JSON_DEPTH): boolean {
  if (typeof value !== 'object' || value === null) return false
  return depthLeft === 0 || Object.values(value).some((member) => isTooDeep(member, depthLeft - 1))
}

/** SHA-256 of a text, in hex. */
export function digestOfText(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

/** Sees each member after its `toJSON`. */
function refuseHidden(name: string, member: unknown): unknown {
  const isHidden =
    typeof member === 'object'
      ? member !== null && hidesContent(member)
      : typeof member === 'function' || typeof member === 'symbol'
  if (!isHidden) return member
  const what = Object.prototype.toString.call(member).slice('[object '.length, -1)
  throw new TypeError(
    `JSON does not show what is in ${name === '' ? 'this' : `"${name}"`} (${what}). ` +
      'Give plain objects, arrays, texts and numbers, or what has a toJSON().',
  )
}

const HIDING = [
  types.isSet,
  types.isMap,
  types.isWeakSet,
  types.isWeakMap,
  types.isAnyArrayBuffer,
  types.isDataView,
  types.isPromise,
  types.isRegExp,
  types.isNativeError,
]

/** Whether it holds something that is in none of its own enumerable properties. Of private fields beside those nobody can tell. */
function hidesContent(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  const isRoot = prototype === null || Object.getPrototypeOf(prototype) === null
  if (isRoot || prototype === Array.prototype) return false
  // With a class of its own, and nothing to show.
  const isBare = !Array.isArray(value) && !types.isTypedArray(value) && Object.keys(value).length === 0
  return isBare || HIDING.some((isOne) => isOne(value))
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

function isFaithful(value: unknown, depthLeft: number): boolean {
  if (typeof value === 'number') return Number.isFinite(value)
  if (typeof value !== 'object' || value === null) return isFaithfulScalar(value)
  if (depthLeft === 0 || !isPlain(value)) return false
  const isArray = Array.isArray(value)
  const members = Object.entries(Object.getOwnPropertyDescriptors(value)).filter(
    ([name]) => !(isArray && name === 'length'),
  )
  // JSON shows holes of an array as null, and no names of it.
  if (isArray && !(members.length === value.length && members.every(([name], at) => name === String(at))))
    return false
  return members.every(([, member]) => {
    // JSON shows nothing that is hidden; what is computed may be something else the next time.
    if (member.enumerable !== true || !('value' in member)) return false
    return member.value === undefined ? !isArray : isFaithful(member.value, depthLeft - 1)
  })
}

function isFaithfulScalar(value: unknown): boolean {
  return value === null || typeof value === 'string' || typeof value === 'boolean'
}

/** Without a class of its own, other than that of a valid date, and without members that have no name. */
function isPlain(value: object): boolean {
  if (Object.getOwnPropertySymbols(value).length > 0) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  if (types.isDate(value)) {
    const isBare = prototype === Date.prototype && Object.getOwnPropertyNames(value).length === 0
    return isBare && !Number.isNaN(value.getTime())
  }
  return (
    prototype === null ||
    prototype === Object.prototype ||
    (Array.isArray(value) && prototype === Array.prototype)
  )
}
