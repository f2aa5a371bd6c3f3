import { isDevicePattern } from '../machineid/wire-fields.ts'
import type { KeyKind } from '../machineid/wire.ts'
import { LOCAL } from './change.ts'
import { keyIdOf, keyMatches, keyProblem, newKey } from './keys.ts'
import { planAsOf } from './plan.ts'
import { PREVIEW_DEVICES, type Preview } from './preview.ts'
import type { KeyRecord } from './records.ts'
import { existingOrg, Refusal } from './refusal.ts'
import { decide, standingOf } from './rules.ts'
import type { Caller, ServiceContext } from './service.ts'
import type { Change, OrgSnapshot } from './store.ts'

/** How long the old key goes on working when a rotation does not say: a day. */
const OVERLAP_SECONDS = 86_400

/** Shown once; only its digest is stored. */
export interface IssuedKey {
  readonly key: string
  readonly keyId: string
}

export interface RotatedKey extends IssuedKey {
  readonly orgId: string
  readonly kind: KeyKind
  /** The key it takes the place of, and until when that one works, in wall-clock milliseconds. */
  readonly replaces: { readonly keyId: string; readonly endsAtMs: number }
}

export interface BurnedKey {
  readonly orgId: string
  readonly keyId: string
  readonly epoch: number
  readonly orgEpoch: number
}

export type ListedKey = KeyRecord & { readonly lastUsedAtMs: number | null }

interface KeyAsked {
  readonly keyId: string
  readonly reason?: string | undefined
}

export interface KeyService {
  /** The record of a genuine key, an ended one too; undefined for any other text. Asked of the store every time (G2). */
  findKey(key: string): Promise<KeyRecord | undefined>
  /** `bindings` (device IDs or patterns) only with kind `runtime`; without them it may ask for every device. */
  issueKey(options: {
    readonly orgId: string
    readonly kind: KeyKind
    readonly bindings?: readonly string[] | undefined
    readonly name?: string | undefined
    /** Default: this process itself. */
    readonly caller?: Caller | undefined
  }): Promise<IssuedKey>
  /**
   * A new key of the same kind, name and bindings. The old one works for `overlapSeconds` more (default a day); 0 burns
   * it at once, which is a stop. Refuses with `KEY_NOT_FOUND` or `KEY_ENDED`.
   */
  rotateKey(
    caller: Caller,
    orgId: string,
    asked: KeyAsked & { readonly overlapSeconds?: number | undefined },
  ): Promise<RotatedKey>
  /** Ends a key for good. Unconditional, and a new stop each time. Refuses with `KEY_NOT_FOUND`. */
  burnKey(caller: Caller, orgId: string, asked: KeyAsked): Promise<BurnedKey>
  /** The devices that this key was the last to ask for. */
  previewBurnKey(orgId: string, asked: KeyAsked): Promise<Preview>
  /** Oldest first, ended ones too. */
  listKeys(orgId: string): Promise<readonly ListedKey[]>
  /** Latches the keys whose overlap has passed, so that no clock brings them back. */
  endKeys(): Promise<void>
}

export function createKeyService(context: ServiceContext): KeyService {
  const { store, nowMs, change, entry } = context

  return {
    findKey: async (key) => {
      const keyId = keyIdOf(key)
      if (keyId === undefined) return undefined
      const record = await store.findKey(keyId)
      return keyMatches(key, record) ? record : undefined
    },

    issueKey: async ({ orgId, kind, bindings, name, caller = LOCAL }) => {
      assertBindings(kind, bindings)
      const { key, record } = newKey({ orgId, kind, bindings, name, createdBy: caller.actor, nowMs: nowMs() })
      return change(caller, orgId, {}, () => ({
        keys: [record],
        audit: [entry(caller, 'key.issue', { after: visibleKey(record) })],
        result: { key, keyId: record.keyId },
      }))
    },

    rotateKey: (caller, orgId, asked) =>
      change(caller, orgId, { keyId: asked.keyId }, (snapshot) => rotate(context, caller, snapshot, asked)),

    burnKey: (caller, orgId, { keyId, reason = null }) =>
      change(caller, orgId, { keyId, isStop: true }, ({ org, key }) => {
        const held = existingKey(key)
        const epoch = org.epoch + 1
        const burned = { ...held, ...burnedAt(held.endedAtMs ?? nowMs()) }
        return {
          org: { ...org, epoch },
          keys: [burned],
          audit: [
            entry(caller, 'key.burn', {
              reason,
              before: visibleKey(held),
              after: { ...visibleKey(burned), epoch },
            }),
          ],
          result: { orgId, keyId, epoch, orgEpoch: epoch },
        }
      }),
    previewBurnKey: (orgId, { keyId }) => previewBurn(context, orgId, keyId),

    listKeys: (orgId) => store.listKeys(orgId),

    endKeys: async () => {
      for (const { orgId, keyId } of await store.keysEnded(nowMs())) {
        await change(LOCAL, orgId, { keyId }, ({ key }) => {
          const held = existingKey(key)
          // It may have been burned since it was looked up.
          if (held.endedAs !== null) return { result: undefined }
          const expired: KeyRecord = { ...held, endedAs: 'expired', endedAtMs: held.endsAtMs }
          const audited = { before: visibleKey(held), after: visibleKey(expired) }
          return { keys: [expired], audit: [entry(LOCAL, 'key.expired', audited)], result: undefined }
        })
      }
    },
  }
}

