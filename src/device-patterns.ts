/** As the control plane matches: `*` for a whole segment, a last `*` for one or more. A test holds the two together. */
export function matchesPattern(pattern: string, deviceId: string): boolean {
  const wanted = pattern.split(':')
  const given = deviceId.split(':')
  const isOpen = wanted.at(-1) === '*'
  if (isOpen ? given.length < wanted.length : given.length !== wanted.length) return false
  return wanted.every((segment, at) => segment === '*' || segment === given[at])
}

/** Whether it may match more than one device, those to come too. */
export function isWide(pattern: string): boolean {
  return pattern.split(':').includes('*')
}

/** Whether it matches every device of one length or more: a stop of the whole org in all but name. */
export function isAllStars(pattern: string): boolean {
  return pattern.split(':').every((segment) => segment === '*')
}
