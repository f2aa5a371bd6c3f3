import type { DrillReportBody, SignedDrillBody } from '../../machineid/wire-drills.ts'
import { count } from '../plural.ts'

export interface Signing {
  readonly signed: SignedDrillBody | undefined
  readonly unsigned: string | undefined
}

/** For people. What is signed is `report.json`; this says the same. */
export function markdownOf(report: DrillReportBody, { signed, unsigned }: Signing): string {
  const measured = report.steps.filter(({ measures }) => measures.length > 0)
  return [
    `# Drill ${report.drillId}`,
    report.held ? '**Every step held.**' : '**Not every step held.**',
    [
      `- Org ${report.orgId}, ${report.startedAt} to ${report.endedAt}`,
      `- Stopped: ${report.target.kind === 'canary' ? 'a canary' : 'a real surface'}, ${report.target.deviceIds.map(code).join(', ')}`,
      `- ${report.callsPerSecond} calls per second to ${report.toolServers.map((one) => `${one.url} (${code(one.replica)}, stop stream ${one.stopStream})`).join(', ')}`,
    ].join('\n'),
    '## Steps',
    tableOf(
      ['step', 'held', 'ack (ms)', 'epoch', 'what happened'],
      report.steps.map((step) => [
        step.name,
        step.held ? 'yes' : '**NO**',
        String(step.ackMs ?? ''),
        String(step.epoch ?? ''),
        step.note,
      ]),
    ),
    ...measured.flatMap((step) => [
      `## Measured: ${step.name}`,
      tableOf(
        [
          'replica',
          'surface',
          'boundary',
          'sent after ack',
          'started',
          'in window',
          'in flight',
          'ended p50 / p99 / max (ms)',
          'codes',
        ],
        step.measures.map((one) => [
          code(one.replica),
          one.surface,
          one.boundary,
          String(one.sentAfterAck),
          one.startedAfterAck === 0 ? '0' : `**${one.startedAfterAck}**`,
          one.windowMs === null ? '0' : `${one.startedInWindow}, up to ${one.windowMs} ms`,
          String(one.inFlight),
          one.ended === null ? '' : `${one.ended.p50Ms} / ${one.ended.p99Ms} / ${one.ended.maxMs}`,
          codesOf(one.codes),
        ]),
      ),
    ]),
    `![Calls in flight at the ack: share that had ended, by time](latency.svg)`,
    '## What this shows',
    'Times are of the clock of whoever ran the drill, and of no other. *Started* counts calls that were sent after the stop ' +
      'was acked and began all the same: it must be 0. *In window* counts calls sent before the ack that may have begun ' +
      'after it. *Ended* is an upper bound: the way back of the answer is in it. See docs/drill.md.',
    signatureOf(signed, unsigned),
    '',
  ].join('\n\n')
}

function signatureOf(signed: SignedDrillBody | undefined, unsigned: string | undefined): string {
  if (signed === undefined) return `**Not signed.** ${unsigned ?? ''}`.trim()
  const { audit } = signed.attestation
  const missing = audit.filter(({ row }) => row === null).length
  const crossed =
    missing === 0
      ? `The audit has a row of each of its ${count(audit.length, 'change')}.`
      : `**The audit has no row of ${missing} of its ${count(audit.length, 'change')}.**`
  return `Signed by the org (Ed25519, ${code(signed.publicKey)}). ${crossed} Verify with \`holdpoint drill verify report.json\`.`
}

export function codesOf(codes: Readonly<Record<string, number>>): string {
  return Object.entries(codes)
    .map(([name, count]) => `${name} ${count}`)
    .join(', ')
}

function tableOf(titles: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |`
  return [line(titles), `|${titles.map(() => ' --- |').join('')}`, ...rows.map(line)].join('\n')
}

/** What a tool server calls itself cannot make a table, a link or HTML of it. */
function cell(text: string): string {
  return text
    .replace(/[\r\n]+/g, ' ')
    .replaceAll('|', '\\|')
    .replaceAll('<', '&lt;')
}

function code(text: string): string {
  return `\`${text.replaceAll('`', "'")}\``
}
