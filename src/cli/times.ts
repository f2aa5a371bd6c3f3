import { EXIT, type Cli } from './cli.ts'
import { CliError } from './cli-error.ts'

const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
] as const

/** `850 ms`, `12 s`, `3 m`, `2 h`, `5 d`: the largest unit of which there is one. */
export function span(ms: number): string {
  for (const [unit, unitMs] of UNITS) if (ms >= unitMs) return `${Math.floor(ms / unitMs)} ${unit}`
  return `${Math.round(ms)} ms`
}

/** On a terminal `3 m ago` or `in 2 h`; in a pipe as it came, ISO 8601. */
export function when(iso: string | null, { columns, nowMs }: Pick<Cli, 'columns' | 'nowMs'>): string {
  if (iso === null) return columns === undefined ? '' : '-'
  if (columns === undefined) return iso
  const pastMs = nowMs() - Date.parse(iso)
  if (Math.abs(pastMs) < 1000) return 'now'
  return pastMs > 0 ? `${span(pastMs)} ago` : `in ${span(-pastMs)}`
}

const DURATION = /^(\d{1,8})(s|m|h|d)$/

/** `90s`, `30m`, `2h`, `1d`, in seconds. Throws `CliError` (usage). */
export function durationSeconds(text: string, option: string): number {
  const [, count, unit] = DURATION.exec(text) ?? []
  const unitMs = UNITS.find(([name]) => name === unit)?.[1]
  if (count !== undefined && unitMs !== undefined) return (Number(count) * unitMs) / 1000
  throw new CliError(
    'BAD_DURATION',
    `${option} takes a time such as 90s, 30m, 2h or 1d, not "${text}".`,
    EXIT.usage,
  )
}
