import { setTimeout as sleep } from 'node:timers/promises'
import type { z } from 'zod'

import { CALLS } from '../machineid/calls.ts'
import type { DecisionsResponse } from '../machineid/wire-evidence.ts'
import { EXIT, type Cli, type Commands } from './cli.ts'
import { CliError } from './cli-error.ts'
import { localCode } from '../local-codes.ts'
import { commandOf } from '../next-commands.ts'
import { oneLine } from './one-line.ts'
import { when } from './times.ts'

type Decision = z.output<typeof DecisionsResponse>['decisions'][number]

type Stop = NonNullable<NonNullable<Decision['explanation']>['stop']>

const LOCAL = 'local_'
/** Denials are stored in batches: one that has just been made may not be there yet. */
const STORED_WITHIN_MS = 500

/** Why one call was denied, and what would let it through. */
export const explainCommands: Commands = (program, cli) => {
  program
    .command('explain')
    .summary('why a call was denied, and what restores it')
    .description(
      'Says which device was denied at which boundary and why, who stopped it, what holds now, and which command\n' +
        'restores it. The request_id of a denial is in the log, in the answer of the tool server, and in what the model\n' +
        'was told. Of one that begins with local_ no authority knows: give the code that stood beside it.',
    )
    .argument('<request_id>', 'of the denial')
    .option('--code <code>', 'the code that stood beside it, for example AUTHORITY_TIMEOUT')
    .action((requestId: string, { code }: { readonly code?: string }) => explain(cli(), requestId, code))
}

async function explain(cli: Cli, requestId: string, code: string | undefined): Promise<void> {
  if (requestId.startsWith(LOCAL) || (code !== undefined && localCode(code) !== undefined)) {
    explainLocal(cli, requestId, code)
    return
  }
  const operator = cli.operator('evidence')
  const look = () => operator.call(CALLS.decisions, { request_id: requestId })
  let { decisions, note } = await look()
  if (decisions.length === 0) {
    await sleep(STORED_WITHIN_MS, undefined, { signal: cli.signal })
    ;({ decisions, note } = await look())
  }
  if (decisions.length === 0) {
    throw new CliError(
      'NOT_FOUND',
      `No decision ${requestId} is known. ${note ?? ''} See what is decided now: holdpoint tail`,
    )
  }
  const explained = decisions.map((decision) => ({ ...decision, ...commandsOf(decision) }))
  cli.show({
    json: { requestId, local: false, decisions: explained },
    text: () => decisionsText(explained, cli),
  })
}

function explainLocal(cli: Cli, requestId: string, code: string | undefined): void {
  const known = code === undefined ? undefined : localCode(code)
  if (code !== undefined && known === undefined) {
    throw new CliError(
      'UNKNOWN_CODE',
      `${code} is no code that a guard gives by itself. Take the one that stands beside ${requestId} in the log, for example AUTHORITY_TIMEOUT.`,
      EXIT.usage,
    )
  }
  cli.show({
    json: {
      requestId,
      local: true,
      code: code ?? null,
      means: known?.means ?? null,
      todo: known?.todo ?? LOOK_UP,
    },
    text: () =>
      [
        requestId.startsWith(LOCAL) ? BY_THE_GUARD : 'The guard of the process denied this by itself.',
        ...(known === undefined
          ? [LOOK_UP]
          : [`${cli.paint.bold(code ?? '')}: ${known.means}`, `To do: ${known.todo}`]),
      ].join('\n'),
  })
}

const BY_THE_GUARD =
  'No authority made this decision: the guard of the process denied by itself, since no answer means no.'
const LOOK_UP =
  'Its code stands beside it in the log of the process that was denied. What it means and what to do: add --code CODE'

/** Steps that are no call, such as advice, stay as they are. */
function commandsOf({ explanation }: Decision): { readonly commands: string[]; readonly advice: string[] } {
  const commands: string[] = []
  const advice: string[] = []
  for (const step of explanation?.next ?? []) {
    const command = commandOf(step)
    if (command === undefined) advice.push(step)
    else commands.push(command)
  }
  return { commands, advice }
}

type Explained = Decision & ReturnType<typeof commandsOf>

function decisionsText(decisions: readonly Explained[], cli: Cli): string {
  const denied = decisions.filter(({ allowed }) => !allowed)
  const told = denied.length === 0 ? decisions : denied
  const rest = decisions.length - told.length
  const more = rest === 0 ? [] : [`(Asked in the same question, and allowed: ${namesOf(decisions)})`]
  return [...told.map((decision) => decisionText(decision, cli)), ...more].join('\n\n')
}

function namesOf(decisions: readonly Decision[]): string {
  return decisions
    .filter(({ allowed }) => allowed)
    .map(({ deviceId }) => deviceId)
    .join(', ')
}

const TITLE = 12

function decisionText({ commands, advice, explanation, ...decision }: Explained, cli: Cli): string {
  const { paint } = cli
  const verdict = decision.allowed ? paint.green('ALLOWED') : paint.red('DENIED')
  const line = (title: string, text: string | null | undefined) =>
    text === null || text === undefined || text === ''
      ? []
      : [`${paint.dim(title.padEnd(TITLE))}${oneLine(text)}`]
  const stop = explanation?.stop
  const now = explanation?.now
  return [
    `${paint.bold(verdict)} ${decision.code}, ${when(decision.at, cli)}`,
    ...line('Device', decision.deviceId),
    ...line('Boundary', decision.boundary ?? (decision.asked === 'register' ? 'register' : null)),
    ...line('Call', callOf(decision)),
    ...line('Asked by', [decision.replica, `key ${decision.keyId}`].filter(Boolean).join(', ')),
    ...line('Why', explanation?.why),
    ...line('Stop', stop && stopText(stop, cli)),
    ...line(
      'Now',
      now === undefined
        ? undefined
        : now === 'ALLOW'
          ? paint.green('it would be allowed')
          : paint.red(`still ${now}`),
    ),
    ...commands.flatMap((command, index) => line(index === 0 ? 'To restore' : 'and', paint.bold(command))),
    ...advice.flatMap((text) => line('', text)),
  ].join('\n')
}

function stopText({ action, at, epoch }: Stop, cli: Cli): string {
  const shown = epoch === null ? '' : `, epoch ${epoch} (holdpoint stops show ${epoch})`
  return `${action}, ${when(at, cli)}${shown}`
}

function callOf({ tool, callId, runId }: Pick<Decision, 'tool' | 'callId' | 'runId'>): string {
  const parts = [tool, callId === null ? null : `call ${callId}`, runId === null ? null : `run ${runId}`]
  return parts.filter((part) => part !== null).join(', ')
}
