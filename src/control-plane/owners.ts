import { Refusal } from './refusal.ts'
import type { Caller, ServiceContext } from './service.ts'
import { endingOf } from './sessions/session-service.ts'

const MAX_OWNERS = 20

export interface OwnersAsked {
  /** Addresses in lower case. */
  readonly add?: readonly string[] | undefined
  readonly remove?: readonly string[] | undefined
}

export interface OwnersChanged {
  readonly orgId: string
  readonly before: readonly string[]
  /** In byte order. */
  readonly owners: readonly string[]
}

export interface OwnerService {
  /** Whom recovery mails to, in byte order. */
  listOwners(orgId: string): Promise<readonly string[]>
  /** All of it or nothing; whoever owns it no more is signed out. Refuses with `LAST_OWNER` or `TOO_MANY_OWNERS`. Raises no epoch. */
  changeOwners(caller: Caller, orgId: string, asked: OwnersAsked): Promise<OwnersChanged>
}

export function createOwnerService(context: ServiceContext): OwnerService {
  const { store, change, entry } = context
  return {
    listOwners: (orgId) => store.listOwners(orgId),

    changeOwners: (caller, orgId, { add = [], remove = [] }) =>
      change(caller, orgId, { owners: true, sessions: true }, ({ owners: before, sessions }) => {
        const owners = [...new Set([...before.filter((owner) => !remove.includes(owner)), ...add])].toSorted()
        assertOwners(before, owners)
        const added = owners.filter((owner) => !before.includes(owner))
        const removed = before.filter((owner) => !owners.includes(owner))
        const result = { orgId, before, owners }
        if (added.length === 0 && removed.length === 0) return { result }
        const theirs = sessions.filter(({ email }) => email !== null && removed.includes(email))
        const ended = endingOf(context, caller, theirs, 'not_owner')
        return {
          addOwners: added,
          removeOwners: removed,
          sessions: ended.sessions,
          audit: [
            entry(caller, 'org.owners', { before: { owners: before }, after: { owners } }),
            ...ended.audit,
          ],
          result,
        }
      }),
  }
}

function assertOwners(before: readonly string[], owners: readonly string[]): void {
  if (owners.length === 0 && before.length > 0) {
    throw new Refusal(
      'LAST_OWNER',
      'This would leave the org without an owner, and so without recovery. Add another address in the same call.',
    )
  }
  if (owners.length > MAX_OWNERS) {
    throw new Refusal(
      'TOO_MANY_OWNERS',
      `An org has at most ${MAX_OWNERS} owners, and this would make ${owners.length}. Remove one in the same call.`,
    )
  }
}
