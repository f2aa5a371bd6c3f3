import type { PLAN_LIMITS } from '../../../machineid/wire.ts'
import type { Output } from '../../api/routes.ts'

type Device = Pick<Output<'devices'>['devices'][number], 'deviceId' | 'slot' | 'revoked' | 'locked'>
type Replica = Pick<Output<'replicas'>['replicas'][number], 'devices'>

/** As in wire.ts, which would bring its schemas along. */
export const TIERS: typeof PLAN_LIMITS = { free: 3, pro: 25, scale: 250, max: 1000 }

export interface Hit {
  readonly deviceId: string
  readonly slot: number | null
  readonly inFlight: number
  /** What it is told now. A stop goes before the cap, so that it is what is told then too. */
  readonly now: 'ALLOW' | 'DEVICE_REVOKED' | 'DEVICE_LOCKED' | 'DEVICE_OVER_LIMIT'
}

export interface CapEffect {
  /** Slots above the cap, the lowest first: none of them is allowed. */
  readonly over: readonly Hit[]
  /** Of those, the ones that are allowed now, and the calls that are in flight there. */
  readonly newlyDenied: number
  readonly inFlight: number
  /** Over the cap that holds now, and not over this one. */
  readonly comeBack: readonly Hit[]
  /** Keep their slots below the cap although they are stopped. */
  readonly stoppedWithin: readonly Hit[]
  readonly within: number
}

/** What a cap would do to devices that have their slots already: the lowest slots stay (DESIGN "Slots"). */
export function effectOfCap(
  devices: readonly Device[],
  replicas: readonly Replica[],
  caps: { readonly now: number; readonly then: number },
): CapEffect {
  const inFlight = inFlightByDevice(replicas)
  const hits = devices
    .map((device) => ({
      deviceId: device.deviceId,
      slot: device.slot,
      inFlight: inFlight.get(device.deviceId) ?? 0,
      now: toldWith(device, caps.now),
    }))
    .toSorted((a, b) => (a.slot ?? Infinity) - (b.slot ?? Infinity))
  const over = hits.filter(({ slot }) => !isWithin(slot, caps.then))
  const within = hits.filter(({ slot }) => isWithin(slot, caps.then))
  const newly = over.filter(({ now }) => now === 'ALLOW')
  return {
    over,
    newlyDenied: newly.length,
    inFlight: newly.reduce((sum, hit) => sum + hit.inFlight, 0),
    comeBack: within.filter(({ now }) => now === 'DEVICE_OVER_LIMIT'),
    stoppedWithin: within.filter(({ now }) => now === 'DEVICE_REVOKED' || now === 'DEVICE_LOCKED'),
    within: within.length,
  }
}

function isWithin(slot: number | null, cap: number): boolean {
  return slot !== null && slot <= cap
}

/** In the order in which the authority looks. */
function toldWith({ revoked, locked, slot }: Device, cap: number): Hit['now'] {
  if (revoked) return 'DEVICE_REVOKED'
  if (locked) return 'DEVICE_LOCKED'
  return isWithin(slot, cap) ? 'ALLOW' : 'DEVICE_OVER_LIMIT'
}

function inFlightByDevice(replicas: readonly Replica[]): ReadonlyMap<string, number> {
  const sums = new Map<string, number>()
  for (const { deviceId, inFlight } of replicas.flatMap(({ devices }) => devices))
    sums.set(deviceId, (sums.get(deviceId) ?? 0) + inFlight)
  return sums
}

/** What it would be told then. */
export function toldThen({ now }: Hit): Hit['now'] {
  return now === 'ALLOW' ? 'DEVICE_OVER_LIMIT' : now
}
