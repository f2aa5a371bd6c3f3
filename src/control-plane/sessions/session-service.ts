import { setImmediate as nextTurn } from 'node:timers/promises'

import { LOCAL } from '../change.ts'
import { visibleKey } from '../key-service.ts'
import { keyProblem, newKey } from '../keys.ts'
import type { AuditEntry, KeyRecord } from '../records.ts'
import type { RecoveryLinkService } from '../recovery-links.ts'
import { endedKey, invalidKey } from '../refusal.ts'
import type { Caller, ServiceContext } from '../service.ts'
import { endedSession } from './session-refusals.ts'
import type { SessionEnd, SessionRecord } from './session-store.ts'
import {
  digestOf,
  GRACE_MS,
  IDLE_MS,
  isLive,
  latestIdleMs,
  newToken,
  newTurn,
  nextToken,
  sessionIdOf,
  whichToken,
} from './session-token.ts'

const LIFE_MS = 12 * 3_600_000
/** Of one key, or of one owner; and of an org. The oldest makes room. */
const MAX_PER_PERSON = 10
const MAX_PER_ORG = 100
/** Each is a commit of its own: those that come too many wait for the next second, and are refused all the same. */
const ENDED_AT_ONCE = 50

export interface LiveSession {
  readonly session: SessionRecord
  readonly key: KeyRecord
}

export interface HeldSession extends LiveSession {
  /** For the cookie. Never stored. */
  readonly token: string
}

export type SessionScope = 'this' | 'mine' | 'org'

export interface SessionService {
  /** Asked of the store every time. Throws `SESSION_ENDED`, `KEY_BURNED` or `KEY_EXPIRED`. */
  findSession(token: string): Promise<LiveSession>
  startSession(caller: Caller, key: KeyRecord): Promise<HeldSession>
  /** Uses the link up, for an `admin` key that nobody is shown. Refuses with `RECOVERY_LINK_INVALID`. */
  startSessionByLink(
    caller: Caller,
    link: string,
    outlived: (digest: string) => boolean,
  ): Promise<HeldSession & { readonly email: string; readonly owners: readonly string[] }>
  /** An hour more, and a new token at most once a minute; the one before works for that minute too. */
  refreshSession(caller: Caller, orgId: string, token: string): Promise<HeldSession>
  /** Answers how many there were to end. `session` is the caller's own, `keyId` its key. */
  endSessions(
    caller: Caller,
    asked: {
      readonly orgId: string
      readonly scope: SessionScope
      readonly keyId: string
      readonly session: SessionRecord | undefined
    },
  ): Promise<number>
  /** Writes down that sessions were idle for too long, so that it stays so. */
  endIdleSessions(): Promise<void>
}

