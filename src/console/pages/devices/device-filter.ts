import { SEGMENTS, segmentsOf, type Segments } from './device-id.ts'
import type { Denial, Device } from './device-state.ts'

export const SORTS = ['device', 'state', 'seen', 'inFlight'] as const
export type Sort = (typeof SORTS)[number]
export const STATES = ['allowed', 'denied', 'revoked', 'locked', 'over_limit'] as const
export type State = (typeof STATES)[number]

/** Which devices are shown, and how: as the address of the page has it, so that it can be linked to. */
export interface DeviceFilter extends Segments {
  readonly q: string
  readonly state: State | undefined
  readonly overdue: boolean
  readonly silentSeconds: number | undefined
  readonly sort: Sort
  readonly descending: boolean
}

/** A device with what it is found and sorted by. */
export interface Row {
  readonly device: Device
  readonly denials: readonly Denial[]
  readonly segments: Segments
  /** Lower case. */
  readonly text: string
  /** Wall-clock milliseconds; undefined when it was never seen. */
  readonly seenAtMs: number | undefined
  readonly inFlight: number
}

export function rowOf(device: Device, denials: readonly Denial[], inFlight: number): Row {
  const labels = Object.entries(device.labels).map(([name, value]) => `${name}=${value}`)
  return {
    device,
    denials,
    segments: segmentsOf(device.deviceId),
    text: [device.deviceId, device.reason ?? '', ...labels].join('\n').toLowerCase(),
    seenAtMs: device.lastSeen === null ? undefined : Date.parse(device.lastSeen.at),
    inFlight,
  }
}

export const NO_FILTER = {
  q: '',
  service: '',
  env: '',
  surface: '',
  instance: '',
  state: undefined,
  overdue: false,
  silentSeconds: undefined,
} as const satisfies Partial<DeviceFilter>

export function filterOf(params: URLSearchParams): DeviceFilter {
  const text = (name: string) => params.get(name) ?? ''
  const sort = text('sort').replace(/^-/, '')
  const silent = Number(text('silent'))
  return {
    q: text('q'),
    service: text('service'),
    env: text('env'),
    surface: text('surface'),
    instance: text('instance'),
    state: STATES.find((state) => state === text('state')),
    overdue: text('overdue') === 'true',
    silentSeconds: Number.isFinite(silent) && silent > 0 ? silent : undefined,
    sort: SORTS.find((name) => name === sort) ?? 'device',
    descending: text('sort').startsWith('-'),
  }
}

/** The address with this changed; everything else in it stays. */
export function withFilter(params: URLSearchParams, filter: DeviceFilter): URLSearchParams {
  const next = new URLSearchParams(params)
  const sort = `${filter.descending ? '-' : ''}${filter.sort}`
  const given = {
    q: filter.q,
    ...Object.fromEntries(SEGMENTS.map((name) => [name, filter[name]])),
    state: filter.state ?? '',
    overdue: filter.overdue ? 'true' : '',
    silent: filter.silentSeconds === undefined ? '' : String(filter.silentSeconds),
    sort: sort === 'device' ? '' : sort,
  }
  for (const [name, value] of Object.entries(given)) {
    if (value === '') next.delete(name)
    else next.set(name, value)
  }
  return next
}

export function isNarrowed({ q, state, overdue, silentSeconds, ...segments }: DeviceFilter): boolean {
  return (
    q !== '' ||
    state !== undefined ||
    overdue ||
    silentSeconds !== undefined ||
    SEGMENTS.some((name) => segments[name] !== '')
  )
}

/** Those that fit, sorted. A state is found also where the org's switch is told before it. */
export function matching(rows: readonly Row[], filter: DeviceFilter, nowMs: number): readonly Row[] {
  const words = filter.q.toLowerCase().split(/\s+/).filter(Boolean)
  const segments = SEGMENTS.filter((name) => filter[name] !== '')
  const seenBefore = filter.silentSeconds === undefined ? undefined : nowMs - filter.silentSeconds * 1000
  const fit = rows.filter(
    (row) =>
      words.every((word) => row.text.includes(word)) &&
      segments.every((name) => row.segments[name] === filter[name]) &&
      hasState(row, filter.state) &&
      (!filter.overdue || row.device.overdue) &&
      (seenBefore === undefined || (row.seenAtMs ?? 0) < seenBefore),
  )
  const sign = filter.descending ? -1 : 1
  const compare = COMPARE[filter.sort]
  return fit.toSorted((a, b) => sign * compare(a, b) || byId(a, b))
}

function hasState({ denials }: Row, state: State | undefined): boolean {
  if (state === undefined) return true
  if (state === 'allowed') return denials.length === 0
  return state === 'denied' ? denials.length > 0 : denials.includes(state)
}

/** Byte order, as the API lists them; `localeCompare` would take a long time over 10,000. */
const byId = (a: Row, b: Row) =>
  Number(a.device.deviceId > b.device.deviceId) - Number(a.device.deviceId < b.device.deviceId)
const COMPARE: Readonly<Record<Sort, (a: Row, b: Row) => number>> = {
  device: byId,
  state: (a, b) => rank(a) - rank(b),
  seen: (a, b) => (a.seenAtMs ?? 0) - (b.seenAtMs ?? 0),
  inFlight: (a, b) => a.inFlight - b.inFlight,
}
const RANKS: readonly Denial[] = ['over_limit', 'locked', 'revoked', 'plan_off', 'org_off']
const rank = ({ denials: [first] }: Row) => (first === undefined ? -1 : RANKS.indexOf(first))

/** The values that there are, for a filter to choose from. */
export function segmentValues(rows: readonly Row[]): Readonly<Record<keyof Segments, readonly string[]>> {
  const valuesOf = (name: keyof Segments) =>
    [...new Set(rows.map(({ segments }) => segments[name]))].filter(Boolean).toSorted()
  return {
    service: valuesOf('service'),
    env: valuesOf('env'),
    surface: valuesOf('surface'),
    instance: valuesOf('instance'),
  }
}
