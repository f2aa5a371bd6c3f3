import { CALLS, type CallOutput } from '../machineid/calls.ts'
import { showBatch } from './batch-result.ts'
import type { Cli } from './cli.ts'
import type { OperatorClient } from './operator-client.ts'
import { count } from './plural.ts'
import { restoreMany } from './restore-devices.ts'
import { confirmed } from './stop-asking.ts'

export interface RestoreStopOptions {
  readonly reason?: string
  readonly dryRun?: boolean
}

const SHOWN = 20

/** G6: exactly what the stop took away, each device only while nothing has changed it since. */
export async function restoreStop(
  cli: Cli,
  epoch: number,
  { reason, dryRun }: RestoreStopOptions,
): Promise<void> {
  const operator = cli.operator('restore')
  const set = await setOf(operator, epoch)
  const items = set.flatMap(({ deviceId, wasRevoked, stillHeld, epochNow }) =>
    wasRevoked || !stillHeld || epochNow === null ? [] : [{ deviceId, ifEpoch: epochNow }],
  )
  if (items.length === 0 || dryRun === true) {
    const json = { ...(dryRun === true && { dryRun }), epoch, deviceCount: items.length, devices: items }
    return cli.show({ json, text: items.length === 0 ? NONE : `Would restore ${named(items)}.` })
  }
  if (items.length > 1) await confirmed(cli, () => `Restore ${named(items)}?`)
  showBatch(cli, await restoreMany(cli, operator, items, reason), { done: 'Restored' })
}

const NONE =
  'This stop holds no device any more. A lock, the org and a removed device are restored by themselves: ' +
  'holdpoint stops show EPOCH says how.'

function named(items: readonly { readonly deviceId: string }[]): string {
  const shown = items.slice(0, SHOWN).map(({ deviceId }) => deviceId)
  const more = items.length > shown.length ? ` and ${items.length - shown.length} more` : ''
  return `${count(items.length, 'device')} (${shown.join(', ')}${more})`
}

type StopSet = CallOutput<typeof CALLS.stopSet>

async function setOf(operator: OperatorClient, epoch: number): Promise<StopSet['devices']> {
  const devices: StopSet['devices'] = []
  for (let cursor: string | undefined; ;) {
    const page: StopSet = await operator.call(CALLS.stopSet, { epoch, limit: 1000, cursor })
    devices.push(...page.devices)
    if (page.nextCursor === null) return devices
    cursor = page.nextCursor
  }
}
