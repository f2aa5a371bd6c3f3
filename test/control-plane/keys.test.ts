import { crc32 } from 'node:zlib'
import { describe, expect, test } from 'vitest'

import { newOrgId, uuidv7 } from '../../src/control-plane/ids.ts'
import {
  hasValidChecksum,
  keyIdOf,
  keyMatches,
  keyPrefix,
  keyProblem,
  mayAskFor,
  mintKey,
  newKey,
} from '../../src/control-plane/keys.ts'
import { matchesDevicePattern } from '../../src/device-patterns.ts'
import { createLogger } from '../../src/log.ts'
import { isDevicePattern } from '../../src/machineid/wire-fields.ts'
import { KEY_KINDS } from '../../src/machineid/wire.ts'
import { redact } from '../../src/redact.ts'

/** Another end for a key, with the checksum that fits it: only the digest can tell it from the real one. */
function forged(key: string, change: (secret: string) => string): string {
  const secret = key.slice(-51, -8)
  const body = key.slice(0, -51) + change(secret)
  return body + crc32(body).toString(16).padStart(8, '0')
}
const otherFirst = (text: string) => (text.startsWith('a') ? 'b' : 'a') + text.slice(1)
const otherLast = (text: string) => text.slice(0, -1) + (text.endsWith('a') ? 'b' : 'a')

describe('a key', () => {
  test.each(KEY_KINDS)('of kind %s says so, is found by its id and known by its digest', (kind) => {
    const { key, keyId, digest } = mintKey(kind)
    expect(key).toMatch(new RegExp(`^org_${kind}_${keyId}_[0-9A-Za-z]{43}[0-9a-f]{8}$`))
    expect(key.startsWith(keyPrefix(kind, keyId))).toBe(true)
    expect(keyIdOf(key)).toBe(keyId)
    expect(keyMatches(key, { digest })).toBe(true)
    expect(digest).toMatch(/^[0-9a-f]{64}$/)
  })

  test('carries 256 random bits, new each time', () => {
    const secrets = Array.from({ length: 200 }, () => mintKey('full').key.slice(-51, -8))
    expect(new Set(secrets).size).toBe(200)
    expect(new Set(secrets.join('')).size).toBe(62)
    for (let at = 0; at < 43; at++) {
      expect(new Set(secrets.map((secret) => secret[at])).size).toBeGreaterThan(40)
    }
  })

  test('with one character changed it does not match, and its checksum says so offline', () => {
    const { key, digest } = mintKey('operator')
    expect(hasValidChecksum(key)).toBe(true)
    for (let at = 'org_'.length; at < key.length; at++) {
      const wrong = key.slice(0, at) + (key[at] === 'a' ? 'b' : 'a') + key.slice(at + 1)
      expect(keyMatches(wrong, { digest })).toBe(false)
      expect(hasValidChecksum(wrong)).toBe(false)
    }
  })

  test('of the right id, with another secret and the checksum that fits it, is not known', () => {
    const { key, keyId, digest } = mintKey('admin')
    for (const change of [otherFirst, otherLast, () => '0'.repeat(43)]) {
      const wrong = forged(key, change)
      expect(keyIdOf(wrong)).toBe(keyId)
      expect(hasValidChecksum(wrong)).toBe(true)
      expect(keyMatches(wrong, { digest })).toBe(false)
    }
  })

  test('matches no record when there is none, nor one of another key, nor its own digest', () => {
    const { key, digest } = mintKey('runtime')
    expect(keyMatches(key, undefined)).toBe(false)
    expect(keyMatches(key, { digest: mintKey('runtime').digest })).toBe(false)
    expect(keyMatches(digest, { digest })).toBe(false)
    expect(keyMatches('', { digest: '0'.repeat(64) })).toBe(false)
  })

  test.each([
    '',
    'org_123',
    'org_root_abcdefghijklmnop_x',
    'Bearer x',
    `${mintKey('full').key}x`,
    ` ${mintKey('full').key}`,
    `${mintKey('full').key}\n`,
    mintKey('full').key.toUpperCase(),
    mintKey('full').key.replace('full', 'root'),
    mintKey('full').key.replace('_full_', '_admin_full_'),
  ])('%j is not shaped like one', (text) => {
    expect(keyIdOf(text)).toBeUndefined()
    expect(hasValidChecksum(text)).toBe(false)
  })

  test('is kept as a digest: the record has no other part of its secret', () => {
    const { key, record } = newKey({
      orgId: 'o_x',
      kind: 'stop',
      createdBy: 'local',
      nowMs: 7,
      name: 'pager',
    })
    expect(record).toEqual({
      keyId: keyIdOf(key),
      orgId: 'o_x',
      kind: 'stop',
      name: 'pager',
      digest: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
      bindings: null,
      createdAtMs: 7,
      createdBy: 'local',
      endsAtMs: null,
      endedAtMs: null,
      endedAs: null,
      replacedBy: null,
    })
    const kept = JSON.stringify(record)
    for (let at = 0; at + 8 <= 51; at++) {
      expect(kept).not.toContain(key.slice(key.length - 51 + at, key.length - 43 + at))
    }
  })
})

