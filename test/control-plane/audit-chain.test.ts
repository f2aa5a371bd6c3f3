import fc from 'fast-check'
import { expect, test } from 'vitest'

import { digestOf } from '../../src/canonical-json.ts'
import { chained, GENESIS, rowHash } from '../../src/control-plane/audit-chain.ts'
import type { AuditRow } from '../../src/control-plane/records.ts'
import { auditEntry } from '../contract/control-plane-records.ts'

type Unhashed = Omit<AuditRow, 'hash'>

const text = fc.string({ unit: 'binary', maxLength: 40 })
const anyText = fc.oneof(text, fc.constantFrom('\ud800', '"', '\\', '\u2028', '\u0000', '__proto__'))
const orNull = fc.option(anyText)
/**
 * Names that objects do not keep in the order in which they were given, too. Without " and \\: once Node 24.21 has seen
 * objects with one of the two as a name, its own JSON.stringify of JSON.parse takes the one for the other.
 */
const name = fc.oneof(
  anyText.filter((given) => !/["\\]/.test(given)),
  fc.nat({ max: 40 }).map(String),
  fc.constantFrom('__proto__', 'toJSON', '-0'),
)
const { json } = fc.letrec<{ json: unknown; member: unknown }>((tie) => ({
  json: fc.oneof(
    { maxDepth: 4 },
    tie('member'),
    fc.array(tie('json'), { maxLength: 4 }),
    fc.dictionary(name, tie('json'), { maxKeys: 6 }),
  ),
  member: fc.oneof(
    anyText,
    fc.double(),
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.constant(undefined),
  ),
}))

const row: fc.Arbitrary<Unhashed> = fc.record({
  orgId: anyText,
  seq: fc.nat(),
  prevHash: anyText,
  id: anyText,
  atMs: fc.integer({ min: -8.64e15, max: 8.64e15 }),
  actor: anyText,
  actorKind: orNull,
  requestId: orNull,
  origin: orNull,
  action: anyText,
  deviceId: orNull,
  reason: orNull,
  before: json,
  after: json,
})

/** What the hash of a row is, said once more and the long way. */
function definition({ atMs, before, after, ...rest }: Unhashed): string {
  return digestOf({
    ...rest,
    at: new Date(atMs).toISOString(),
    before: before ?? null,
    after: after ?? null,
  })
}

test('the hash of a row is the SHA-256 of its canonical JSON, whatever the row says', () => {
  fc.assert(
    fc.property(row, (any) => {
      expect(rowHash(any)).toBe(definition(any))
    }),
    { numRuns: 5000 },
  )
})

test('the hash covers every member', () => {
  const base = { ...auditEntry('device.revoke', { before: { a: 1 } }), orgId: 'o', seq: 2, prevHash: GENESIS }
  for (const member of Object.keys(base)) {
    const changed = member === 'atMs' || member === 'seq' ? 77 : 'changed'
    expect(rowHash({ ...base, [member]: changed }), member).not.toBe(rowHash(base))
  }
})

test('is what it has always been: a chain of an earlier version holds', () => {
  const first = chained('o_1', undefined, {
    ...auditEntry('org.create', { atMs: 1_700_000_000_000, after: { owners: ['ü@example.com'], keys: [] } }),
    id: 'audit-1',
  })
  const second = chained('o_1', first, {
    ...auditEntry('device.revoke', { actor: 'k', actorKind: 'stop', requestId: 'r', origin: '10.0.0.7' }),
    id: 'audit-2',
    deviceId: 'a:b:1',
    reason: 'leak "7"',
    before: { revoked: false, labels: { b: 'x', 10: 'y', 9: 'z' }, epoch: 0 },
    after: { revoked: true, epoch: 41 },
  })
  expect([first.hash, second.hash]).toEqual([
    '073b77c28a6c42738060dd8d3fe22865cf4f158db2a1cdc237619fea8c758812',
    'e12ec525ef112d67f6fb03c8b4f29df121a73acd0ab8a78fbf6148c9d1f57c9e',
  ])
  expect(second).toMatchObject({ seq: 2, prevHash: first.hash })
})

test('a time that no calendar has gets no hash', () => {
  expect(() => chained('o', undefined, auditEntry('x', { atMs: 8.64e15 + 1 }))).toThrow(RangeError)
})
