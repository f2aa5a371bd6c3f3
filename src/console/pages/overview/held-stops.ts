import type { Output } from '../../api/routes.ts'

type Device = Pick<
  Output<'devices'>['devices'][number],
  'deviceId' | 'revoked' | 'epoch' | 'reason' | 'changedAt' | 'remindAt' | 'overdue'
>

/** Revoked devices that one stop holds. */
export interface HeldStop {
  readonly epoch: number
  readonly deviceIds: readonly string[]
  readonly reason: string | null
  readonly since: string
  /** The first of its reminders. */
  readonly remindAt: string | null
  readonly overdue: boolean
}

/** The stops that hold devices now: the overdue ones first, then the newest. */
export function heldStops(devices: readonly Device[]): HeldStop[] {
  const stops = new Map<number, Device[]>()
  for (const device of devices) {
    if (!device.revoked) continue
    const held = stops.get(device.epoch)
    if (held === undefined) stops.set(device.epoch, [device])
    else held.push(device)
  }
  return [...stops]
    .flatMap(([epoch, held]) => {
      const [first] = held
      if (first === undefined) return []
      const reminders = held.flatMap(({ remindAt }) => (remindAt === null ? [] : [remindAt])).sort()
      return {
        epoch,
        deviceIds: held.map(({ deviceId }) => deviceId),
        reason: first.reason,
        since: first.changedAt,
        remindAt: reminders[0] ?? null,
        overdue: held.some(({ overdue }) => overdue),
      }
    })
    .sort((one, other) => Number(other.overdue) - Number(one.overdue) || other.epoch - one.epoch)
}
