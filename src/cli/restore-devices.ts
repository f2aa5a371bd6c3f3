import { CALLS, type CallInput, type CallOutput } from '../machineid/calls.ts'
import { MAX_CHANGED_DEVICES } from '../machineid/wire.ts'
import { showBatch } from './batch-result.ts'
import { EXIT, type Cli } from './cli.ts'
import { CliError } from './cli-error.ts'
import {
  checkPattern,
  deviceTable,
  labelOf,
  listDevices,
  type Device,
  type Selection,
} from './device-list.ts'
import { ifEpochOf, type IfEpoch } from './if-epoch.ts'
import type { OperatorClient } from './operator-client.ts'
import { count } from './plural.ts'
import { confirmed, underway } from './stop-asking.ts'

interface RestoreOptions extends Selection, IfEpoch {
  readonly reason?: string
  readonly dryRun?: boolean
}

/** Restores against the epochs that it has just shown, or `--if-epoch`: a stop that came after that stays (G6). */
export async function restoreDevices(cli: Cli, options: RestoreOptions): Promise<void> {
  checkSelection(options)
  const ifEpoch = ifEpochOf(options)
  const { ids = [], pattern, label, reason, dryRun } = options
  const operator = cli.operator('restore')
  const { orgId, devices } = await listDevices(cli, operator, { ids, pattern, label })
  const unknown = ids.filter((id) => !devices.some(({ deviceId }) => deviceId === id))
  if (unknown.length > 0) throw notFound(unknown)
  const revoked = devices.filter((device) => device.revoked)
  if (dryRun === true || revoked.length === 0) return nothingDone(cli, { orgId, devices, revoked, dryRun })
  if (!cli.isJson) cli.note(deviceTable(cli, revoked))
  if (revoked.length > 1) await confirmed(cli, () => `Restore ${count(revoked.length, 'device')}?`)
  const items = revoked.map(({ deviceId, epoch }) => ({ deviceId, ifEpoch: ifEpoch ?? epoch }))
  const [one, ...others] = items
  if (one !== undefined && others.length === 0) return restoreOne(cli, operator, { ...one, reason })
  showBatch(cli, await restoreMany(cli, operator, items, reason), { done: 'Restored' })
}

function checkSelection({ ids = [], pattern, label, ifEpoch }: RestoreOptions): void {
  if (ids.length === 0 && pattern === undefined && label === undefined) {
    throw new CliError('SELECTION_NEEDED', 'Say which: device IDs, or --pattern, or --label.', EXIT.usage)
  }
  if (ifEpoch !== undefined && (new Set(ids).size !== 1 || pattern !== undefined || label !== undefined)) {
    throw new CliError('SELECTION_NEEDED', '--if-epoch is of one device: give one ID with it.', EXIT.usage)
  }
  if (pattern !== undefined) checkPattern(pattern)
  if (label !== undefined) labelOf(label)
}

async function restoreOne(
  cli: Cli,
  operator: OperatorClient,
  input: CallInput<typeof CALLS.unrevoke>,
): Promise<void> {
  const restored = await underway(cli, 'Restoring …', () => operator.call(CALLS.unrevoke, input))
  cli.show({ json: restored, text: `Restored ${input.deviceId} at epoch ${restored.epoch}.` })
  const { stillDeniedBy = [] } = restored
  if (stillDeniedBy.length > 0)
    cli.note(`It is still denied by: ${stillDeniedBy.join(', ')}. See: holdpoint status`)
}

type Batch = CallOutput<typeof CALLS.unrevokeBatch>

/** As one answer, however many calls it takes. */
export async function restoreMany(
  cli: Cli,
  operator: OperatorClient,
  items: readonly { readonly deviceId: string; readonly ifEpoch: number }[],
  reason: string | undefined,
): Promise<Batch> {
  return underway(cli, 'Restoring …', async () => {
    let whole: Batch | undefined
    for (let at = 0; at < items.length; at += MAX_CHANGED_DEVICES) {
      const some = items.slice(at, at + MAX_CHANGED_DEVICES)
      const batch = await operator.call(CALLS.unrevokeBatch, { items: some, reason })
      const { changed = 0, results = [] } = whole ?? {}
      whole = { ...batch, changed: changed + batch.changed, results: [...results, ...batch.results] }
    }
    return whole as Batch
  })
}

function notFound(ids: readonly string[]): CliError {
  return new CliError(
    'DEVICE_NOT_REGISTERED',
    `There is no device ${ids.join(', ')}. See: holdpoint devices ls. One that was removed comes back with: ` +
      `holdpoint devices register ${ids[0]} --restore-removed`,
  )
}

interface Found {
  readonly orgId: string
  readonly devices: readonly Device[]
  readonly revoked: readonly Device[]
  readonly dryRun: boolean | undefined
}

function nothingDone(cli: Cli, { orgId, devices, revoked, dryRun }: Found): void {
  const json = { ...(dryRun === true && { dryRun }), orgId, deviceCount: revoked.length, devices: revoked }
  if (revoked.length > 0) {
    const would = `Would restore ${count(revoked.length, 'device')}. Nothing was changed.`
    return cli.show({ json, text: `${would}\n${deviceTable(cli, revoked)}` })
  }
  cli.show({ json, text: 'None of these is revoked: nothing to restore.' })
  if (devices.some(({ locked }) => locked)) cli.note('A lock holds some of them. See: holdpoint lock ls')
}
