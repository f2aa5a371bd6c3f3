/**
 * Every pattern that matches the device: at most 383, for 8 segments; 23 for 4. So a lock is found by looking up a
 * fixed number of texts, however many locks there are.
 */
export function patternsMatching(deviceId: string): string[] {
  const segments = deviceId.split(':')
  // The ways to write the segments before the current one, each with * or literally.
  let prefixes = ['']
  const patterns: string[] = []
  for (const [index, segment] of segments.entries()) {
    patterns.push(...prefixes.map((prefix) => `${prefix}*`))
    if (index === segments.length - 1) patterns.push(...prefixes.map((prefix) => prefix + segment))
    else prefixes = prefixes.flatMap((prefix) => [`${prefix}${segment}:`, `${prefix}*:`])
  }
  return patterns
}
