import { describe, expect, test } from 'vitest'

import { newOrgId, uuidv7 } from '../../src/control-plane/ids.ts'
import {
  hasValidChecksum,
  isDevicePattern,
  keyIdOf,
  keyMatches,
  matchesDevicePattern,
  mayAskFor,
  mintKey,
} from '../../src/control-plane/keys.ts'
import { redact } from '../../src/redact.ts'
import { KEY_KINDS } from '../../src/machineid/wire.ts'

describe('a key', () => {
  test.each(KEY_KINDS)('of kind %s says so, is found by its id and known by its digest', (kind) => {
    const { key, keyId, digest } = mintKey(kind)
    expect(key).toMatch(new RegExp(`^org_${kind}_${keyId}_[0-9A-Za-z]{43}[0-9a-f]{8}$`))
    expect(keyIdOf(key)).toBe(keyId)
    expect(keyMatches(key, { digest })).toBe(true)
    expect(digest).not.toContain(key)
  })

  test('carries 256 random bits, new each time', () => {
    const secrets = Array.from({ length: 200 }, () => mintKey('full').key.slice(-51, -8))
    expect(new Set(secrets).size).toBe(200)
    expect(new Set(secrets.join('')).size).toBe(62)
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

  test('matches no record when there is none, nor one of another key', () => {
    const { key } = mintKey('runtime')
    expect(keyMatches(key, undefined)).toBe(false)
    expect(keyMatches(key, { digest: mintKey('runtime').digest })).toBe(false)
  })

  test.each([
    '',
    'org_123',
    'org_root_abcdefghijklmnop_x',
    'Bearer x',
    `${mintKey('full').key}x`,
    ` ${mintKey('full').key}`,
  ])('%j is not shaped like one', (text) => {
    expect(keyIdOf(text)).toBeUndefined()
  })

  test('is redacted from logs, while an org id is not', () => {
    const { key } = mintKey('stop')
    expect(redact(`key ${key} refused`)).toBe('key org_[redacted] refused')
    const orgId = newOrgId()
    expect(redact(orgId)).toBe(orgId)
    expect(orgId).toMatch(/^o_[a-z2-7]{24}$/)
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
