// A pattern is a device ID with `*` for whole segments. A last `*` stands for one or more segments.

export function matchesDevicePattern(pattern: string, deviceId: string): boolean {
  if (pattern === deviceId) return true
  if (!pattern.includes('*')) return false
  const wanted = pattern.split(':')
  const given = deviceId.split(':')
  const open = wanted.at(-1) === '*'
  if (open ? given.length < wanted.length : given.length !== wanted.length) return false
  return wanted.every((segment, index) => segment === '*' || segment === given[index])
}

/** Whether it may match more than one device, those to come too. */
export function isWide(pattern: string): boolean {
  return pattern.split(':').includes('*')
}

/** Whether it matches every device of one length or more: a stop of the whole org in all but name. */
export function isAllStars(pattern: string): boolean {
  return pattern.split(':').every((segment) => segment === '*')
}

/** What a surface can be called, and every other segment that a stop of a surface names. */
export function isSegmentName(text: string): boolean {
  return /^[A-Za-z0-9._-]{1,64}$/.test(text)
}

/** Every device of a surface, present or to come, of any service and environment unless they are given. */
export function lockOfSurface(
  surface: string,
  {
    service = '*',
    env = '*',
  }: { readonly service?: string | undefined; readonly env?: string | undefined } = {},
): string {
  return `${service}:${env}:${surface}:*`
}
