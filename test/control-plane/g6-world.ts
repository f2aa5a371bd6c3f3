import { KeyCreateResponse, KeyListResponse } from '../../src/machineid/wire-keys.ts'
import { ListResponse, ValidateBatchResponse } from '../../src/machineid/wire-devices.ts'
import { LockListResponse } from '../../src/machineid/wire-locks.ts'
import { UsageResponse } from '../../src/machineid/wire-orgs.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import type { TestControlPlane } from '../fixtures/control-plane.ts'
import type { Random } from '../fixtures/random.ts'
import { capture, openConnection, type Answered, type Asked, type Connection } from './late-requests.ts'
import { naivelyMatches } from './naive-patterns.ts'

// An org with devices, locks, its switch and keys, seen only over HTTP: what an operator sees, not what the server
// remembers. Connections go to both lanes.

export const DEVICES = [
  'agent:test:pay:1',
  'agent:test:pay:2',
  'agent:test:mail:1',
  'agent:test:mail:2',
] as const
export const PATTERNS = ['agent:test:pay:*', 'agent:*:mail:1', 'agent:*'] as const
/** What a stop is about, and a restore may undo. */
export type Target = (typeof DEVICES)[number] | (typeof PATTERNS)[number] | 'org'
export const TARGETS: readonly Target[] = [...DEVICES, ...PATTERNS, 'org']

export interface Key {
  readonly key: string
  readonly keyId: string
  readonly kind: 'runtime' | 'operator' | 'admin' | 'full'
  /** When its burn was acked. */
  burnedAt?: number
}

/** All there is to see of the org. */
export interface View {
  readonly orgEpoch: number
  readonly org: { readonly disabled: boolean; readonly epoch: number }
  /** What a validate answers, by device. */
  readonly decisions: Readonly<Record<string, { readonly code: string; readonly epoch: number }>>
  /** Without the removed ones. */
  readonly devices: Readonly<Record<string, { readonly revoked: boolean; readonly epoch: number }>>
  /** The active ones, by pattern. */
  readonly locks: Readonly<Record<string, { readonly lockId: string; readonly epoch: number }>>
  readonly keys: number
}

export interface World extends AsyncDisposable {
  readonly random: Random
  readonly keys: Key[]
  /** Live ones of these kinds. */
  readonly liveKeys: (...kinds: Key['kind'][]) => readonly Key[]
  readonly look: () => Promise<View>
  /** By a key that is never burned, at once. */
  readonly act: (path: string, body: object) => Promise<Answered>
  readonly addKey: (kind: Key['kind']) => Promise<Key>
  readonly capture: (asked: Omit<Asked, 'key'> & { readonly by: Key }) => Promise<Buffer>
  /** Over one of the connections, chosen by chance. */
  readonly deliver: (bytes: Buffer) => Promise<Answered>
  /** After a restart. */
  readonly reconnect: () => Promise<void>
}

