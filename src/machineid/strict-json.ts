/** A parsed JSON object. Read only through `own`, never through its prototype. */
export type JsonObject = Readonly<Record<string, unknown>>

// Fatal on bad UTF-8; keeps a byte order mark, which JSON does not allow.
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The JSON object in `bytes`, or undefined when they are anything else: bad UTF-8, cut, or with a key twice. */
export function parseStrictObject(bytes: Uint8Array): JsonObject | undefined {
  let text: string
  let value: unknown
  try {
    text = utf8.decode(bytes)
    value = JSON.parse(text)
  } catch {
    // Its message would quote the body.
    return undefined
  }
  if (!isObject(value)) return undefined
  // An object has each key once, so a text that it is written back to has none twice. That is native and settles
  // most answers; the scan is for those with white space, or that write a number or a character in another way.
  return JSON.stringify(value) === text || !hasDuplicateKey(text) ? value : undefined
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A property that the JSON itself had, whatever is on Object.prototype. */
export function own(object: JsonObject, name: string): unknown {
  return Object.hasOwn(object, name) ? object[name] : undefined
}

/** Every string (with its colon if it is a key) and every brace of a well-formed text. */
const TOKEN = /"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?|[{}]/g

/** JSON.parse keeps the last of two equal keys, others the first: an answer that has both says nothing. */
function hasDuplicateKey(text: string): boolean {
  const open: Set<string>[] = []
  for (const [token, colon] of text.matchAll(TOKEN)) {
    if (token === '{') open.push(new Set())
    else if (token === '}') open.pop()
    else if (colon !== undefined) {
      const keys = open[open.length - 1]
      const quoted = token.slice(0, token.lastIndexOf('"') + 1)
      const key = quoted.includes('\\') ? (JSON.parse(quoted) as string) : quoted.slice(1, -1)
      if (keys?.has(key)) return true
      keys?.add(key)
    }
  }
  return false
}
