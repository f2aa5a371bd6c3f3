import { hash, randomBytes } from 'node:crypto'

import { base62, newKey } from './keys.ts'
import type { RecoveryLinkRecord } from './records.ts'
import { Refusal } from './refusal.ts'
import { endingOf } from './sessions/session-service.ts'
import type { Caller, ServiceContext } from './service.ts'
import type { Change, OrgSnapshot } from './store.ts'

/** How long a link works. */
export const LINK_LIFE_MS = 15 * 60_000

/** `hpr_` and 43 letters and digits, which a log shows as `hpr_[redacted]`. */
const TOKEN = /^hpr_[0-9A-Za-z]{43}$/

export interface RecoveryLink {
  readonly orgId: string
  /** Mailed, never stored. */
  readonly token: string
  /** What it is stored as. */
  readonly digest: string
  readonly expiresAtMs: number
}

export interface Recovered {
  readonly orgId: string
  readonly keyId: string
  /** An `admin` key, shown once. */
  readonly key: string
  /** The owner to whom the link was mailed. */
  readonly email: string
  /** Everybody who has to be told. */
  readonly owners: readonly string[]
}

export interface RecoveryLinkService {
  orgsOwnedBy(email: string): Promise<readonly string[]>
  /** Undefined when the address owns the org no more. */
  createRecoveryLink(caller: Caller, orgId: string, email: string): Promise<RecoveryLink | undefined>
  /**
   * Uses a link up, and makes the change that `decide` says, in one transaction. Refuses with `RECOVERY_LINK_INVALID`.
   * `outlived` says that the link is older than its record can tell by a clock that was set back.
   */
  redeemLink<T>(
    caller: Caller,
    token: string,
    outlived: (digest: string) => boolean,
    /** Gets the owners and the open sessions too, and whom the link was mailed to. */
    decide: (snapshot: OrgSnapshot, email: string) => Change<T>,
  ): Promise<T>
  /**
   * Mints an `admin` key, once for each link, and ends every session of the org: whoever took access over is out. Nothing
   * else: no device or lock is restored, no org enabled, no key burned, no epoch raised.
   */
  recover(caller: Caller, token: string, outlived: (digest: string) => boolean): Promise<Recovered>
  /** A one-way latch: no clock brings the link back. */
  endRecoveryLink(caller: Caller, orgId: string, digest: string): Promise<void>
}

export function createRecoveryLinkService(context: ServiceContext): RecoveryLinkService {
  const { store, nowMs, change, entry } = context
  // A link of before a backup that was restored is none any more: it may have been used since.
  const digestOf = (token: string) => hash('sha256', `${store.generation}:${token}`, 'hex')

  const redeemLink: RecoveryLinkService['redeemLink'] = async (caller, token, outlived, decide) => {
    const digest = digestOf(token)
    const known = TOKEN.test(token) ? await store.findLink(digest) : undefined
    if (known === undefined) throw invalidLink()
    const wanted = { link: digest, owners: true, sessions: true }
    const redeemed = await change(caller, known.orgId, wanted, (snapshot) => {
      const { link, owners } = snapshot
      if (link === undefined || link.usedAtMs !== null) return { result: undefined }
      const at = nowMs()
      if (outlived(digest) || !worksAt(link, at) || !owners.includes(link.email)) {
        // Written down, so that it stays so.
        return { links: [ended(link)], result: undefined }
      }
      const { result, ...changed } = decide(snapshot, link.email)
      return { ...changed, links: [{ ...link, usedAtMs: at }], result: { of: result } }
    })
    if (redeemed === undefined) throw invalidLink()
    return redeemed.of
  }

  return {
    orgsOwnedBy: (email) => store.findOrgsOwnedBy(email),

    createRecoveryLink: (caller, orgId, email) => {
      const token = `hpr_${base62(randomBytes(32))}`
      const digest = digestOf(token)
      return change(caller, orgId, { owners: true }, ({ owners }): Change<RecoveryLink | undefined> => {
        if (!owners.includes(email)) return { result: undefined }
        const createdAtMs = nowMs()
        const expiresAtMs = createdAtMs + LINK_LIFE_MS
        return {
          links: [{ digest, orgId, email, createdAtMs, expiresAtMs, usedAtMs: null }],
          audit: [entry(caller, 'org.recover_requested', { after: { email, expiresAtMs } })],
          result: { orgId, token, digest, expiresAtMs },
        }
      })
    },

    redeemLink,

    recover: (caller, token, outlived) =>
      redeemLink(caller, token, outlived, ({ org: { orgId }, owners, sessions }, email) => {
        const { key, record } = newKey({ orgId, kind: 'admin', createdBy: caller.actor, nowMs: nowMs() })
        const { keyId, kind } = record
        const ended = endingOf(context, caller, sessions, 'recovery')
        return {
          keys: [record],
          sessions: ended.sessions,
          audit: [entry(caller, 'org.recover', { after: { keyId, kind, email } }), ...ended.audit],
          result: { orgId, keyId, key, email, owners },
        }
      }),

    endRecoveryLink: (caller, orgId, digest) =>
      change(caller, orgId, { link: digest }, ({ link }) => ({
        ...(link?.usedAtMs === null && { links: [ended(link)] }),
        result: undefined,
      })),
  }
}

/** Before its own beginning the clock was set back: nobody can tell its age then. */
function worksAt({ createdAtMs, expiresAtMs }: RecoveryLinkRecord, atMs: number): boolean {
  return createdAtMs <= atMs && atMs < expiresAtMs
}

/** Its end is its beginning: there is no time left at which it works. */
function ended(link: RecoveryLinkRecord): RecoveryLinkRecord {
  return { ...link, expiresAtMs: link.createdAtMs }
}

/** The same for used, expired and unknown links. */
function invalidLink(): Refusal {
  return new Refusal(
    'RECOVERY_LINK_INVALID',
    'This recovery link does not work: it was used, or is older than 15 minutes. Ask for a new one: POST /api/v1/org/recover.',
  )
}
