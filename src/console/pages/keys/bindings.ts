import { matchesDevicePattern } from '../../../device-patterns.ts'

const MAX_BINDINGS = 64
const LOOKS_LIKE_ONE = /^[A-Za-z0-9._:*-]{1,128}$/

export interface Binding {
  readonly text: string
  /** How many of the devices there are it names. */
  readonly matches: number
  readonly problem?: string
}

/** One a line; lines that say nothing are left out, and each is taken once. */
export function bindingLines(text: string): string[] {
  const lines = text.split('\n').map((line) => line.trim())
  return [...new Set(lines.filter((line) => line !== ''))]
}

export function judgeBindings(lines: readonly string[], deviceIds: readonly string[]): Binding[] {
  return lines.map((text, index) => {
    const problem = problemOf(text, index)
    const matches = deviceIds.filter((deviceId) => matchesDevicePattern(text, deviceId)).length
    return problem === undefined ? { text, matches } : { text, matches: 0, problem }
  })
}

function problemOf(text: string, index: number): string | undefined {
  if (index >= MAX_BINDINGS) return `A key has at most ${MAX_BINDINGS}.`
  if (!LOOKS_LIKE_ONE.test(text)) return 'This is no device ID or pattern.'
  if (text.split(':').length > 8) return 'It has more than 8 segments.'
  return text.split(':').some((segment) => segment !== '*' && segment.includes('*'))
    ? 'A * stands for a whole segment only.'
    : undefined
}

/** Patterns by service and environment that name devices there are, the largest first. */
export function suggestedBindings(deviceIds: readonly string[], count: number): string[] {
  const groups = new Map<string, number>()
  for (const deviceId of deviceIds) {
    const [service, env, ...rest] = deviceId.split(':')
    const group = rest.length === 0 ? deviceId : `${service ?? ''}:${env ?? ''}:*`
    groups.set(group, (groups.get(group) ?? 0) + 1)
  }
  return [...groups]
    .toSorted(([a, n], [b, m]) => m - n || (a < b ? -1 : 1))
    .slice(0, count)
    .map(([pattern]) => pattern)
}
