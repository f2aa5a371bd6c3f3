/** `{service}:{env}:{surface}:{instance}`. What an ID does not have is ''; what it has more belongs to the instance. */
export interface Segments {
  readonly service: string
  readonly env: string
  readonly surface: string
  readonly instance: string
}
export const SEGMENTS = ['service', 'env', 'surface', 'instance'] as const satisfies (keyof Segments)[]

export function segmentsOf(deviceId: string): Segments {
  const [service = '', env = '', surface = '', ...instance] = deviceId.split(':')
  return { service, env, surface, instance: instance.join(':') }
}

/** The pattern of what is given; '' is any. Where nothing is given there is none: nobody means everything by that. */
export function patternOf(segments: Partial<Segments>): string {
  if (SEGMENTS.every((name) => !segments[name])) return ''
  return SEGMENTS.map((name) => segments[name] || '*').join(':')
}

/** What a pattern pins down; '' where it takes any. */
export function pinnedBy(pattern: string): Segments {
  const segments = segmentsOf(pattern)
  const pinned = (segment: string) => (segment === '*' ? '' : segment)
  return {
    service: pinned(segments.service),
    env: pinned(segments.env),
    surface: pinned(segments.surface),
    instance: pinned(segments.instance),
  }
}

/** Every device of the surface that this one is of; only this one where its ID names no surface and instance. */
export function surfacePatternOf(deviceId: string): string {
  const { service, env, surface, instance } = segmentsOf(deviceId)
  return instance === '' ? deviceId : `${service}:${env}:${surface}:*`
}