function rotate(
  { nowMs, entry }: ServiceContext,
  caller: Caller,
  { org, key }: OrgSnapshot,
  asked: { readonly overlapSeconds?: number | undefined; readonly reason?: string | undefined },
): Change<RotatedKey> {
  const { overlapSeconds = OVERLAP_SECONDS, reason = null } = asked
  const held = existingKey(key)
  assertRotatable(held, nowMs())
  const { orgId, kind } = held
  const at = nowMs()
  const next = newKey({
    orgId,
    kind,
    name: held.name ?? undefined,
    bindings: held.bindings ?? undefined,
    createdBy: caller.actor,
    nowMs: at,
  })
  const burns = overlapSeconds === 0
  const endsAtMs = at + overlapSeconds * 1000
  const replacedBy = next.record.keyId
  const rotated: KeyRecord = { ...held, endsAtMs, replacedBy, ...(burns && burnedAt(at)) }
  const epoch = org.epoch + 1
  return {
    org: burns ? { ...org, epoch } : undefined,
    keys: [rotated, next.record],
    audit: [
      entry(caller, 'key.rotate', {
        reason,
        before: visibleKey(held),
        after: { ...visibleKey(rotated), ...(burns && { epoch }) },
      }),
    ],
    result: { orgId, kind, key: next.key, keyId: replacedBy, replaces: { keyId: held.keyId, endsAtMs } },
  }
}

function burnedAt(endedAtMs: number) {
  return { endedAs: 'burned', endedAtMs } as const
}

/** A validate with a burned key gets no decision at all; until then it is judged like any other. */
async function previewBurn({ store, nowMs }: ServiceContext, orgId: string, keyId: string): Promise<Preview> {
  const wanted = { keyId, devices: { lastSeenBy: keyId }, deviceLimit: PREVIEW_DEVICES }
  const { result } = await store.change(orgId, wanted, (snapshot) => {
    const org = planAsOf(existingOrg(snapshot?.org), nowMs())
    const { devices = [], deviceCount = 0, lockedDevices } = snapshot ?? {}
    const problem = keyProblem(existingKey(snapshot?.key), nowMs())
    const named = devices.map((device) => ({
      deviceId: device.deviceId,
      now: problem ?? decide(standingOf(org, device, lockedDevices?.has(device.deviceId) === true)),
      then: 'KEY_BURNED' as const,
    }))
    return {
      result: {
        orgId,
        orgEpoch: org.epoch,
        deviceCount,
        truncated: deviceCount > named.length,
        hits: named.filter(({ now }) => now === 'ALLOW').length,
        devices: named,
      },
    }
  })
  return result
}

/** The same answer whether the key is another org's or nobody's. */
function existingKey(key: KeyRecord | undefined): KeyRecord {
  if (key !== undefined) return key
  throw new Refusal(
    'KEY_NOT_FOUND',
    'This org has no such key. A key is named by its third part, org_<kind>_<id>_…: GET /api/v1/org/keys lists them.',
  )
}

/** A second rotation would hand out two keys for one, the first of them maybe to nobody. */
function assertRotatable(held: KeyRecord, nowMs: number): void {
  if (held.replacedBy !== null) {
    throw new Refusal(
      'KEY_ENDED',
      `This key was rotated already: ${held.replacedBy} took its place. If that one got lost, rotate it instead.`,
    )
  }
  if (keyProblem(held, nowMs) === undefined) return
  throw new Refusal('KEY_ENDED', 'This key has ended. Issue a new one: POST /api/v1/org/keys.')
}

function assertBindings(kind: KeyKind, bindings: readonly string[] | undefined): void {
  if (bindings === undefined) return
  if (kind !== 'runtime') {
    throw new Refusal(
      'BAD_REQUEST',
      `Only runtime keys are bound to devices. Leave "bindings" out for ${kind} keys.`,
    )
  }
  if (bindings.length > 0 && bindings.every(isDevicePattern)) return
  throw new Refusal(
    'BAD_REQUEST',
    'Each of "bindings" is a device ID or a pattern with * for whole segments, for example openai-agent:prod:*:01.',
  )
}

/** What an audit row says of a key: never the key or its digest. */
export function visibleKey({ keyId, kind, name, bindings, endsAtMs, endedAs, replacedBy }: KeyRecord) {
  return { keyId, kind, name, bindings, endsAtMs, endedAs, replacedBy }
}
