/** `matchesDevicePattern` as a regular expression that JavaScript (flags `su`) and Postgres read alike. */
export function devicePatternRegex(pattern: string): string {
  const segments = pattern.split(':')
  const last = segments.length - 1
  const each = segments.map((segment, index) => {
    if (segment !== '*') return segment.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')
    // A last * is one or more segments.
    return index === last ? '.*' : '[^:]*'
  })
  return `^${each.join(':')}$`
}

/** Where the device IDs that a pattern matches lie, in byte order: what comes before its first * stands before them all. */
export function devicePatternRange(pattern: string): readonly [first: string, last: string] {
  const prefix = pattern.split('*', 1)[0] ?? ''
  return [prefix, `${prefix}\u{10FFFF}`]
}
