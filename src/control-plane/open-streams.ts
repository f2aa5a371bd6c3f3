import { setImmediate as nextTurn } from 'node:timers/promises'

import { keyProblem } from './keys.ts'
import type { AuditRow, KeyRecord } from './records.ts'
import { Refusal } from './refusal.ts'
import type { SessionRecord } from './sessions/session-store.ts'

const MAX_PER_KEY = 20
/** However many keys an org has, it leaves places to others. */
const MAX_PER_ORG = 200
const MAX_IN_ALL = 1000

/** The key, and the session of a person who signed in. */
export interface StreamOpener {
  readonly key: KeyRecord
  readonly session: Pick<SessionRecord, 'sessionId' | 'endsAtMs'> | undefined
}

/** The answers that take long: which keys have them open, and that none outlives its key or session. */
export interface OpenStreams {
  /** `end` is called once, when the key, the session or the control plane ends. Throws `TOO_MANY_STREAMS`. */
  readonly open: (opener: StreamOpener, end: () => void) => OpenStream
  /** Told of every change after COMMIT: a burned key or a sign-out ends its streams there and then. */
  readonly committed: (rows: readonly AuditRow[]) => void
  /**
   * Resolves when it is the caller's turn to read a slice. There is one in each turn of the event loop, however many
   * read, so that no stop waits for more than that.
   */
  readonly turn: () => Promise<void>
  /** Ends them all. */
  readonly close: () => void
}

export interface OpenStream {
  /** False from the moment its key or session ends: nothing more may be sent. */
  readonly isOpen: () => boolean
  /** Gives its place to another. Fine to call twice. */
  readonly release: () => void
}

interface Held {
  key: KeyRecord
  readonly session: StreamOpener['session']
  readonly end: () => void
}

export function createOpenStreams(options: {
  /** Wall-clock milliseconds. */
  readonly nowMs: () => number
  /** Default 20. */
  readonly maxPerKey?: number | undefined
  /** Default 200. */
  readonly maxPerOrg?: number | undefined
  /** Default 1,000. */
  readonly maxInAll?: number | undefined
}): OpenStreams {
  const { nowMs, maxPerKey = MAX_PER_KEY, maxPerOrg = MAX_PER_ORG, maxInAll = MAX_IN_ALL } = options
  const byKey = new Map<string, Set<Held>>()
  const countByOrg = new Map<string, number>()
  let inAll = 0
  let closed = false
  let turns = Promise.resolve()

  const count = (orgId: string, more: 1 | -1) => {
    const ofOrg = (countByOrg.get(orgId) ?? 0) + more
    if (ofOrg === 0) countByOrg.delete(orgId)
    else countByOrg.set(orgId, ofOrg)
    inAll += more
  }
  const assertRoom = ({ keyId, orgId }: KeyRecord) => {
    if ((byKey.get(keyId)?.size ?? 0) >= maxPerKey) {
      throw tooMany(
        `This key has ${maxPerKey} streams open, the most it may have. Close one, or use another key.`,
      )
    }
    if ((countByOrg.get(orgId) ?? 0) >= maxPerOrg) {
      throw tooMany(
        `This org has ${maxPerOrg} streams open, the most it may have. Close some, or ask again later.`,
      )
    }
    if (inAll >= maxInAll) {
      throw tooMany('As many streams are open as this control plane serves. Close some, or ask again later.')
    }
  }
  const release = (held: Held): boolean => {
    const ofKey = byKey.get(held.key.keyId)
    if (ofKey?.delete(held) !== true) return false
    if (ofKey.size === 0) byKey.delete(held.key.keyId)
    count(held.key.orgId, -1)
    return true
  }
  const end = (held: Held) => {
    if (release(held)) held.end()
  }
  const isOpen = (held: Held): boolean => {
    if (byKey.get(held.key.keyId)?.has(held) !== true) return false
    const { key, session } = held
    const isOver = session !== undefined && session.endsAtMs <= nowMs()
    if (!isOver && keyProblem(key, nowMs()) === undefined) return true
    end(held)
    return false
  }

  return {
    open: ({ key, session }, ending) => {
      if (closed) throw new Refusal('OVERLOADED', 'This control plane is being stopped. Ask again later.')
      assertRoom(key)
      const held: Held = { key, session, end: ending }
      byKey.set(key.keyId, (byKey.get(key.keyId) ?? new Set()).add(held))
      count(key.orgId, 1)
      return { isOpen: () => isOpen(held), release: () => void release(held) }
    },
    committed: (rows) => {
      if (inAll === 0) return
      for (const { action, after } of rows) {
        if (action === 'session.end') {
          const ended = after as Pick<SessionRecord, 'keyId' | 'sessionId'>
          for (const held of byKey.get(ended.keyId) ?? []) {
            if (held.session?.sessionId === ended.sessionId) end(held)
          }
        }
        if (!action.startsWith('key.')) continue
        const changed = after as Pick<KeyRecord, 'keyId' | 'endsAtMs' | 'endedAs'>
        for (const held of byKey.get(changed.keyId) ?? []) {
          held.key = { ...held.key, endsAtMs: changed.endsAtMs, endedAs: changed.endedAs }
          isOpen(held)
        }
      }
    },
    turn: () => (turns = turns.then(() => nextTurn())),
    close: () => {
      closed = true
      for (const ofKey of byKey.values()) for (const held of ofKey) end(held)
    },
  }
}

function tooMany(message: string): Refusal {
  return new Refusal('TOO_MANY_STREAMS', message)
}
