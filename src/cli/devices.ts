import { Option } from 'commander'

import { CALLS, type CallInput } from '../machineid/calls.ts'
import { showBatch } from './batch-result.ts'
import { EXIT, type Cli, type Commands } from './cli.ts'
import { CliError } from './cli-error.ts'
import {
  checkPattern,
  DEVICE_STATES,
  deviceTable,
  labelOf,
  listDevices,
  type DeviceState,
  type Selection,
} from './device-list.ts'
import { ifEpochOf, withIfEpoch, type IfEpoch } from './if-epoch.ts'
import { restoreDevices } from './restore-devices.ts'
import { remindAfterSeconds, stopAfterAsking, withStopOptions, type StopOptions } from './stop-asking.ts'

interface ListOptions {
  readonly pattern?: string
  readonly label?: string
  readonly state?: DeviceState
}

interface RegisterOptions extends IfEpoch {
  readonly label?: readonly string[]
  readonly restoreRemoved?: boolean
}

type SelectingOptions = StopOptions & IfEpoch & { readonly pattern?: string; readonly label?: string }

export const deviceCommands: Commands = (program, cli) => {
  const devices = program.command('devices').description('what may work, and what was stopped')
  const pattern = [
    '--pattern <pattern>',
    'those that match, for example openai-agent:prod:payments:*',
  ] as const
  const label = ['--label <name=value>', 'those that have this label'] as const

  devices
    .command('ls')
    .description('list them')
    .option(...pattern)
    .option(...label)
    .addOption(new Option('--state <state>', 'those in this state').choices(DEVICE_STATES))
    .action((options: ListOptions) => list(cli(), options))
  devices
    .command('register <device>')
    .description('make one known; no restore')
    .option('--label <name=value>', 'may be given several times', collected)
    .option('--restore-removed', 'bring back one that was removed')
    .option('--if-epoch <epoch>', 'of its removal (default: as it is now)')
    .action((deviceId: string, options: RegisterOptions) => register(cli(), deviceId, options))
  withStopOptions(
    devices
      .command('revoke [devices...]')
      .description('stop one or several')
      .option(...pattern)
      .option(...label),
  ).action((ids: string[], options: SelectingOptions) => revoke(cli(), { ...options, ids }))
  withIfEpoch(
    devices
      .command('restore [devices...]')
      .description('let one or several work again')
      .option(...pattern)
      .option(...label),
  )
    .option('--reason <text>', 'why, for the audit')
    .option('--dry-run', 'say what it would restore, and change nothing')
    .action((ids: string[], options: SelectingOptions) => restoreDevices(cli(), { ...options, ids }))
  withStopOptions(
    devices.command('rm <device>').description('remove one and free its slot; its ID stays denied'),
    { remind: false },
  ).action((deviceId: string, options: StopOptions) => remove(cli(), deviceId, options))
}

export function collected(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text]
}

async function list(cli: Cli, selection: Selection): Promise<void> {
  const found = await listDevices(cli, cli.operator('see'), selection)
  const isNarrowed = Object.keys(selection).length > 0
  cli.show({
    json: found,
    text: () =>
      found.devices.length === 0 && cli.columns !== undefined
        ? none(isNarrowed)
        : deviceTable(cli, found.devices),
  })
}

function none(isNarrowed: boolean): string {
  return isNarrowed
    ? 'No device fits. Leave out a filter to see more.'
    : 'There is no device yet. They register when they start.'
}

async function register(cli: Cli, deviceId: string, options: RegisterOptions): Promise<void> {
  const labels = options.label?.map(labelOf)
  const input: CallInput<typeof CALLS.register> = {
    deviceId,
    ...(labels && { labels: Object.fromEntries(labels.map(({ name, value }) => [name, value])) }),
  }
  const operator = cli.operator('restore')
  const ifEpoch = ifEpochOf(options)
  const registered = await operator
    .call(CALLS.register, { ...input, ...(ifEpoch !== undefined && { restoreRemoved: true, ifEpoch }) })
    .catch((error: unknown) => {
      if (!(error instanceof CliError) || error.code !== 'DEVICE_REMOVED') throw error
      if (options.restoreRemoved !== true) {
        throw new CliError(
          error.code,
          `${deviceId} was removed (epoch ${error.epoch}). Bring it back with: holdpoint devices register ${deviceId} --restore-removed`,
          EXIT.denied,
        )
      }
      cli.note(`${deviceId} was removed at epoch ${error.epoch}.`)
      return operator.call(CALLS.register, { ...input, restoreRemoved: true, ifEpoch: error.epoch })
    })
  const { status, devicesUsed, limit, stillDeniedBy = [] } = registered
  const done = status === 'exists' ? `${deviceId} is registered already.` : `Registered ${deviceId}.`
  cli.show({ json: registered, text: `${done} ${devicesUsed} of ${limit} devices of the plan are used.` })
  if (stillDeniedBy.length > 0) cli.note(`It is still denied by: ${stillDeniedBy.join(', ')}.`)
}

/** What the stop is about: exactly one of IDs, pattern and label. */
function selected({ ids = [], pattern, label }: Selection) {
  const given = [ids.length > 0, pattern !== undefined, label !== undefined].filter(Boolean).length
  if (given !== 1) {
    throw new CliError(
      'SELECTION_NEEDED',
      'Say which: device IDs, or --pattern, or --label, and only one of the three.',
      EXIT.usage,
    )
  }
  if (pattern !== undefined) {
    checkPattern(pattern)
    return { pattern }
  }
  return label === undefined ? { deviceIds: [...new Set(ids)] } : { label: labelOf(label) }
}

async function revoke(cli: Cli, options: SelectingOptions & Selection): Promise<void> {
  const { reason, dryRun } = options
  const which = selected(options)
  const about = { reason, remindAfterSeconds: remindAfterSeconds(options) }
  const operator = cli.operator('stop')
  const [one, ...others] = which.deviceIds ?? []
  if (one !== undefined && others.length === 0) {
    const stopping = {
      operator,
      call: CALLS.revoke,
      input: { deviceId: one, ...about },
      dryRun,
      asks: false,
      verb: 'revoke',
    }
    const stopped = await stopAfterAsking(cli, stopping)
    if (stopped === undefined) return
    cli.show({
      json: stopped,
      text: `Revoked ${one} at epoch ${stopped.epoch}.${untilText(options)} Undo: holdpoint devices restore ${one}`,
    })
    return
  }
  const input = { ...which, ...about }
  const stopped = await stopAfterAsking(cli, {
    operator,
    call: CALLS.revokeBatch,
    input,
    dryRun,
    asks: true,
    verb: 'revoke',
  })
  if (stopped !== undefined) showBatch(cli, stopped, { done: 'Revoked', until: untilText(options) })
}

export function untilText({ remindAfter }: StopOptions): string {
  return remindAfter === undefined ? '' : ` It stays stopped, and counts as overdue in ${remindAfter}.`
}

async function remove(cli: Cli, deviceId: string, { reason, dryRun }: StopOptions): Promise<void> {
  const operator = cli.operator('restore')
  const input = { deviceId, reason }
  const removed = await stopAfterAsking(cli, {
    operator,
    call: CALLS.remove,
    input,
    dryRun,
    asks: false,
    verb: 'remove',
  })
  if (removed === undefined) return
  cli.show({
    json: removed,
    text: `Removed ${deviceId} at epoch ${removed.epoch}. Its slot is free. Undo: holdpoint devices register ${deviceId} --restore-removed`,
  })
}
