import { describe, expect, it } from 'vitest'

import { difference } from '../../src/console/pages/audit/difference.ts'
import { isoOf, localOf } from '../../src/console/pages/audit/local-time.ts'

describe('what an audit row changed', () => {
  it('is told field by field, what changed before what stayed', () => {
    const before = { slot: 1, revoked: false, labels: { team: 'a', old: 'x' } }
    const after = { slot: 1, revoked: true, labels: { team: 'b' }, reason: null }
    expect(difference(before, after)).toEqual([
      { name: 'revoked', before: 'false', after: 'true', is: 'changed' },
      { name: 'labels › team', before: '"a"', after: '"b"', is: 'changed' },
      { name: 'labels › old', before: '"x"', after: undefined, is: 'removed' },
      { name: 'reason', before: undefined, after: 'null', is: 'added' },
      { name: 'slot', before: '1', after: '1', is: 'same' },
    ])
  })

  it('is all added where there was nothing before', () => {
    expect(difference(null, { epoch: 3 })).toEqual([
      { name: 'epoch', before: undefined, after: '3', is: 'added' },
    ])
    expect(difference(null, null)).toEqual([])
  })

  it('shows lists whole, a text as a text, and when an instant is', () => {
    expect(
      difference(null, { owners: ['a@b.c'], limit: '3', endsAtMs: 0 }).map(({ after }) => after),
    ).toEqual(['["a@b.c"]', '"3"', '0 (1970-01-01T00:00:00.000Z)'])
  })

  it('takes a member named __proto__ for any other', () => {
    expect(difference(null, JSON.parse('{"__proto__":{"a":1}}'))).toEqual([
      { name: '__proto__ › a', before: undefined, after: '1', is: 'added' },
    ])
  })
})

describe('the times of the filter', () => {
  it('are the instants that were chosen, to the second, there and back', () => {
    expect(isoOf(localOf('2026-11-22T11:05:06.000Z'))).toBe('2026-11-22T11:05:06.000Z')
    expect([localOf('no time'), localOf(undefined), isoOf('')]).toEqual(['', '', undefined])
  })
})
