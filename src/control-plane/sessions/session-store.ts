// What the store keeps of people's sessions in a browser.

/** A session is good for what its key is good for, and no longer. */
export interface SessionRecord {
  /** Not a secret. */
  readonly sessionId: string
  readonly orgId: string
  /** The key that signed in; of a session by link, an `admin` key that nobody was shown. */
  readonly keyId: string
  /** The owner whom the link was mailed to; null for a session by key. */
  readonly email: string | null
  /** SHA-256 of the token, in hex. */
  readonly digest: string
  /** Of the token before it, and until when that one works too. Null until the first refresh. */
  readonly digestBefore: string | null
  readonly beforeUntilMs: number | null
  /** What the token was made with, out of the one before. */
  readonly turn: string | null
  readonly startedAtMs: number
  /** When it ends if nobody refreshes it; never after `endsAtMs`. */
  readonly idleAtMs: number
  /** When it ends whatever happens. */
  readonly endsAtMs: number
  /** A one-way latch: no clock brings it back. */
  readonly endedAtMs: number | null
  readonly endedAs: SessionEnd | null
}

/** `replaced`: there were more than a key or an org may have, and it was the oldest; `restored`: the file is a backup. */
export type SessionEnd =
  'signed_out' | 'idle' | 'expired' | 'replaced' | 'recovery' | 'not_owner' | 'restored'

/** They are written as parts of a `Change`. */
export interface SessionStore {
  /** An ended one too, while it is kept. */
  findSession(sessionId: string): Promise<SessionRecord | undefined>
  /** Up to `limit` that are not ended yet, and idle at `atMs`, or only later than `laterThanMs`. */
  sessionsIdle(
    when: { readonly atMs: number; readonly laterThanMs: number },
    limit: number,
  ): Promise<readonly SessionRecord[]>
  /** Deletes up to `limit` sessions that ended before `beforeMs`; answers how many. */
  pruneSessions(beforeMs: number, limit: number): Promise<number>
}
