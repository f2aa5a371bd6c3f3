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
  synchronousAtMs: NOW_MS - 5000,
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
const late = { synchronousAtMs: NOW_MS - 600_001 }
/** Of a process before this one. */
const before: Known = { ...KNOWN, synchronous: undefined }

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
    ['a new timeline, to a node that is new', promoted, undefined, 'noted'],
    ['a new timeline that comes late, to a node that was there', { ...promoted, ...late }, KNOWN, 'noted'],
    ['a new timeline that comes late, to one that is new', { ...promoted, ...late }, undefined, 'restored'],
    [
      'a new timeline that comes late, to one that was started anew',
      { ...promoted, ...late },
      before,
      'restored',
    ],
    ['a new timeline without a standby', { ...promoted, synchronousAtMs: null }, KNOWN, 'restored'],
    ['a new timeline, and no standby of late', promoted, { ...KNOWN, synchronous: false }, 'restored'],
    ['a new timeline to a recovery_target', { ...promoted, ...pointInTime }, KNOWN, 'restored'],
    ['a new timeline without what was acked', { ...promoted, hasChange: false }, KNOWN, 'restored'],
    ['an earlier timeline than was noted', { place: { ...PLACE, timeline: 2 } }, undefined, 'restored'],
    [
      'a new timeline that another node took for whole, without what this one acked',
      { place: { ...PLACE, timeline: 4 }, noted: { ...PLACE, timeline: 4 }, hasChange: false },
      KNOWN,
      'restored',
    ],
    [
      'a new timeline that another node has noted',
      { place: { ...PLACE, timeline: 4 }, noted: { ...PLACE, timeline: 4 } },
      KNOWN,
      'same',
    ],
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
