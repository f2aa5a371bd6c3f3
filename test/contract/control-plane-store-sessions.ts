import { describe, expect, test } from 'vitest'

import type { SessionRecord } from '../../src/control-plane/sessions/session-store.ts'
import { KEY, ORG } from './control-plane-records.ts'
import type { Fixture } from './control-plane-store.ts'

function session(sessionId: string, changes: Partial<SessionRecord> = {}): SessionRecord {
  return {
    sessionId,
    orgId: ORG.orgId,
    keyId: KEY.keyId,
    email: null,
    digest: 'ab'.repeat(32),
    digestBefore: null,
    beforeUntilMs: null,
    turn: null,
    startedAtMs: 10,
    idleAtMs: 100,
    endsAtMs: 1000,
    endedAtMs: null,
    endedAs: null,
    ...changes,
  }
}

export function describeSessions(fixture: Fixture): void {
  const { write, look, reopen, addOrg } = fixture
  const idsOf = (sessions: readonly SessionRecord[]) => sessions.map(({ sessionId }) => sessionId)

  describe('sessions', () => {
    test('are kept as they were written, and changed whole', async () => {
      const one = session('s1', { email: 'owner@example.com' })
      await write({ sessions: [one] })
      await reopen()
      expect(await fixture.store.findSession('s1')).toEqual(one)
      const turned = {
        ...one,
        digest: 'cd'.repeat(32),
        digestBefore: one.digest,
        beforeUntilMs: 60,
        turn: 't',
        idleAtMs: 200,
      }
      await write({ sessions: [turned] })
      expect(await fixture.store.findSession('s1')).toEqual(turned)
      expect(await fixture.store.findSession('s2')).toBeUndefined()
    })

    test('a change sees those of its org that are not ended, oldest first, and the one it asks in', async () => {
      await addOrg({ orgId: 'o_other' }, 'k-other')
      await write({
        sessions: [
          session('s3', { startedAtMs: 30 }),
          session('s1'),
          session('s2', { endedAtMs: 20, endedAs: 'signed_out' }),
        ],
      })
      await write({ sessions: [session('s4', { orgId: 'o_other', keyId: 'k-other' })] }, 'o_other')
      const { sessions, callerSession } = await look({ sessions: true, callerSessionId: 's2' })
      expect(idsOf(sessions)).toEqual(['s1', 's3'])
      expect(callerSession?.endedAs).toBe('signed_out')
      // Another org's is none.
      expect((await look({ callerSessionId: 's4' })).callerSession).toBeUndefined()
    })

    test('those that are idle are found, and those that are so too late; the ended ones not', async () => {
      await write({
        sessions: [
          session('s1', { idleAtMs: 100 }),
          session('s2', { idleAtMs: 50, endedAtMs: 20, endedAs: 'recovery' }),
          session('s3', { idleAtMs: 90 }),
          session('s4', { idleAtMs: 101 }),
          session('s5', { idleAtMs: 500 }),
          session('s6', { idleAtMs: 501 }),
        ],
      })
      const when = { atMs: 100, laterThanMs: 500 }
      expect(idsOf(await fixture.store.sessionsIdle(when, 10))).toEqual(['s3', 's1', 's6'])
      expect(idsOf(await fixture.store.sessionsIdle(when, 1))).toEqual(['s3'])
    })

    test('the ended ones are forgotten, as many as are asked for, the others never', async () => {
      await write({
        sessions: [
          session('s1', { endedAtMs: 20, endedAs: 'idle' }),
          session('s2', { endedAtMs: 20, endedAs: 'idle' }),
          session('s3', { endedAtMs: 30, endedAs: 'idle' }),
          session('s4'),
        ],
      })
      expect(await fixture.store.pruneSessions(30, 1)).toBe(1)
      expect(await fixture.store.pruneSessions(30, 10)).toBe(1)
      expect(await fixture.store.pruneSessions(30, 10)).toBe(0)
      expect(await fixture.store.findSession('s3')).toBeDefined()
      expect(await fixture.store.findSession('s4')).toBeDefined()
    })
  })
}
