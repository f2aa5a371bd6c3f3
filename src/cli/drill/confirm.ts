import { CALLS } from '../../machineid/calls.ts'
import { blastRadius, blastText } from '../blast-radius.ts'
import { CliError } from '../cli-error.ts'
import type { Cli } from '../cli.ts'
import type { OperatorClient } from '../operator-client.ts'
import type { Stage } from './stage.ts'

export interface Asked {
  readonly surface: string | undefined
  readonly org: boolean
  readonly forMs: number
  readonly dryRun: boolean
  readonly operator: OperatorClient
  readonly stage: Stage
  readonly isHosted: boolean
}

/** Whether to go on: not with `--dry-run`. Nothing is asked where only a canary is stopped. Throws `NOT_CONFIRMED`. */
export async function confirmed(cli: Cli, asked: Asked): Promise<boolean> {
  const { stage, org, dryRun } = asked
  const isHarmless = stage.target.kind === 'canary' && !org
  if (!dryRun && (isHarmless || cli.isSure)) return true
  const lines = [await targetLine(asked), ...(org ? [await orgLine(asked)] : [])]
  if (dryRun) {
    const json = { dryRun: true, target: stage.target, org, called: stage.cells, what: lines }
    cli.show({ json, text: `${lines.join('\n')}\nNothing was changed.` })
    return false
  }
  if (await cli.confirm(`${lines.join('\n')}\nGo on?`)) return true
  throw new CliError('NOT_CONFIRMED', 'Nothing was changed.')
}

async function targetLine({ stage, surface, forMs, operator, isHosted }: Asked): Promise<string> {
  const { kind, deviceIds } = stage.target
  const names = deviceIds.join(', ')
  if (kind === 'canary')
    return `Revokes the canary ${names}, which nothing else uses, for about ${secondsOf(forMs)}.`
  const hit = isHosted
    ? ''
    : `, ${blastText(await blastRadius(operator, CALLS.revokeBatch, { deviceIds: [...deviceIds] }))}`
  return (
    `Revokes ${names}: the REAL surface ${surface ?? ''} is stopped for ${secondsOf(forMs)} or more${hit}. ` +
    'What runs there is aborted where it can be.'
  )
}

async function orgLine({ operator, forMs }: Asked): Promise<string> {
  const hit = blastText(await blastRadius(operator, CALLS.orgDisable, {}))
  return `Disables the WHOLE ORG for ${secondsOf(forMs)} or more: ${hit}. All its agents are denied meanwhile.`
}

function secondsOf(ms: number): string {
  return `${Math.ceil(ms / 1000)} s`
}
