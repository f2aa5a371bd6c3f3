import { Option } from 'commander'

import { CALLS, type CallOutput } from '../machineid/calls.ts'
import { PLAN_LIMITS } from '../machineid/wire.ts'
import { blastRadius, blastText, showDryRun } from './blast-radius.ts'
import { EXIT, type Cli, type Commands } from './cli.ts'
import { CliError } from './cli-error.ts'
import { collected } from './devices.ts'
import { ifEpochOf, withIfEpoch, type IfEpoch } from './if-epoch.ts'
import { count } from './plural.ts'
import { confirmed, stopAfterAsking, underway, withStopOptions, type StopOptions } from './stop-asking.ts'
import { when } from './times.ts'

interface PlanOptions {
  readonly org?: string
  readonly limit?: string
  readonly state?: 'active' | 'canceled' | 'frozen' | 'unpaid'
  readonly accessUntil?: string
  readonly dryRun?: boolean
}

interface OwnerOptions {
  readonly add?: readonly string[]
  readonly remove?: readonly string[]
}

const TIERS = [...(Object.keys(PLAN_LIMITS) as (keyof typeof PLAN_LIMITS)[]), 'custom'] as const

export const orgCommands: Commands = (program, cli) => {
  const org = program.command('org').description('the whole org: its switch, its plan, its owners')
  withStopOptions(org.command('disable').description('stop everything'), { remind: false }).action(
    (options: StopOptions) => disable(cli(), options),
  )
  withIfEpoch(org.command('enable').description('let everything work again that is not stopped on its own'))
    .option('--reason <text>', 'why, for the audit')
    .action((options: Pick<StopOptions, 'reason'> & IfEpoch) => enable(cli(), options))
  org
    .command('usage')
    .description('plan, devices, and whether it is disabled')
    .action(() => usage(cli()))
  org
    .command('plan')
    .description('set the plan of an org; takes the platform token')
    .addArgument(program.createArgument('<tier>', 'the plan').choices(TIERS))
    .option('--org <org>', 'its ID (default: the org of the key at hand)')
    .option('--limit <devices>', 'with tier custom')
    .addOption(
      new Option('--state <state>', 'of the plan').choices(['active', 'canceled', 'frozen', 'unpaid']),
    )
    .option('--access-until <time>', 'with state canceled: when it ends, in ISO 8601')
    .option('--dry-run', 'say which devices it would stop, and change nothing')
    .action((tier: (typeof TIERS)[number], options: PlanOptions) => plan(cli(), tier, options))
  org
    .command('owners')
    .description('list or change whom recovery mails to')
    .option('--add <email>', 'may be given several times', collected)
    .option('--remove <email>', 'may be given several times', collected)
    .action((options: OwnerOptions) => owners(cli(), options))
}

async function disable(cli: Cli, { reason, dryRun }: StopOptions): Promise<void> {
  if (reason === undefined && dryRun !== true) {
    throw new CliError('REASON_NEEDED', 'This stops the whole org. Say why: --reason TEXT', EXIT.usage)
  }
  const operator = cli.operator('stop')
  const input = { reason }
  const verb = 'stop the whole org:'
  const stopped = await stopAfterAsking(cli, {
    operator,
    call: CALLS.orgDisable,
    input,
    dryRun,
    asks: true,
    verb,
  })
  if (stopped === undefined) return
  cli.show({
    json: stopped,
    text: `Disabled org ${stopped.orgId} at epoch ${stopped.epoch}: every device is denied. Undo: holdpoint org enable`,
  })
}

