import type { z } from 'zod'

import { CALLS, type CallOutput } from '../machineid/calls.ts'
import { devicePattern } from '../machineid/wire-fields.ts'
import { EXIT, type Cli } from './cli.ts'
import { CliError } from './cli-error.ts'
import type { OperatorClient } from './operator-client.ts'
import { matchesDevicePattern } from '../device-patterns.ts'
import { underway } from './stop-asking.ts'
import { table } from './table.ts'
import { when } from './times.ts'

export type Device = CallOutput<typeof CALLS.devices>['devices'][number]

export const DEVICE_STATES = ['active', 'stopped', 'revoked', 'locked', 'over-limit', 'overdue'] as const
export type DeviceState = (typeof DEVICE_STATES)[number]

/** Which devices; all that are given must fit. */
export interface Selection {
  readonly ids?: readonly string[] | undefined
  readonly pattern?: string | undefined
  /** `name=value`. */
  readonly label?: string | undefined
  readonly state?: DeviceState | undefined
}

const PAGE_DEVICES = 1000

/** Every device of the org that fits, page by page. */
export async function listDevices(cli: Cli, operator: OperatorClient, selection: Selection) {
  const fits = filterOf(selection)
  return underway(cli, 'Reading the devices …', async () => {
    const devices: Device[] = []
    let cursor: string | undefined
    for (;;) {
      const page = await operator.call(CALLS.devices, { limit: PAGE_DEVICES, cursor })
      devices.push(...page.devices.filter(fits))
      if (page.nextCursor === null) return { orgId: page.orgId, orgEpoch: page.orgEpoch, devices }
      cursor = page.nextCursor
    }
  })
}

function filterOf({ ids, pattern, label, state }: Selection): (device: Device) => boolean {
  const wanted = ids === undefined || ids.length === 0 ? undefined : new Set(ids)
  const named = label === undefined ? undefined : labelOf(label)
  if (pattern !== undefined) checkPattern(pattern)
  return (device) =>
    (wanted === undefined || wanted.has(device.deviceId)) &&
    (pattern === undefined || matchesDevicePattern(pattern, device.deviceId)) &&
    (named === undefined || device.labels[named.name] === named.value) &&
    (state === undefined || isIn(device, state))
}

function isIn(device: Device, state: DeviceState): boolean {
  const { revoked, locked, overLimit, overdue } = device
  switch (state) {
    case 'active':
      return !revoked && !locked && !overLimit
    case 'stopped':
      return revoked || locked || overLimit
    case 'revoked':
      return revoked
    case 'locked':
      return locked
    case 'over-limit':
      return overLimit
    case 'overdue':
      return overdue
  }
}

export function labelOf(text: string): { readonly name: string; readonly value: string } {
  const at = text.indexOf('=')
  if (at > 0) return { name: text.slice(0, at), value: text.slice(at + 1) }
  throw new CliError(
    'BAD_LABEL',
    `A label is name=value, for example team=billing, not "${text}".`,
    EXIT.usage,
  )
}

export function checkPattern(pattern: string): void {
  const parsed: z.ZodSafeParseResult<string> = devicePattern.safeParse(pattern)
  if (parsed.success) return
  const why = parsed.error.issues[0]?.message ?? 'cannot be read'
  throw new CliError('BAD_PATTERN', `The pattern ${why}`, EXIT.usage)
}

/** `revoked, locked`; `active` when nothing stops it. */
function stateText({ revoked, locked, overLimit, overdue }: Device): string {
  const stops = [revoked && 'revoked', locked && 'locked', overLimit && 'over limit', overdue && 'overdue']
  return stops.filter(Boolean).join(', ') || 'active'
}

export function deviceTable(cli: Cli, devices: readonly Device[]): string {
  const { paint } = cli
  return table(
    devices,
    [
      { title: 'DEVICE', of: ({ deviceId }) => deviceId },
      {
        title: 'STATE',
        of: (device) => (stateText(device) === 'active' ? paint.green : paint.red)(stateText(device)),
      },
      { title: 'CHANGED', of: ({ changedAt }) => when(changedAt, cli) },
      { title: 'LAST ASKED', of: ({ lastSeen }) => when(lastSeen?.at ?? null, cli) },
      { title: 'WAS TOLD', of: ({ lastSeen }) => lastSeen?.code ?? '-' },
      { title: 'REASON', of: ({ reason, revoked }) => (revoked ? (reason ?? '-') : '-'), shrinks: true },
    ],
    cli,
  )
}