export async function createWorld(authority: TestControlPlane, random: Random): Promise<World> {
  const { orgId, keys: minted } = await authority.service.createOrg({ kinds: ['admin', 'runtime', 'viewer'] })
  const platform = { actor: 'platform', kind: 'platform', requestId: null, origin: null } as const
  await authority.service.setPlan(platform, orgId, { tier: 'pro' })
  const { admin: root = '', runtime = '', viewer = '' } = minted
  let connections: readonly Connection[] = []
  const disconnect = () => {
    for (const connection of connections) connection.close()
  }
  const reconnect = async () => {
    disconnect()
    const { url, operatorUrl } = authority
    connections = await Promise.all(
      [url, url, url, operatorUrl, operatorUrl, operatorUrl].map(openConnection),
    )
  }
  await reconnect()
  const ask = async (asked: Asked): Promise<Answered> => {
    const [agents] = connections as [Connection]
    return agents.deliver(await capture(asked))
  }
  const read = async (path: string, key = viewer) => (await ask({ method: 'GET', path, key })).body
  const act: World['act'] = async (path, body) => {
    const answer = await ask({ method: 'POST', path, key: root, body })
    if (answer.statusCode !== 200) throw new Error(`${path}: ${JSON.stringify(answer)}`)
    return answer
  }

  const keys: Key[] = []
  const addKey: World['addKey'] = async (kind) => {
    const body = { kind, ...(kind === 'runtime' && { bindings: ['*'] }) }
    const { key, keyId } = KeyCreateResponse.parse((await act(PATHS.keys, body)).body)
    const added = { key, keyId, kind }
    keys.push(added)
    return added
  }
  for (const kind of ['runtime', 'operator', 'operator', 'admin', 'admin', 'full'] as const)
    await addKey(kind)
  for (const deviceId of DEVICES) await act(PATHS.register, { deviceId })

  const look: World['look'] = async () => {
    const question = { deviceIds: DEVICES, nonce: 'n'.repeat(22) }
    const answers = await Promise.all([
      ask({ method: 'POST', path: PATHS.validateBatch, key: runtime, body: question }),
      read(PATHS.list),
      read(PATHS.locks),
      read(PATHS.usage),
      read(PATHS.keys, root),
    ])
    const { decisions, orgEpoch } = ValidateBatchResponse.parse(answers[0].body)
    const { devices } = ListResponse.parse(answers[1])
    const { locks } = LockListResponse.parse(answers[2])
    const { org } = UsageResponse.parse(answers[3])
    const view: View = {
      orgEpoch,
      org: { disabled: org.disabled, epoch: org.epoch },
      decisions: byName(decisions, 'deviceId', ({ code, epoch }) => ({ code, epoch })),
      devices: byName(devices, 'deviceId', ({ revoked, epoch }) => ({ revoked, epoch })),
      locks: byName(locks, 'pattern', ({ lockId, epoch }) => ({ lockId, epoch })),
      keys: KeyListResponse.parse(answers[4]).keys.length,
    }
    assertCodes(view)
    return view
  }

  return {
    random,
    keys,
    liveKeys: (...kinds) =>
      keys.filter(({ kind, burnedAt }) => burnedAt === undefined && kinds.includes(kind)),
    look,
    act,
    addKey,
    capture: ({ by, ...asked }) => capture({ ...asked, key: by.key }),
    deliver: (bytes) => random.pick(connections).deliver(bytes),
    reconnect,
    [Symbol.asyncDispose]: async () => disconnect(),
  }
}

/** Every restore that there is for what `view` shows, filled in with the epochs that it shows. */
export function restoresOf({ decisions, locks, org }: View): { path: string; body: object }[] {
  const ofDevices = Object.entries(decisions).flatMap(([deviceId, { epoch: ifEpoch }]) => [
    { path: PATHS.unrevoke, body: { deviceId, ifEpoch } },
    { path: PATHS.unrevokeBatch, body: { items: [{ deviceId, ifEpoch }] } },
    { path: PATHS.register, body: { deviceId, restoreRemoved: true, ifEpoch } },
  ])
  const ofLocks = Object.values(locks).map(({ lockId, epoch: ifEpoch }) => ({
    path: PATHS.lockRelease.replace(':id', lockId),
    body: { ifEpoch },
  }))
  return [...ofDevices, ...ofLocks, { path: PATHS.orgEnable, body: { ifEpoch: org.epoch } }]
}

function byName<T, N extends keyof T, V>(items: readonly T[], name: N, value: (item: T) => V) {
  return Object.fromEntries(items.map((item) => [String(item[name]), value(item)]))
}

/** A validate says what the lists show: the first of the reasons, in the order of the API. */
function assertCodes({ org, devices, locks, decisions }: View): void {
  for (const [deviceId, { code }] of Object.entries(decisions)) {
    const locked = Object.keys(locks).some((pattern) => naivelyMatches(pattern, deviceId))
    const expected = org.disabled
      ? 'ORG_DISABLED'
      : devices[deviceId] === undefined
        ? 'DEVICE_REMOVED'
        : devices[deviceId].revoked
          ? 'DEVICE_REVOKED'
          : locked
            ? 'DEVICE_LOCKED'
            : 'ALLOW'
    if (code !== expected) throw new Error(`${deviceId}: a validate said ${code}, the lists ${expected}`)
  }
}