/** Against the epoch that was given, else that it has just shown (G6). */
async function enable(
  cli: Cli,
  { reason, ...options }: Pick<StopOptions, 'reason'> & IfEpoch,
): Promise<void> {
  const given = ifEpochOf(options)
  const operator = cli.operator('manage')
  const now = await operator.call(CALLS.usage, {})
  if (!now.org.disabled) {
    return cli.show({ json: now, text: `Org ${now.orgId} is not disabled: nothing to enable.` })
  }
  if (!cli.isJson) cli.note(disabledText(cli, now))
  await confirmed(
    cli,
    () =>
      `Enable org ${now.orgId}, with ${count(now.devicesUsed - now.revoked, 'device')} that would work again?`,
  )
  const ifEpoch = given ?? now.org.epoch
  const enabled = await underway(cli, 'Enabling …', () => operator.call(CALLS.orgEnable, { ifEpoch, reason }))
  cli.show({
    json: enabled,
    text: `Enabled org ${enabled.orgId} at epoch ${enabled.epoch}. What is revoked or locked stays so.`,
  })
}

type Usage = CallOutput<typeof CALLS.usage>

function disabledText(cli: Cli, { org }: Usage): string {
  return `Disabled ${when(org.since, cli)} by ${org.by ?? 'somebody unknown'}: ${org.reason ?? 'no reason given'}`
}

async function usage(cli: Cli): Promise<void> {
  const now = await cli.operator('see').call(CALLS.usage, {})
  cli.show({ json: now, text: () => usageText(cli, now) })
}

function usageText(cli: Cli, now: Usage): string {
  const { paint } = cli
  const state = now.org.disabled ? paint.red(disabledText(cli, now)) : paint.green('enabled')
  const until = now.accessUntil === null ? '' : ` until ${now.accessUntil}`
  return [
    `Org       ${now.orgId}`,
    `State     ${state}`,
    `Plan      ${now.planTier}, ${now.planState}${until}`,
    `Devices   ${now.devicesUsed} of ${now.limit}${now.overLimit ? paint.red(' (over the limit)') : ''}, ${now.revoked} revoked`,
    `Locks     ${now.locks}`,
    `Overdue   ${now.overdue}`,
    `Epoch     ${now.orgEpoch}`,
  ].join('\n')
}

async function plan(cli: Cli, tier: (typeof TIERS)[number], options: PlanOptions): Promise<void> {
  const { state, accessUntil, dryRun } = options
  const limit = options.limit === undefined ? undefined : limitOf(options.limit)
  const operator = cli.operator('platform')
  const orgId = options.org ?? (await cli.operator('see').call(CALLS.usage, {})).orgId
  const input = { orgId, tier, limit, state, accessUntil }
  if (dryRun === true) return showDryRun(cli, await blastRadius(operator, CALLS.orgPlan, input), 'Would stop')
  const { hits } = cli.isSure ? { hits: 0 } : await operator.preview(CALLS.orgPlan, input)
  if (hits > 0) {
    await confirmed(
      cli,
      async () => `This plan stops ${blastText(await blastRadius(operator, CALLS.orgPlan, input))}. Set it?`,
    )
  }
  const set = await underway(cli, 'Setting the plan …', () => operator.call(CALLS.orgPlan, input))
  cli.show({
    json: set,
    text: `Org ${orgId} has plan ${set.planTier}, ${set.planState}: ${set.devicesUsed} of ${set.limit} devices.`,
  })
}

function limitOf(text: string): number {
  if (/^\d{1,8}$/.test(text)) return Number(text)
  throw new CliError('BAD_LIMIT', `--limit takes a whole number, not "${text}".`, EXIT.usage)
}

async function owners(cli: Cli, { add, remove }: OwnerOptions): Promise<void> {
  const operator = cli.operator('manage')
  const changes = { ...(add && { add: [...add] }), ...(remove && { remove: [...remove] }) }
  const answer =
    add === undefined && remove === undefined
      ? await operator.call(CALLS.owners, {})
      : await operator.call(CALLS.ownersChange, changes)
  const none = cli.columns === undefined ? '' : 'There is no owner: nobody could recover this org by mail.'
  cli.show({ json: answer, text: answer.owners.join('\n') || none })
}
