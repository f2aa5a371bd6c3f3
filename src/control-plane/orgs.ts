import { PLAN_LIMITS, type KeyKind, type PlanTier } from '../machineid/wire.ts'
import { newOrgId } from './ids.ts'
import { isDevicePattern, keyIdOf, keyMatches, mintKey } from './keys.ts'
import { planFields, type PlanView } from './plan.ts'
import { assertEpoch, existingOrg, Refusal } from './refusal.ts'
import type { Caller, ServiceContext } from './service.ts'
import type { KeyRecord, OrgRecord, PlanState } from './store.ts'

export interface NewOrg {
  readonly orgId: string
  /** By kind. Shown once; only digests are stored. */
  readonly keys: Partial<Record<KeyKind, string>>
}

export interface SwitchResult {
  readonly orgId: string
  /** Of the org switch: what `ifEpoch` is compared with. */
  readonly epoch: number
  readonly orgEpoch: number
}

export interface Usage extends PlanView {
  readonly org: OrgRecord
  readonly revoked: number
}

export interface OrgService {
  /** A new org on the free plan, with one key of each of `kinds`. */
  createOrg(options: {
    readonly kinds: readonly KeyKind[]
    readonly ownerEmail?: string | undefined
    readonly caller?: Caller | undefined
  }): Promise<NewOrg>
  /** One more key. `bindings` (exact device IDs or patterns) only with kind `runtime`. Shown once. */
  issueKey(options: {
    readonly orgId: string
    readonly kind: KeyKind
    readonly bindings?: readonly string[] | undefined
    readonly caller?: Caller | undefined
  }): Promise<{ readonly key: string; readonly keyId: string }>
  /** The record of a key that is genuine; undefined for any other text. Asked of the store every time (G2). */
  findKey(key: string): Promise<KeyRecord | undefined>
  countOrgs(): Promise<number>
  usage(orgId: string): Promise<Usage>
  disableOrg(caller: Caller, orgId: string, reason?: string): Promise<SwitchResult>
  /** Refuses with `EPOCH_STALE` or `EPOCH_REQUIRED`. */
  enableOrg(
    caller: Caller,
    orgId: string,
    options: { readonly ifEpoch?: number | undefined; readonly reason?: string | undefined },
  ): Promise<SwitchResult>
  /** Caps at once: after a downgrade the lowest slots stay. */
  setPlan(
    caller: Caller,
    orgId: string,
    plan: {
      readonly tier: PlanTier
      readonly limit?: number | undefined
      readonly state?: PlanState | undefined
    },
  ): Promise<PlanView>
}

const LOCAL = { actor: 'local', kind: 'local', requestId: '' } as const

export function createOrgService({ store, nowMs, audit }: ServiceContext): OrgService {
  const flip = (
    caller: Caller,
    orgId: string,
    disabled: boolean,
    asked: { ifEpoch?: number | undefined; reason?: string | undefined },
  ) =>
    store.changeOrg(orgId, (found) => {
      const org = existingOrg(found)
      if (!disabled) assertEpoch(org.orgSwitch.epoch, asked.ifEpoch, 'the org switch')
      const epoch = org.epoch + 1
      const orgSwitch = { epoch, by: caller.actor, reason: asked.reason ?? null, atMs: nowMs() }
      const changed: OrgRecord = { ...org, epoch, disabled, orgSwitch }
      return {
        org: changed,
        audit: audit(caller, disabled ? 'org.disable' : 'org.enable', {
          reason: asked.reason,
          before: { disabled: org.disabled, epoch: org.orgSwitch.epoch },
          after: { disabled, epoch },
        }),
        result: { orgId, epoch, orgEpoch: epoch },
      }
    })

  return {
    createOrg: async ({ kinds, ownerEmail, caller = LOCAL }) => {
      const orgId = newOrgId()
      const minted = [...new Set(kinds)].map((kind) => ({ kind, ...mintKey(kind) }))
      const org: OrgRecord = {
        orgId,
        epoch: firstEpoch(store.generation),
        disabled: false,
        orgSwitch: { epoch: 0, by: null, reason: null, atMs: null },
        planTier: 'free',
        planState: 'active',
        cap: PLAN_LIMITS.free,
        used: 0,
      }
      const records = minted.map(({ keyId, kind, digest }) => ({
        keyId,
        orgId,
        kind,
        digest,
        bindings: null,
      }))
      await store.changeOrg(orgId, () => ({
        org,
        ownerEmail,
        keys: records,
        audit: audit(caller, 'org.create', { after: { kinds: records.map(({ kind }) => kind) } }),
        result: undefined,
      }))
      return { orgId, keys: Object.fromEntries(minted.map(({ kind, key }) => [kind, key])) }
    },

    issueKey: async ({ orgId, kind, bindings, caller = LOCAL }) => {
      assertBindings(kind, bindings)
      const { key, keyId, digest } = mintKey(kind)
      await store.changeOrg(orgId, (org) => {
        existingOrg(org)
        return {
          keys: [{ keyId, orgId, kind, digest, bindings: bindings ?? null }],
          audit: audit(caller, 'key.issue', { after: { keyId, kind, bindings } }),
          result: undefined,
        }
      })
      return { key, keyId }
    },

    findKey: async (key) => {
      const keyId = keyIdOf(key)
      if (keyId === undefined) return undefined
      const record = await store.findKey(keyId)
      return keyMatches(key, record) ? record : undefined
    },
    countOrgs: () => store.countOrgs(),

    usage: async (orgId) => {
      const usage = await store.findUsage(orgId)
      const org = existingOrg(usage?.org)
      return { ...planFields(org), org, revoked: usage?.revoked ?? 0 }
    },

    disableOrg: (caller, orgId, reason) => flip(caller, orgId, true, { reason }),
    enableOrg: (caller, orgId, asked) => flip(caller, orgId, false, asked),

    setPlan: (caller, orgId, { tier, limit, state = 'active' }) =>
      store.changeOrg(orgId, (found) => {
        const org = existingOrg(found)
        const cap = tier === 'custom' ? (limit ?? 0) : PLAN_LIMITS[tier]
        const changed: OrgRecord = { ...org, planTier: tier, planState: state, cap }
        return {
          org: changed,
          audit: audit(caller, 'org.plan', { before: planFields(org), after: planFields(changed) }),
          result: planFields(changed),
        }
      }),
  }
}

/** Epochs of one store begin above those of every earlier generation of it. */
function firstEpoch(generation: number): number {
  return generation * 2 ** 32
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
