import { expect, test } from 'vitest'

import { createLaneCuts } from '../../../src/control-plane/stops/lane-cuts.ts'

const CANARY = 's:dev:canary:01'

test('a cut holds for its org and canary until its time, or until it is ended', () => {
  let nowMs = 1000
  const cuts = createLaneCuts(() => nowMs)
  expect(cuts.isCut('org_a', [CANARY])).toBe(false)
  cuts.cut({ orgId: 'org_a', deviceId: CANARY, untilMs: 2000 })
  expect(cuts.isCut('org_a', ['s:dev:tool-server:01', CANARY])).toBe(true)
  expect(cuts.isCut('org_b', [CANARY])).toBe(false)
  expect(cuts.isCut('org_a', ['s:dev:tool-server:01'])).toBe(false)
  cuts.cut({ orgId: 'org_a', deviceId: CANARY, untilMs: nowMs })
  expect(cuts.isCut('org_a', [CANARY])).toBe(false)
  cuts.cut({ orgId: 'org_a', deviceId: CANARY, untilMs: 2000 })
  nowMs = 1999
  expect(cuts.isCut('org_a', [CANARY])).toBe(true)
  nowMs = 2000
  expect(cuts.isCut('org_a', [CANARY])).toBe(false)
})

test('the cuts of one org cost the questions of another nothing, however many they are', () => {
  let looks = 0
  const cuts = createLaneCuts(() => {
    looks += 1
    return 1000
  })
  for (let at = 0; at < 10_000; at++)
    cuts.cut({ orgId: 'org_a', deviceId: `s:dev:canary:${at}`, untilMs: 60_000 })
  expect(cuts.isCut('org_a', ['s:dev:canary:9999'])).toBe(true)
  looks = 0
  cuts.isCut('org_b', [CANARY])
  expect(looks).toBeLessThanOrEqual(1)
})
