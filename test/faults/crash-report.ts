import type { ProofResult } from './crash-proof.ts'
import { newTally, type Tally } from './crash-round.ts'

type Count = Exclude<keyof Tally, 'problems'>

const COLUMNS: readonly (readonly [title: string, of: readonly Count[]])[] = [
  ['crashes', ['crashes']],
  ['runs', ['runs']],
  ['idempotent', ['chargesIdempotent']],
  ['repeats', ['repeats']],
  ['plain', ['chargesPlain']],
  ['duplicates', ['duplicatesIdempotent', 'duplicatesPlain', 'duplicateBookings', 'duplicateNotices']],
  ['unknown plain', ['unknownPlain']],
  ['unknown other', ['unknownIdempotent', 'unknownNotices', 'unknownBookings']],
  ['hidden', ['hidden']],
  ['lost', ['lost']],
  ['expired', ['expired']],
  ['409', ['busy']],
  ['hung', ['hung']],
]

/** For people: a line per point, and one that adds them up. */
export function reportOf(result: ProofResult): string {
  const lines = [...result, ['all', totalOf(result)] as const].map(([point, tally]) => [
    point,
    ...COLUMNS.map(([, of]) => String(of.reduce((sum, name) => sum + tally[name], 0))),
  ])
  const table = [['point', ...COLUMNS.map(([title]) => title)], ...lines]
  const widths = (table[0] ?? []).map((_, column) =>
    Math.max(...table.map((line) => line[column]?.length ?? 0)),
  )
  return table
    .map((line) =>
      line
        .map((cell, column) =>
          column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
        )
        .join('  '),
    )
    .join('\n')
}

export function totalOf(result: ProofResult): Tally {
  const total = newTally()
  for (const { problems, ...counts } of result.values()) {
    for (const [name, count] of Object.entries(counts) as [Count, number][]) total[name] += count
    total.problems.push(...problems)
  }
  return total
}
