import { expect, test } from 'vitest'

import { createOracle, type Oracle } from './oracle.ts'

// The judge of the proofs with many nodes: what it takes for wrong, and what it lets pass.
const DEVICE = 'nodes:test:device:0'

function decided(oracle: Oracle, asked: ReturnType<Oracle['asks']>, code: string, epoch: number) {
  oracle.answered(asked, [{ deviceId: DEVICE, code, epoch }], 0)
  return oracle.findings.map(({ what }) => what)
}

function stopped(epoch = 5): Oracle {
  const oracle = createOracle(() => 0)
  oracle.stopBegins(DEVICE)
  oracle.stopAcked(DEVICE, epoch)
  return oracle
}

test('G1: an allow for a question that was sent after the ack of a stop is stale', () => {
  const oracle = stopped()
  expect(decided(oracle, oracle.asks([DEVICE]), 'ALLOW', 5)).toEqual(['stale allow'])
})

test('an allow for a question that was sent before the ack is fine', () => {
  const oracle = createOracle(() => 0)
  oracle.stopBegins(DEVICE)
  const asked = oracle.asks([DEVICE])
  oracle.stopAcked(DEVICE, 5)
  expect(decided(oracle, asked, 'ALLOW', 4)).toEqual([])
})

test('an allow for a question that a restore overtook is fine', () => {
  const oracle = stopped()
  const asked = oracle.asks([DEVICE])
  oracle.restoreBegins(DEVICE)
  expect(decided(oracle, asked, 'ALLOW', 6)).toEqual([])
})

test('G6: a restore without an answer is no excuse once the device is stopped anew', () => {
  const oracle = stopped()
  oracle.restoreBegins(DEVICE)
  oracle.stopBegins(DEVICE)
  oracle.stopAcked(DEVICE, 6)
  expect(decided(oracle, oracle.asks([DEVICE]), 'ALLOW', 6)).toEqual(['stale allow'])
})

test('an answer with an older epoch than was acked when it was asked is stale, denial or not', () => {
  const oracle = stopped()
  expect(decided(oracle, oracle.asks([DEVICE]), 'DEVICE_REVOKED', 4)).toEqual(['stale epoch'])
})

test('a denial of what was restored is wrong, unless a stop without an answer may have come late', () => {
  const oracle = stopped()
  oracle.restoreBegins(DEVICE)
  oracle.restoreAcked(DEVICE, 6)
  expect(decided(oracle, oracle.asks([DEVICE]), 'DEVICE_REVOKED', 6)).toEqual(['wrong denial'])
  oracle.stopUnknown(DEVICE, '503')
  expect(decided(oracle, oracle.asks([DEVICE]), 'DEVICE_REVOKED', 7)).toEqual(['wrong denial'])
})

test("a client's own defence against an older answer counts as a stale one", () => {
  const oracle = stopped()
  oracle.unanswered('AUTHORITY_ROLLBACK', 0)
  expect(oracle.findings).toMatchObject([{ what: 'stale epoch', code: 'AUTHORITY_ROLLBACK' }])
})
