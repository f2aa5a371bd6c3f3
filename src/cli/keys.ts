import { Option } from 'commander'

import { CALLS, type CallOutput } from '../machineid/calls.ts'
import { KEY_KINDS, type KeyKind } from '../machineid/wire.ts'
import { adminsOf, lockOutOf, type Admins } from './admins.ts'
import type { Cli, Commands } from './cli.ts'
import { CliError } from './cli-error.ts'
import { collected } from './devices.ts'
import type { OperatorClient } from './operator-client.ts'
import { madeSecret } from './secret-file.ts'
import { confirmed, stopAfterAsking, underway, withStopOptions, type StopOptions } from './stop-asking.ts'
import { table } from './table.ts'
import { durationSeconds, when } from './times.ts'

interface CreateOptions {
  readonly kind: KeyKind
  readonly name?: string
  readonly bind?: readonly string[]
  readonly out?: string
}

interface RotateOptions {
  readonly overlap?: string
  readonly reason?: string
  readonly out?: string
}

interface BurnOptions extends StopOptions {
  readonly lastAdmin?: boolean
}

export const keyCommands: Commands = (program, cli) => {
  const keys = program.command('keys').description('the keys of the org')
  const out = ['--out <file>', 'write the new key to this file, mode 0600, instead of printing it'] as const
  keys
    .command('ls')
    .description('list them, without their secrets')
    .option('--all', 'the ended ones too')
    .action((options: { readonly all?: boolean }) => list(cli(), options))
  keys
    .command('create')
    .description('issue one')
    .addOption(new Option('--kind <kind>', 'what it may do').choices(KEY_KINDS).makeOptionMandatory())
    .option('--name <name>', 'whose it is')
    .option(
      '--bind <device>',
      'with kind runtime: a device or pattern it may ask for; may be given several times',
      collected,
    )
    .option(...out)
    .action((options: CreateOptions) => create(cli(), options))
  keys
    .command('rotate <key>')
    .description('put a new one in the place of one')
    .option('--overlap <time>', 'how long the old one goes on working: 0s burns it at once (default: 1d)')
    .option('--reason <text>', 'why, for the audit')
    .option(...out)
    .action((keyId: string, options: RotateOptions) => rotate(cli(), keyId, options))
  withStopOptions(keys.command('burn <key>').description('end one at once and for good; this is a stop'), {
    remind: false,
  })
    .option('--last-admin', 'even when it is the only admin key, and nobody gets in again')
    .action((keyId: string, options: BurnOptions) => burn(cli(), keyId, options))
}

async function list(cli: Cli, { all = false }: { readonly all?: boolean }): Promise<void> {
  const answer = await cli.operator('manage').call(CALLS.keys, {})
  const keys = answer.keys.filter(({ state }) => all || state === 'active' || state === 'ending')
  const text = () =>
    table(
      keys,
      [
        { title: 'KEY', of: ({ keyId }) => keyId },
        { title: 'KIND', of: ({ kind }) => kind },
        { title: 'NAME', of: ({ name }) => name ?? '-', shrinks: true },
        { title: 'STATE', of: (key) => stateOf(cli, key) },
        { title: 'LAST USED', of: ({ lastUsedAt }) => when(lastUsedAt, cli) },
        { title: 'CREATED', of: ({ createdAt }) => when(createdAt, cli) },
        { title: 'BOUND TO', of: ({ bindings }) => bindings?.join(' ') ?? '-', shrinks: true },
      ],
      cli,
    )
  cli.show({ json: { ...answer, keys }, text })
}

function stateOf(
  cli: Cli,
  { state, endsAt, endedAt }: CallOutput<typeof CALLS.keys>['keys'][number],
): string {
  if (state === 'active') return cli.paint.green(state)
  return cli.paint.yellow(state === 'ending' ? `ends ${when(endsAt, cli)}` : `${state} ${when(endedAt, cli)}`)
}

async function create(cli: Cli, { kind, name, bind, out }: CreateOptions): Promise<void> {
  const operator = cli.operator('manage')
  const input = { kind, name, ...(bind && { bindings: [...bind] }) }
  const created = await underway(cli, 'Issuing …', () =>
    madeSecret(out, () => operator.call(CALLS.keyCreate, input), keyOf),
  )
  showNew(cli, created, out, `New ${kind} key ${created.keyId}.`)
}

async function rotate(cli: Cli, keyId: string, { overlap, reason, out }: RotateOptions): Promise<void> {
  const overlapSeconds = overlap === undefined ? undefined : durationSeconds(overlap, '--overlap')
  const operator = cli.operator('manage')
  if (overlapSeconds === 0)
    await confirmed(cli, () => `Burn ${keyId} at once? Whoever uses it is denied from then on.`)
  const input = { id: keyId, overlapSeconds, reason }
  const rotated = await underway(cli, 'Rotating …', () =>
    madeSecret(out, () => operator.call(CALLS.keyRotate, input), keyOf),
  )
  const { endsAt } = rotated.replaces
  const until =
    overlapSeconds === 0
      ? 'is burned'
      : `works until ${endsAt}${cli.columns === undefined ? '' : ` (${when(endsAt, cli)})`}`
  showNew(cli, rotated, out, `New ${rotated.kind} key ${rotated.keyId}. The old one, ${keyId}, ${until}.`)
}

const keyOf = ({ key }: { readonly key: string }) => key

/** With a file, the key is nowhere else. */
function showNew(cli: Cli, made: { readonly key: string }, out: string | undefined, text: string): void {
  if (out !== undefined) {
    const { key: _, ...json } = made
    return cli.show({ json: { ...json, file: out }, text: `${text} It is in ${out}, and nowhere else.` })
  }
  if (!cli.isJson) cli.note(text)
  cli.note('This is the only time that it is shown: put it where secrets are kept. Next time: --out FILE')
  cli.show({ json: made, text: '', secret: made.key })
}

/** A look that fails holds up no burn. */
async function adminsAtHand(cli: Cli, operator: OperatorClient): Promise<Admins | undefined> {
  try {
    return await adminsOf(operator, { timeoutMs: 2000 })
  } catch (error) {
    if (!(error instanceof CliError) || error.code === 'INTERRUPTED') throw error
    cli.note(`Whether it is the last admin key is not known: ${error.message}`)
    return undefined
  }
}

async function burn(cli: Cli, keyId: string, { reason, dryRun, lastAdmin }: BurnOptions): Promise<void> {
  const operator = cli.operator('manage')
  // Looked at only here, so that the control plane never hinders the burn of a key that leaked.
  const lockOut = lastAdmin === true ? undefined : lockOutOf(await adminsAtHand(cli, operator), keyId)
  if (lockOut !== undefined) {
    const refused = `${lockOut}. To burn it all the same: --last-admin`
    if (dryRun !== true) throw new CliError('LAST_ADMIN_KEY', refused)
    cli.note(`This would be refused (LAST_ADMIN_KEY). ${refused}`)
  }
  const input = { id: keyId, reason }
  const verb = `burn ${keyId}, which is for good, and stop what asks with it:`
  const burned = await stopAfterAsking(cli, {
    operator,
    call: CALLS.keyBurn,
    input,
    dryRun,
    asks: true,
    verb,
  })
  if (burned === undefined) return
  cli.show({
    json: burned,
    text: `Burned ${keyId} at epoch ${burned.epoch}. It never works again. A new one: holdpoint keys create`,
  })
}
