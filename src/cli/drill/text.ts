import type { DrillReportBody } from '../../machineid/wire-drills.ts'
import type { Cli } from '../cli.ts'
import { table } from '../table.ts'
import { codesOf } from './markdown.ts'
import type { Step } from './steps.ts'

const NAMES: Readonly<Record<Step['name'], string>> = {
  baseline: 'baseline',
  stop: 'stop',
  restore: 'restore',
  disable_org: 'org disable',
  enable_org: 'org enable',
  cut: 'cut',
  mend: 'mend',
}

const DOING: Readonly<Record<Step['name'], string>> = {
  baseline: 'Calling the canary everywhere',
  stop: 'Stopped; calling on',
  restore: 'Restored; calling again',
  disable_org: 'Org disabled; calling on',
  enable_org: 'Org enabled; calling again',
  cut: 'Authority out of reach; calling on',
  mend: 'Authority back; calling again',
}

export function doing(name: Step['name']): string {
  return `${DOING[name]} …`
}

/** One line for a step that is over. */
export function stepLine({ name, held, note, ackMs }: Step, { paint }: Pick<Cli, 'paint'>): string {
  const mark = held ? paint.green('ok') : paint.red('NO')
  const ack = ackMs === null ? '' : paint.dim(` (ack in ${ackMs} ms)`)
  return `${mark}  ${NAMES[name].padEnd(11)}  ${note}${ack}`
}

/** What each stop did, replica by replica. */
export function measureTable(report: DrillReportBody, cli: Pick<Cli, 'columns' | 'paint'>): string {
  const rows = report.steps.flatMap((step) => step.measures.map((measure) => ({ step, ...measure })))
  if (rows.length === 0) return 'Nothing was measured.'
  return table(
    rows,
    [
      { title: 'STOP', of: ({ step }) => NAMES[step.name] },
      { title: 'REPLICA', of: ({ replica }) => nameOf(replica, cli), shrinks: true },
      { title: 'SURFACE', of: ({ surface }) => surface, shrinks: true },
      { title: 'BOUNDARY', of: ({ boundary }) => boundary },
      { title: 'SENT', of: ({ sentAfterAck }) => sentAfterAck },
      { title: 'STARTED', of: ({ startedAfterAck }) => startedAfterAck },
      { title: 'WINDOW', of: ({ windowMs }) => windowMs ?? '-' },
      { title: 'IN FLIGHT', of: ({ inFlight }) => inFlight },
      { title: 'P50 MS', of: ({ ended }) => ended?.p50Ms ?? '-' },
      { title: 'P99 MS', of: ({ ended }) => ended?.p99Ms ?? '-' },
      { title: 'CODES', of: ({ codes }) => codesText(codes), shrinks: true },
    ],
    cli,
  )
}

/** What tells replicas apart, `01/698ac78d`; in a pipe the whole. */
function nameOf(replica: string, { columns }: Pick<Cli, 'columns'>): string {
  return columns === undefined ? replica : (replica.split(':').at(-1) ?? replica)
}

/** How often is said where there is more than one. */
function codesText(codes: Step['measures'][number]['codes']): string {
  const names = Object.keys(codes)
  return names.length === 1 ? (names[0] ?? '') : codesOf(codes)
}

export function verdictLine(report: DrillReportBody, broken: boolean, { paint }: Pick<Cli, 'paint'>): string {
  if (report.held) return paint.green('Every step held.')
  return paint.red(broken ? 'A STOP DID NOT HOLD.' : 'Not every step held, so this proves nothing.')
}
