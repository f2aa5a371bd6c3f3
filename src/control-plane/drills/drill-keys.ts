import { LOCAL } from '../change.ts'
import { visibleKey } from '../key-service.ts'
import { newKey } from '../keys.ts'
import type { KeyRecord } from '../records.ts'
import type { Refusal } from '../refusal.ts'
import type { Caller, ServiceContext } from '../service.ts'

/** What a drill that the control plane runs asks with. */
export interface DrillKeyService {
  /**
   * A key that works until `endsAtMs` at most; `asked` is what the audit says of the drill. Throws `refused` instead when
   * it is given, but only to whoever may still ask.
   */
  readonly issueDrillKey: (
    caller: Caller,
    orgId: string,
    drill: {
      readonly kind: 'operator' | 'admin'
      readonly endsAtMs: number
      readonly asked: Readonly<Record<string, unknown>>
      readonly refused: Refusal | undefined
    },
  ) => Promise<{ readonly key: string; readonly keyId: string }>
  /** Lets it expire now. No stop: it raises no epoch, and no agent is told. */
  readonly endDrillKey: (orgId: string, keyId: string) => Promise<void>
}

export function createDrillKeyService({ nowMs, change, entry }: ServiceContext): DrillKeyService {
  return {
    issueDrillKey: async (caller, orgId, { kind, endsAtMs, asked, refused }) => {
      const { key, record } = newKey({
        orgId,
        kind,
        name: 'drill',
        createdBy: caller.actor,
        nowMs: nowMs(),
      })
      const ending: KeyRecord = { ...record, endsAtMs }
      const { keyId } = ending
      return change(caller, orgId, {}, () => {
        if (refused !== undefined) throw refused
        const audit = [
          entry(caller, 'drill.run', { after: { ...asked, keyId } }),
          entry(caller, 'key.issue', { after: visibleKey(ending) }),
        ]
        return { keys: [ending], audit, result: { key, keyId } }
      })
    },
    endDrillKey: (orgId, keyId) =>
      change(LOCAL, orgId, { keyId }, ({ key }) => {
        // Burned meanwhile, or its time has passed.
        if (key === undefined || key.endedAs !== null) return { result: undefined }
        const atMs = nowMs()
        const ended: KeyRecord = { ...key, endsAtMs: atMs, endedAtMs: atMs, endedAs: 'expired' }
        const audited = {
          reason: 'the drill has ended',
          before: visibleKey(key),
          after: visibleKey(ended),
        }
        return { keys: [ended], audit: [entry(LOCAL, 'key.expired', audited)], result: undefined }
      }),
  }
}