export function createSessionService(
  context: ServiceContext,
  { redeemLink }: Pick<RecoveryLinkService, 'redeemLink'>,
): SessionService {
  const { store, nowMs, newId, change, entry } = context

  const begin = (caller: Caller, key: KeyRecord, email: string | null, open: readonly SessionRecord[]) => {
    const startedAtMs = nowMs()
    const endsAtMs = Math.min(startedAtMs + LIFE_MS, key.endsAtMs ?? Infinity)
    const sessionId = newId()
    const token = newToken(sessionId)
    const session: SessionRecord = {
      sessionId,
      orgId: key.orgId,
      keyId: key.keyId,
      email,
      digest: digestOf(token),
      digestBefore: null,
      beforeUntilMs: null,
      turn: null,
      startedAtMs,
      idleAtMs: Math.min(startedAtMs + IDLE_MS, endsAtMs),
      endsAtMs,
      endedAtMs: null,
      endedAs: null,
    }
    const replaced = endingOf(context, caller, inTheWay(session, open), 'replaced')
    const after = { sessionId, keyId: key.keyId, kind: key.kind, email, endsAtMs }
    return {
      sessions: [...replaced.sessions, session],
      audit: [...replaced.audit, entry(caller, 'session.start', { after })],
      held: { session, key, token },
    }
  }

  return {
    findSession: async (token) => {
      const sessionId = sessionIdOf(token)
      const session = sessionId === undefined ? undefined : await store.findSession(sessionId)
      if (session === undefined || !isLive(session, nowMs())) throw endedSession()
      if (whichToken(token, session, nowMs()) === undefined) throw endedSession()
      const key = await store.findKey(session.keyId)
      if (key === undefined) throw invalidKey()
      const problem = keyProblem(key, nowMs())
      if (problem !== undefined) throw endedKey(problem)
      return { session, key }
    },

    startSession: (caller, key) =>
      change(caller, key.orgId, { sessions: true }, ({ callerKey, sessions: open }) => {
        const { held, ...begun } = begin(caller, callerKey ?? key, null, open)
        return { ...begun, result: held }
      }),

    startSessionByLink: (caller, link, outlived) =>
      redeemLink(caller, link, outlived, ({ org: { orgId }, owners, sessions: open }, email) => {
        const atMs = nowMs()
        const { record } = newKey({
          orgId,
          kind: 'admin',
          createdBy: caller.actor,
          nowMs: atMs,
          name: KEY_NAME,
        })
        const key = { ...record, endsAtMs: atMs + LIFE_MS }
        const { held, sessions, audit } = begin(caller, key, email, open)
        const issued = entry(caller, 'key.issue', { after: visibleKey(key) })
        return { keys: [key], sessions, audit: [issued, ...audit], result: { ...held, email, owners } }
      }),

    refreshSession: (caller, orgId, token) =>
      change(caller, orgId, {}, ({ callerSession, callerKey }) => {
        const atMs = nowMs()
        const which = callerSession && whichToken(token, callerSession, atMs)
        if (callerSession === undefined || callerKey === undefined || which === undefined) {
          throw endedSession()
        }
        const { held, session } = refreshed(callerSession, { token, which, atMs })
        return { sessions: [session], result: { session, key: callerKey, token: held } }
      }),

    endSessions: (caller, { orgId, scope, keyId, session }) =>
      change(caller, orgId, { sessions: true }, ({ sessions: open }) => {
        const mine = { keyId, email: session?.email ?? null }
        const ending = open.filter(
          (one) =>
            scope === 'org' || (scope === 'mine' ? isOf(one, mine) : one.sessionId === session?.sessionId),
        )
        return { ...endingOf(context, caller, ending, 'signed_out'), result: ending.length }
      }),

    endIdleSessions: async () => {
      const at = nowMs()
      const ending = await store.sessionsIdle({ atMs: at, laterThanMs: latestIdleMs(at) }, ENDED_AT_ONCE)
      for (const { orgId, sessionId } of ending) {
        await change(LOCAL, orgId, { sessions: true }, ({ sessions: open }) => {
          const atMs = nowMs()
          // It may have been refreshed since it was looked up.
          const idle = open.filter((one) => one.sessionId === sessionId && !isLive(one, atMs))
          const isOver = ({ endsAtMs, idleAtMs }: SessionRecord) => endsAtMs <= atMs || idleAtMs > atMs
          const as = idle.some(isOver) ? 'expired' : 'idle'
          return { ...endingOf(context, LOCAL, idle, as), result: undefined }
        })
        // No stop waits for more than one.
        await nextTurn()
      }
    },
  }
}

/** Of the key that a session by link is bound to. */
const KEY_NAME = 'console sign-in by link'

/** What ends sessions, as parts of a change: their records, and a row of the audit for each. */
export function endingOf(
  { nowMs, entry }: Pick<ServiceContext, 'nowMs' | 'entry'>,
  caller: Caller,
  ending: readonly SessionRecord[],
  endedAs: SessionEnd,
): { readonly sessions: SessionRecord[]; readonly audit: AuditEntry[] } {
  const endedAtMs = nowMs()
  return {
    sessions: ending.map((session) => ({ ...session, endedAtMs, endedAs })),
    audit: ending.map(({ sessionId, keyId, email }) =>
      entry(caller, 'session.end', { after: { sessionId, keyId, email, endedAs } }),
    ),
  }
}

/** A token that was replaced within the last minute is not replaced again: the one before would die too early. */
function refreshed(
  session: SessionRecord,
  {
    token,
    which,
    atMs,
  }: { readonly token: string; readonly which: 'current' | 'before'; readonly atMs: number },
): { readonly held: string; readonly session: SessionRecord } {
  const { turn, beforeUntilMs } = session
  const idleAtMs = Math.max(session.idleAtMs, Math.min(atMs + IDLE_MS, session.endsAtMs))
  const kept = { ...session, idleAtMs }
  if (which === 'before') return { held: nextToken(token, turn ?? ''), session: kept }
  if (beforeUntilMs !== null && atMs < beforeUntilMs) return { held: token, session: kept }
  const turned = newTurn()
  const held = nextToken(token, turned)
  const digests = { digest: digestOf(held), digestBefore: session.digest }
  return { held, session: { ...kept, ...digests, beforeUntilMs: atMs + GRACE_MS, turn: turned } }
}

function isOf(session: SessionRecord, { keyId, email }: Pick<SessionRecord, 'keyId' | 'email'>): boolean {
  return session.keyId === keyId || (email !== null && session.email === email)
}

/** The oldest ones, when there would be too many with this one. */
function inTheWay(next: SessionRecord, open: readonly SessionRecord[]): SessionRecord[] {
  const mine = open.filter((session) => isOf(session, next))
  const replaced = new Set(mine.slice(0, Math.max(0, mine.length + 1 - MAX_PER_PERSON)))
  const others = open.filter((session) => !replaced.has(session))
  for (const session of others.slice(0, Math.max(0, others.length + 1 - MAX_PER_ORG))) replaced.add(session)
  return [...replaced]
}
