import { EXIT, type Cli, type Commands, type Paint } from './cli.ts'
import { CliError } from './cli-error.ts'
import type { Finding, Level } from './doctor-facts.ts'
import { findingsOf } from './doctor-findings.ts'
import { gather } from './doctor-gather.ts'
import { count } from './plural.ts'

/** What is set up so that a stop would not hold, or could not be proved. */
export const doctorCommands: Commands = (program, cli) => {
  program
    .command('doctor')
    .summary('find weak spots, each with its fix')
    .description(
      'Looks at the control plane, at every process that asks it, and at the tool servers: whether stops reach them and\n' +
        'are kept, who could undo one, which tools and effects are not held. Changes nothing. Status 1 when something fails.',
    )
    .option('--strict', 'status 1 for warnings too')
    .action((options: { readonly strict?: boolean }) => doctor(cli(), options.strict === true))
}

async function doctor(cli: Cli, strict: boolean): Promise<void> {
  const progress = cli.progress('Looking at the control plane and the tool servers')
  const findings = await gather(cli)
    .then(findingsOf)
    .finally(() => progress.end())
  const counts = {
    ok: countOf(findings, 'ok'),
    warn: countOf(findings, 'warn'),
    fail: countOf(findings, 'fail'),
  }
  cli.show({ json: { ...counts, findings }, text: () => findingsText(findings, counts, cli.paint) })
  if (counts.fail > 0 || (strict && counts.warn > 0)) {
    throw new CliError(
      'FINDINGS',
      'Not everything is as it should be: each finding names its fix.',
      EXIT.error,
    )
  }
}

function countOf(findings: readonly Finding[], level: Level): number {
  return findings.filter((finding) => finding.level === level).length
}

function counted({ warn, fail }: { readonly warn: number; readonly fail: number }): string {
  return `${count(fail, 'failure')}, ${count(warn, 'warning')}`
}

type Counts = Readonly<Record<Level, number>>

function findingsText(findings: readonly Finding[], counts: Counts, paint: Paint): string {
  const groups = Map.groupBy(findings, ({ about }) => about)
  const parts = [...groups].map(([about, found]) =>
    [paint.bold(about), ...found.map((one) => findingText(one, paint))].join('\n'),
  )
  return [
    ...parts,
    paint.bold(counts.fail === 0 && counts.warn === 0 ? paint.green('Nothing found.') : counted(counts)),
  ].join('\n\n')
}

function findingText({ level, what, why, fix }: Finding, paint: Paint): string {
  const marks = { ok: paint.green('ok  '), warn: paint.yellow('warn'), fail: paint.red('FAIL') }
  return [
    `  ${marks[level]}  ${what}`,
    ...(why === undefined ? [] : [paint.dim(`        ${why}`)]),
    ...(fix === undefined ? [] : [`        Fix: ${fix}`]),
  ].join('\n')
}
