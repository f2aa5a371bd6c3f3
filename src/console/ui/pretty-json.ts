/** A whole string, an empty pair, or one character. */
const TOKEN = /"(?:[^"\\]|\\.)*"?|\{\}|\[\]|./gsu
const MAX_INDENT = 40

/**
 * JSON with line feeds and indents: nothing but space outside of its strings is added, and nothing is left out or
 * rewritten, as reading and writing it again would do to numbers and doubled names.
 */
export function prettyJson(text: string): string {
  let depth = 0
  const line = (by: number) => {
    depth = Math.max(0, depth + by)
    return `\n${'  '.repeat(Math.min(depth, MAX_INDENT))}`
  }
  return text.replace(TOKEN, (token) => {
    if (token === '{' || token === '[') return token + line(1)
    if (token === '}' || token === ']') return line(-1) + token
    if (token === ',') return token + line(0)
    return token === ':' ? ': ' : token
  })
}
