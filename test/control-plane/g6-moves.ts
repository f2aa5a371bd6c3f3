import { PATHS } from '../../src/machineid/paths.ts'
import { DEVICES, PATTERNS, type Key, type Target, type View, type World } from './g6-world.ts'

// What can be sent to stop something, and what to take a stop back: each filled in from what is to be seen.

/** A restore, a register or a new key, as it is on the wire. */
export interface Draft {
  readonly bytes: Buffer
  readonly by: Key
  readonly targets: readonly Target[]
  /** A full key leaves out `ifEpoch`: the documented exception. Nothing but the end of its key holds it. */
  readonly exception: boolean
}

/** A restore of `target` as somebody fills it in who looks at `view`; sometimes from an older page, or without. */
export async function formOf(world: World, view: View, target: Target): Promise<Draft> {
  const { random } = world
  const seen = epochOf(view, target)
  const ifEpoch = random.chance(0.75) ? seen : random.chance(0.5) ? undefined : random.int(seen + 1)
  const [admins, operators] = [world.liveKeys('admin', 'full'), world.liveKeys('operator', 'admin', 'full')]
  if (random.chance(0.05)) return draft(world, random.pick(admins), [], PATHS.keys, { kind: 'admin' })
  if (target === 'org') return draft(world, random.pick(admins), [target], PATHS.orgEnable, { ifEpoch })
  if (isPattern(target)) {
    const path = PATHS.lockRelease.replace(':id', view.locks[target]?.lockId ?? 'none')
    return draft(world, random.pick(operators), [target], path, { ifEpoch })
  }
  return deviceForm(world, view, { by: random.pick(operators), deviceId: target, ifEpoch })
}

async function deviceForm(
  world: World,
  view: View,
  { by, deviceId, ifEpoch }: { by: Key; deviceId: (typeof DEVICES)[number]; ifEpoch: number | undefined },
): Promise<Draft> {
  const { random } = world
  const exception = by.kind === 'full' && ifEpoch === undefined
  switch (random.int(5)) {
    case 0: {
      const runtime = random.pick(world.liveKeys('runtime', 'full'))
      return draft(world, runtime, [deviceId], PATHS.register, { deviceId })
    }
    case 1:
      return draft(world, by, [deviceId], PATHS.register, { deviceId, restoreRemoved: true, ifEpoch })
    case 2: {
      const other = random.pick(DEVICES)
      const items = [{ deviceId, ifEpoch }]
      if (other !== deviceId) items.push({ deviceId: other, ifEpoch: epochOf(view, other) })
      const targets = items.map((item) => item.deviceId)
      return { ...(await draft(world, by, targets, PATHS.unrevokeBatch, { items })), exception }
    }
    default:
      return { ...(await draft(world, by, [deviceId], PATHS.unrevoke, { deviceId, ifEpoch })), exception }
  }
}

/** What takes the stop of `target` back. */
export function undoing(world: World, view: View, target: Target): Promise<Draft> {
  const by = world.random.pick(world.liveKeys('admin'))
  const ifEpoch = epochOf(view, target)
  if (target === 'org') return draft(world, by, [target], PATHS.orgEnable, { ifEpoch })
  if (isPattern(target)) {
    const path = PATHS.lockRelease.replace(':id', view.locks[target]?.lockId ?? '')
    return draft(world, by, [target], path, { ifEpoch })
  }
  return view.devices[target] === undefined
    ? draft(world, by, [target], PATHS.register, { deviceId: target, restoreRemoved: true, ifEpoch })
    : draft(world, by, [target], PATHS.unrevoke, { deviceId: target, ifEpoch })
}

async function draft(
  world: World,
  by: Key,
  targets: readonly Target[],
  path: string,
  body: object,
): Promise<Draft> {
  const bytes = await world.capture({ method: 'POST', path, by, body })
  return { bytes, by, targets, exception: false }
}

export interface Stop {
  readonly by: Key
  readonly targets: readonly Target[]
  readonly asked: { readonly path: string; readonly body: object }
  readonly burns?: Key
}

const device = ({ random }: World) => random.pick(DEVICES)
const anybody = (world: World) => world.random.pick(world.liveKeys('operator', 'admin', 'full'))

/** Every way to stop something. A stop of what is stopped already is one like any other. */
export const STOPS: readonly ((world: World, view: View) => Stop)[] = [
  (world) => {
    const deviceId = device(world)
    return { by: anybody(world), targets: [deviceId], asked: { path: PATHS.revoke, body: { deviceId } } }
  },
  (world) => {
    const deviceId = device(world)
    return { by: anybody(world), targets: [deviceId], asked: { path: PATHS.remove, body: { deviceId } } }
  },
  (world) => {
    const deviceIds = [...new Set([device(world), device(world)])]
    return { by: anybody(world), targets: deviceIds, asked: { path: PATHS.revokeBatch, body: { deviceIds } } }
  },
  (world, { devices }) => {
    const targets = DEVICES.filter((id) => id.startsWith('agent:test:pay:') && devices[id] !== undefined)
    const body = { pattern: 'agent:test:pay:*' }
    return { by: anybody(world), targets, asked: { path: PATHS.revokeBatch, body } }
  },
  (world) => {
    const pattern = world.random.pick(PATTERNS)
    const body = { pattern, reason: 'by chance' }
    return { by: anybody(world), targets: [pattern], asked: { path: PATHS.locks, body } }
  },
  (world) => ({ by: anybody(world), targets: ['org'], asked: { path: PATHS.orgDisable, body: {} } }),
]

/** The end of a key is a stop of whatever was sent with it. */
export const BURNS: typeof STOPS = [
  (world) => {
    const burns = world.random.pick(world.liveKeys('operator', 'admin', 'full', 'runtime'))
    const by = world.random.pick(world.liveKeys('admin', 'full'))
    const path = PATHS.keyBurn.replace(':id', burns.keyId)
    return { by, targets: [], asked: { path, body: {} }, burns }
  },
  (world) => {
    const burns = world.random.pick(world.liveKeys('operator', 'full', 'runtime'))
    const by = world.random.pick(world.liveKeys('admin'))
    const path = PATHS.keyRotate.replace(':id', burns.keyId)
    return { by, targets: [], asked: { path, body: { overlapSeconds: 0 } }, burns }
  },
]

function isPattern(target: Target): target is (typeof PATTERNS)[number] {
  return (PATTERNS as readonly string[]).includes(target)
}

/** A stop of everything there is. */
export const EVERY_STOP: readonly { readonly path: string; readonly body: object }[] = [
  ...DEVICES.map((deviceId) => ({ path: PATHS.revoke, body: { deviceId } })),
  ...PATTERNS.map((pattern) => ({ path: PATHS.locks, body: { pattern, reason: 'the last word' } })),
  { path: PATHS.orgDisable, body: {} },
]

/** A lock that is not held cannot be released. */
export function existsIn(view: View, target: Target): boolean {
  return !isPattern(target) || view.locks[target] !== undefined
}

export function isStopped(view: View, target: Target): boolean {
  if (target === 'org') return view.org.disabled
  if (isPattern(target)) return view.locks[target] !== undefined
  return view.devices[target]?.revoked ?? true
}

export function epochOf({ org, locks, decisions }: View, target: Target): number {
  if (target === 'org') return org.epoch
  return (isPattern(target) ? locks[target]?.epoch : decisions[target]?.epoch) ?? 0
}
