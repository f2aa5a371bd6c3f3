import { join } from 'node:path'

import { messageOf } from '../../errors.ts'
import { CliError } from '../cli-error.ts'
import { EXIT, type Cli } from '../cli.ts'
import type { Written } from './report.ts'
import type { Drilled } from './run-drill.ts'
import { measureTable, verdictLine } from './text.ts'

export function tell(cli: Cli, drilled: Drilled, written: Written, notDone: readonly string[]): void {
  const { report, broken, left } = drilled
  const { dir, signed, unsigned } = written
  const file = join(dir, signed === undefined ? 'report-unsigned.json' : 'report.json')
  cli.show({
    json: {
      held: report.held,
      broken,
      file,
      left,
      notDone,
      unsigned: unsigned ?? null,
      drill: signed ?? { report },
    },
    text: () =>
      [
        measureTable(report, cli),
        '',
        verdictLine(report, broken, cli),
        ...notDone.map((text) => `${cli.paint.yellow('Not done')}: ${text}`),
        signed === undefined
          ? `${cli.paint.yellow('Not signed')}: ${unsigned ?? ''}\nReport: ${file}`
          : `Report: ${file}, signed by the org; report.md and latency.svg beside it`,
      ].join('\n'),
  })
}

/** What the command ends with: status 3 when a stop did not hold, 1 when the drill could not show that it did. */
export function errorOf(
  cli: Cli,
  { report, broken, left, failure }: Drilled,
  { unsigned }: Written,
  isHosted: boolean,
): CliError | undefined {
  const after = left.length === 0 ? '' : `\n${left.join('\n')}`
  const cause = { cause: failure }
  if (broken) return new CliError('STOP_DID_NOT_HOLD', `A stop did not hold.${after}`, EXIT.denied, cause)
  if (cli.signal.aborted) {
    const restored = left.length === 0 ? ' What it had stopped is restored.' : after
    return new CliError('INTERRUPTED', `Interrupted.${restored}`, EXIT.interrupted, cause)
  }
  if (failure !== undefined) {
    const code = failure instanceof CliError ? failure.code : 'DRILL_FAILED'
    return new CliError(code, `${messageOf(failure)}${after}`, EXIT.error, cause)
  }
  if (left.length > 0) return new CliError('LEFT_STOPPED', `Not all is as it was before.${after}`)
  if (!report.held) return new CliError('DRILL_FAILED', 'The drill did not show what it should.')
  if (unsigned === undefined || isHosted) return undefined
  return new CliError('NOT_SIGNED', `Every step held, but the report is not signed. ${unsigned}`)
}
