import { describe, expect, test } from 'vitest'

import { createAddressLimit, createRequestLimit } from '../../src/control-plane/recovery-limits.ts'
import { networkOf } from '../../src/control-plane/remote-address.ts'

describe('how often recovery may be asked for', () => {
  const admittedBy = (limit: (origin: string | null) => void) => (origin: string | null) => {
    try {
      limit(origin)
      return true
    } catch {
      return false
    }
  }

  test('one network cannot use up what is there for everybody', () => {
    const admits = admittedBy(createRequestLimit(() => 0))
    for (let at = 0; at < 5000; at++) admits('203.0.113.7')
    expect(admits('203.0.113.7')).toBe(false)
    expect(admits('198.51.100.1')).toBe(true)
  })

  test('all networks together have a limit too, and it fills up again', () => {
    let nowMs = 0
    const admits = admittedBy(createRequestLimit(() => nowMs))
    const admitted = () => Array.from({ length: 400 }, (_, at) => admits(`10.0.${at >> 8}.${at & 255}`))
    expect(admitted().filter(Boolean)).toHaveLength(300)
    nowMs += 60_000
    expect(admitted().filter(Boolean)).toHaveLength(60)
  })

  test('requests of unknown origin share one allowance', () => {
    const admits = admittedBy(createRequestLimit(() => 0))
    const admitted = Array.from({ length: 20 }, () => admits(null))
    expect(admitted.filter(Boolean)).toHaveLength(10)
  })

  test.each([
    ['203.0.113.7', '203.0.113.7'],
    ['::ffff:203.0.113.7', '203.0.113.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1'],
    ['2001:db8:1::6', '2001:db8:1'],
    ['2001:db8::6', '2001:db8:'],
    ['::1', '::'],
    ['fe80::1%eth0', 'fe80::'],
  ])('%s counts as %s', (address, network) => {
    expect(networkOf(address)).toBe(network)
  })
})

describe('how often an address is mailed', () => {
  test('is three times in any hour, not three times between two full hours', () => {
    let nowMs = 0
    const mayMail = createAddressLimit(() => nowMs)
    const ask = (atMs: number) => {
      nowMs = atMs
      return mayMail('ops@example.org')
    }
    const minutes = [0, 20, 40, 59, 61, 62, 81, 200]
    const answers = minutes.map((minute) => ask(minute * 60_000))
    expect(answers).toEqual([true, true, true, false, true, false, true, true])
  })

  test('is remembered for a bounded number of addresses, the latest', () => {
    const mayMail = createAddressLimit(() => 0)
    const thrice = (address: string) => [1, 2, 3].map(() => mayMail(address))
    for (let at = 0; at < 2; at++) mayMail('again@example.org')
    thrice('early@example.org')
    for (let at = 0; at < 9998; at++) mayMail(`${at}@example.org`)
    expect(mayMail('early@example.org')).toBe(false)
    // The one that was mailed the longest ago is forgotten for another.
    mayMail('again@example.org')
    thrice('late@example.org')
    expect(mayMail('again@example.org')).toBe(false)
    expect(mayMail('late@example.org')).toBe(false)
    expect(mayMail('early@example.org')).toBe(true)
  })
})
