import { createHmac, hash, randomBytes } from 'node:crypto'

import { isSameSecret } from '../../bearer.ts'
import { base62 } from '../keys.ts'
import type { SessionRecord } from './session-store.ts'

// hps_<session id>_<root>_<secret>: found by the id, proved by the secret, and shown by a log as hps_[redacted]. The root
// is the same in all tokens of a session, and stored nowhere: what a page proves itself with is made of it.

const TOKEN = /^hps_([0-9a-f-]{36})_([0-9A-Za-z]{43})_[0-9A-Za-z]{43}$/

/** How long the token before works too: another tab may have sent it before it got the new one. */
export const GRACE_MS = 60_000

export function newToken(sessionId: string): string {
  return `hps_${sessionId}_${base62(randomBytes(32))}_${base62(randomBytes(32))}`
}

/** The id in something shaped like a token; undefined for everything else. */
export function sessionIdOf(token: string): string | undefined {
  return TOKEN.exec(token)?.[1]
}

export function digestOf(token: string): string {
  return hash('sha256', token, 'hex')
}

/**
 * What a page proves with that the answer to GET /session was shown to it. The same for all tokens of a session: tabs
 * share a cookie, and each knows what it was told last.
 */
export function csrfTokenOf(token: string): string {
  const root = TOKEN.exec(token)?.[2] ?? ''
  return `hpx_${base62(createHmac('sha256', root).update('csrf').digest())}`
}

/**
 * The token that follows on this one. It is made of the two, so that whoever refreshes with the same token at the same
 * time, or again because the answer got lost, gets the same one.
 */
export function nextToken(token: string, turn: string): string {
  const secret = base62(createHmac('sha256', token).update(turn).digest())
  return `${token.slice(0, -secret.length)}${secret}`
}

export const newTurn = (): string => base62(randomBytes(32))

/** Which of the two tokens of a session this is; undefined when it is neither, or the time of the older has passed. */
export function whichToken(
  token: string,
  { digest, digestBefore, beforeUntilMs }: SessionRecord,
  nowMs: number,
): 'current' | 'before' | undefined {
  const given = digestOf(token)
  if (isSameSecret(given, digest)) return 'current'
  if (digestBefore === null || beforeUntilMs === null || nowMs >= beforeUntilMs) return undefined
  return isSameSecret(given, digestBefore) ? 'before' : undefined
}

/** How long it goes on when nobody refreshes it. */
export const IDLE_MS = 3_600_000
/** By so much a clock that is kept right may jump. */
const CLOCK_SLACK_MS = 300_000

/** No session is idle later than this, unless the clock was set back: nobody can tell its age then. */
export function latestIdleMs(nowMs: number): number {
  return nowMs + IDLE_MS + CLOCK_SLACK_MS
}

/** False from the moment it ended, was left alone for too long, or is as old as it may get. */
export function isLive({ endedAtMs, idleAtMs }: SessionRecord, nowMs: number): boolean {
  return endedAtMs === null && nowMs < idleAtMs && idleAtMs <= latestIdleMs(nowMs)
}
