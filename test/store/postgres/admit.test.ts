import { describe, expect, test } from 'vitest'

import type { Found, Place } from '../../../src/store/postgres/identity.ts'
import { judge, type Known } from '../../../src/store/postgres/verdict.ts'

const PLACE: Place = { server: '1', relation: '5/9', timeline: 3 }
const NOW_MS = 1_000_000_000
const FOUND: Found = {
  inRecovery: false,
  place: PLACE,
  noted: PLACE,
  storeId: 's',
  generation: 4,
  synchronous: true,
  accepted: false,
  restoredAtMs: null,
  keepKeys: false,
  nowMs: NOW_MS,
  hasChange: true,
  settings: {
    version: '18.4',
    versionNumber: 180004,
    fsync: 'on',
    fullPageWrites: 'on',
    synchronousCommit: 'on',
    synchronousStandbyNames: 'standby',
    synchronousStandbys: 1,
    pointInTime: false,
  },
}
const KNOWN: Known = {
  storeId: 's',
  generation: 4,
  place: PLACE,
  change: { orgId: 'o', seq: 1, hash: 'h' },
  synchronous: true,
}
const promoted = { place: { ...PLACE, timeline: 4 } }
const pointInTime = { settings: { ...FOUND.settings, pointInTime: true } }
/** Of a process before this one, or of one that was cut off for a while. */
const notOfLate: Known = { ...KNOWN, synchronous: undefined }
const notSynchronous: Known = { ...KNOWN, synchronous: false }
const promotedAndNoted = { ...promoted, noted: { ...PLACE, timeline: 4 } }

// G1, G6: what is not certain to have every acked stop is refused, or stops everything.
describe('what a node makes of a database', () => {
  test.each<[title: string, found: Partial<Found>, known: Known | undefined, verdict: string]>([
    ['as it was', {}, KNOWN, 'same'],
    ['as it was, to a node that is new', {}, undefined, 'same'],
    ['a new one', { noted: undefined, generation: 0 }, undefined, 'first'],
    ['a standby', { inRecovery: true, place: undefined }, KNOWN, 'STORE_IN_RECOVERY'],
    ['another store', { storeId: 'other' }, KNOWN, 'STORE_OTHER'],

    ['marked', { restoredAtMs: 1 }, KNOWN, 'restored'],
    ['another server', { place: { ...PLACE, server: '2' } }, undefined, 'restored'],
    ['tables made anew', { place: { ...PLACE, relation: '5/10' } }, KNOWN, 'restored'],
    ['noted nowhere, and known', { noted: undefined }, KNOWN, 'restored'],

    ['a new timeline', promoted, KNOWN, 'noted'],
    // What the standby itself says of it, it may have heard long ago.
    ['a new timeline, to a node that is new', promoted, undefined, 'restored'],
    ['a new timeline, to one that has not looked of late', promoted, notOfLate, 'restored'],
    ['a new timeline without a standby', { ...promoted, synchronous: false }, KNOWN, 'restored'],
    ['a new timeline, and no standby of late', promoted, notSynchronous, 'restored'],
    ['a new timeline to a recovery_target', { ...promoted, ...pointInTime }, KNOWN, 'restored'],
    ['a new timeline without what was acked', { ...promoted, hasChange: false }, KNOWN, 'restored'],
    ['an earlier timeline than was noted', { place: { ...PLACE, timeline: 2 } }, undefined, 'restored'],
    [
      'a new timeline that another node took for whole, without what this one acked',
      { ...promotedAndNoted, hasChange: false },
      KNOWN,
      'restored',
    ],
    [
      'a new timeline that another node took for whole, and this one saw that commits waited for nobody',
      promotedAndNoted,
      notSynchronous,
      'restored',
    ],
    [
      'the same, and an operator has said that nothing was lost',
      { ...promotedAndNoted, accepted: true },
      notSynchronous,
      'same',
    ],
    ['the same, in a new generation', { ...promotedAndNoted, generation: 5 }, notSynchronous, 'same'],
    ['a new timeline that another node has noted', promotedAndNoted, KNOWN, 'same'],
    ['the same, to a node that is new', promotedAndNoted, undefined, 'same'],
    ['a new generation, which lacks changes', { generation: 5, hasChange: false }, KNOWN, 'same'],

    [
      'the primary that was deposed',
      { place: { ...PLACE, timeline: 2 }, noted: { ...PLACE, timeline: 2 } },
      KNOWN,
      'STORE_OLDER',
    ],
    ['an older generation', { generation: 3 }, KNOWN, 'STORE_OLDER'],
    ['a cold copy without what was acked', { hasChange: false }, KNOWN, 'STORE_OLDER'],
  ])('%s', (_, found, known, expected) => {
    const verdict = judge({ ...FOUND, ...found }, known, 'db')
    expect(verdict.kind === 'refused' ? verdict.error.code : verdict.kind).toBe(expected)
  })
})