describe('how a key stands', () => {
  const open = { endedAs: null, endsAtMs: null }
  test.each([
    ['never rotated', open, undefined],
    ['rotated, inside its overlap', { ...open, endsAtMs: 1001 }, undefined],
    ['at the end of its overlap', { ...open, endsAtMs: 1000 }, 'KEY_EXPIRED'],
    ['after it', { ...open, endsAtMs: 999 }, 'KEY_EXPIRED'],
    ['latched, whatever the clock says', { endedAs: 'expired', endsAtMs: 9999 }, 'KEY_EXPIRED'],
    ['burned inside its overlap', { endedAs: 'burned', endsAtMs: 9999 }, 'KEY_BURNED'],
    ['burned', { endedAs: 'burned', endsAtMs: null }, 'KEY_BURNED'],
  ] as const)('%s: %o', (_, key, problem) => {
    expect(keyProblem(key, 1000)).toBe(problem)
  })
})

describe('a key in a log', () => {
  const keys = KEY_KINDS.flatMap((kind) => Array.from({ length: 20 }, () => mintKey(kind).key))
  const GLUED: readonly (readonly [string, (key: string) => string])[] = [
    ['alone', (key) => key],
    ['in a sentence', (key) => `key ${key} refused`],
    ['after a line break', (key) => `these:\n${key}\n\t${key}\r${key}\f${key}\b${key}\x1b${key}`],
    ['in a URL', (key) => `http://x/api?key=${key}&x=1`],
    ['in an environment variable', (key) => `MACHINEID_ORG_KEY=${key}`],
    ['in quotes', (key) => `"${key}",'${key}'`],
    ['glued to letters, digits and underscores', (key) => `key_${key}_x7${key}`],
    ['cut short within its secret', (key) => key.slice(0, -20)],
  ]

  test.each(GLUED)('%s is blotted out, as text and as a line of JSON', (_, around) => {
    let written = ''
    const log = createLogger({ destination: { write: (line: string) => void (written += line) } })
    for (const key of keys) {
      const text = around(key)
      log.info({ text, nested: { [text]: [text] }, error: new Error(text) }, text)
      written += redact(text)
    }
    expect(written).not.toBe('')
    for (const key of keys) expect(written).not.toContain(key.slice(-51, -20))
  })

  test('is told apart from an org id, which stays', () => {
    const orgId = newOrgId()
    expect(orgId).toMatch(/^o_[a-z2-7]{24}$/)
    expect(redact(orgId)).toBe(orgId)
    expect(redact(`key ${mintKey('stop').key} of ${orgId}`)).toBe(`key org_[redacted] of ${orgId}`)
  })
})

describe('a binding', () => {
  test.each([
    ['a:b:c', 'a:b:c', true],
    ['a:b:c', 'a:b:c:d', false],
    ['a:b:c', 'a:b:C', false],
    ['a:*:c', 'a:b:c', true],
    ['a:*:c', 'a:b:d', false],
    ['a:*:c', 'a:b:b:c', false],
    ['a:b:*', 'a:b:c', true],
    ['a:b:*', 'a:b:c:d:e', true],
    ['a:b:*', 'a:b', false],
    ['a:b:*', 'a:x:c', false],
    ['*', 'anything', true],
    ['*', 'any:thing', true],
    ['*:b', 'a:b', true],
    ['*:b', 'a:x:b', false],
    ['a.*:b', 'a.x:b', false],
  ])('%s and the device %s: %s', (pattern, deviceId, matches) => {
    expect(matchesDevicePattern(pattern, deviceId)).toBe(matches)
  })

  test('of several one is enough, of none nothing is, and without bindings all are', () => {
    expect(mayAskFor(['a:b', 'c:*'], 'c:d')).toBe(true)
    expect(mayAskFor(['a:b', 'c:*'], 'd')).toBe(false)
    expect(mayAskFor([], 'd')).toBe(false)
    expect(mayAskFor(null, 'd')).toBe(true)
  })

  test.each([
    ['a:b:*', true],
    ['openai-agent:prod:payments:01', true],
    ['a:pay*', false],
    ['a:b c', false],
    ['', false],
    ['a:b:c:d:e:f:g:h:*', false],
  ])('%j can be one: %s', (pattern, possible) => {
    expect(isDevicePattern(pattern)).toBe(possible)
  })
})

test('request ids are UUIDv7: unique, and in order of time', () => {
  const ids = Array.from({ length: 5000 }, (_, index) => uuidv7(1_790_000_000_000 + Math.floor(index / 100)))
  expect(new Set(ids).size).toBe(ids.length)
  for (const id of ids)
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  const times = ids.map((id) => id.slice(0, 13))
  expect(times).toEqual(times.toSorted())
  expect(parseInt(ids[0]?.replace('-', '').slice(0, 12) ?? '', 16)).toBe(1_790_000_000_000)
})
