import { auditEntry } from './audit-chain.ts'
import { keyProblem } from './keys.ts'
import { endedPlan, planFields } from './plan.ts'
import { hitsOf, type Preview } from './preview.ts'
import type { AuditEntry, AuditRow, KeyRecord, OrgRecord } from './records.ts'
import { endedKey, existingOrg, invalidKey } from './refusal.ts'
import type { Caller } from './service.ts'
import type { SessionRecord } from './sessions/session-store.ts'
import { endedSession } from './sessions/session-refusals.ts'
import { isLive } from './sessions/session-token.ts'
import type { Change, ControlPlaneStore, OrgSnapshot, Wanted } from './store.ts'

/** Answers from a snapshot what is to be written; throws to refuse. */
export type Decide<T> = (snapshot: OrgSnapshot) => Change<T>

/** The one way in which anything of an org is changed. */
export interface Changing {
  /** Resolves once the change is durable (G5). */
  readonly change: <T>(caller: Caller, orgId: string, wanted: Wanted, decide: Decide<T>) => Promise<T>
  /** Decides the same, and writes nothing: what would become of the devices that `wanted` names. */
  readonly preview: (
    caller: Caller,
    orgId: string,
    wanted: Wanted,
    decide: Decide<unknown>,
  ) => Promise<Preview>
  /** The first change of an org that is not there yet. */
  readonly create: (orgId: string, change: Change<undefined>) => Promise<void>
  readonly entry: (caller: Caller, action: string, details?: Partial<AuditEntry>) => AuditEntry
}

export function createChanging(options: {
  readonly store: ControlPlaneStore
  readonly nowMs: () => number
  readonly newId: () => string
  /** Called after COMMIT, with what it made durable. */
  readonly onCommitted: (rows: readonly AuditRow[]) => void
}): Changing {
  const { store, nowMs, newId, onCommitted } = options

  const entry: Changing['entry'] = ({ actor, kind, requestId, origin }, action, details) =>
    auditEntry({ id: newId(), atMs: nowMs(), actor, actorKind: kind, requestId, origin, action, ...details })

  /** Judges the key that asks by what the transaction sees of it, and takes the org's plan as it is by now. */
  const settled = ({ keyId, sessionId }: Caller, found: OrgSnapshot | undefined) => {
    const org = existingOrg(found?.org)
    const snapshot = found as OrgSnapshot
    if (sessionId !== undefined) assertLiveSession(snapshot.callerSession, nowMs())
    if (keyId !== undefined) assertLive(snapshot.callerKey, nowMs())
    const ended = endedPlan(org, nowMs())
    return ended === undefined
      ? { snapshot, ended, notes: [] }
      : { snapshot: { ...snapshot, org: ended }, ended, notes: [planEnded(entry, org, ended)] }
  }

  const wantedBy = ({ keyId, sessionId }: Caller, wanted: Wanted): Wanted => ({
    ...wanted,
    callerKeyId: keyId,
    callerSessionId: sessionId,
  })

  return {
    entry,
    change: async (caller, orgId, wanted, decide) => {
      const { result, audit } = await store.change(orgId, wantedBy(caller, wanted), (found) => {
        const { snapshot, ended, notes } = settled(caller, found)
        const change = decide(snapshot)
        return { ...change, org: change.org ?? ended, audit: [...notes, ...(change.audit ?? [])] }
      })
      onCommitted(audit)
      return result
    },
    create: async (orgId, change) => {
      const { audit } = await store.change(orgId, {}, () => change)
      onCommitted(audit)
    },
    preview: async (caller, orgId, wanted, decide) => {
      const { result } = await store.change(orgId, wantedBy(caller, wanted), (found) => {
        const { snapshot } = settled(caller, found)
        return { result: hitsOf(snapshot, decide(snapshot)) }
      })
      return result
    },
  }
}

/** G6: a key may have been burned since it was looked up. */
function assertLive(key: KeyRecord | undefined, nowMs: number): void {
  if (key === undefined) throw invalidKey()
  const problem = keyProblem(key, nowMs)
  if (problem !== undefined) throw endedKey(problem)
}

/** G6: it may have been signed out since it was looked up. */
function assertLiveSession(session: SessionRecord | undefined, nowMs: number): void {
  if (session === undefined || !isLive(session, nowMs)) throw endedSession()
}

/** The end of a plan is no stop: it raises no epoch. */
function planEnded(entry: Changing['entry'], org: OrgRecord, ended: OrgRecord): AuditEntry {
  return entry(LOCAL, 'org.plan_ended', { before: planFields(org), after: planFields(ended) })
}

/** What this process does by itself. */
export const LOCAL: Caller = { actor: 'local', kind: 'local', requestId: null, origin: null }
