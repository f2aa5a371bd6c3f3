/** What a pattern is said to mean, as a regular expression: `*` is one whole segment, at the end one or more. */
export function naivelyMatches(pattern: string, deviceId: string): boolean {
  const source = pattern
    .replaceAll('.', String.raw`\.`)
    .replace(/(^|:)\*$/, '$1@')
    .replaceAll(/(?<=^|:)\*(?=:|$)/g, '[^:]*')
    .replace('@', '[^:]*(?::[^:]*)*')
  return new RegExp(`^${source}$`).test(deviceId)
}
