import { describe, expect, test } from 'vitest'

import {
  allDenials,
  decide,
  judgeEpoch,
  judgeRegister,
  type Standing,
} from '../../src/control-plane/rules.ts'
import { AUTHORITY_DENIAL_CODES, type AuthorityDenialCode } from '../../src/machineid/wire.ts'
import { deviceRecord, ORG } from '../contract/control-plane-records.ts'

const device = { revoked: false, removed: false, slot: 3, epoch: 0 }
const fine: Standing = { orgDisabled: false, planState: 'active', cap: 3, device, locked: false }

/** What makes each code hold, on top of any other. */
const causes: Record<AuthorityDenialCode, (standing: Standing) => Standing> = {
  ORG_DISABLED: (s) => ({ ...s, orgDisabled: true }),
  PLAN_NOT_ACTIVE: (s) => ({ ...s, planState: 'frozen' }),
  DEVICE_NOT_REGISTERED: (s) => ({ ...s, device: undefined }),
  DEVICE_REMOVED: (s) => ({ ...s, device: s.device && { ...s.device, removed: true, slot: null } }),
  DEVICE_REVOKED: (s) => ({ ...s, device: s.device && { ...s.device, revoked: true } }),
  DEVICE_LOCKED: (s) => ({ ...s, locked: true }),
  DEVICE_OVER_LIMIT: (s) => ({ ...s, cap: 2 }),
}

describe('a validate', () => {
  test('is allowed only when nothing at all speaks against it', () => {
    expect(decide(fine)).toBe('ALLOW')
    expect(allDenials(fine)).toEqual([])
  })

  test.each(AUTHORITY_DENIAL_CODES)('%s denies by itself', (code) => {
    expect(decide(causes[code](fine))).toBe(code)
  })

  test('of any set of reasons the first in the order of the API is told, and all of them in that order', () => {
    for (let mask = 0; mask < 2 ** AUTHORITY_DENIAL_CODES.length; mask++) {
      const codes = AUTHORITY_DENIAL_CODES.filter((_, bit) => (mask & (1 << bit)) !== 0)
      // Devices that are not registered have no states of their own: apply that last.
      const standing = codes.toReversed().reduce((s, code) => causes[code](s), fine)
      const unregistered = codes.includes('DEVICE_NOT_REGISTERED')
      const removed = codes.includes('DEVICE_REMOVED')
      const holds = AUTHORITY_DENIAL_CODES.filter((code) => {
        if (code === 'DEVICE_REMOVED' || code === 'DEVICE_REVOKED')
          return codes.includes(code) && !unregistered
        if (code === 'DEVICE_OVER_LIMIT') return codes.includes(code) || unregistered || removed
        return codes.includes(code)
      })
      expect(allDenials(standing)).toEqual(holds)
      expect(decide(standing)).toBe(holds[0] ?? 'ALLOW')
    }
  })

  test.each([
    ['unpaid', 'unpaid'],
    ['a state this version does not know', 'paused'],
    ['an empty state', ''],
  ])('a plan that is %s is not active', (_, planState) => {
    expect(decide({ ...fine, planState })).toBe('PLAN_NOT_ACTIVE')
  })

  test('the slot at the cap is within it, the next one is not, and no slot never is', () => {
    expect(decide({ ...fine, device: { ...device, slot: 3 } })).toBe('ALLOW')
    expect(decide({ ...fine, device: { ...device, slot: 4 } })).toBe('DEVICE_OVER_LIMIT')
    expect(decide({ ...fine, device: { ...device, slot: null } })).toBe('DEVICE_OVER_LIMIT')
    expect(decide({ ...fine, cap: Number.NaN })).toBe('DEVICE_OVER_LIMIT')
  })
})

describe('a register', () => {
  const org = { ...ORG, cap: 2, used: 1 }
  const plain = { restoreRemoved: false, ifEpoch: undefined }
  const tombstone = { ...deviceRecord('a', null), removed: true, epoch: 5 }

  test.each([
    ['a new device takes the lowest free slot', org, undefined, plain, { admit: 'new', slot: 1 }],
    [
      'G7: at the cap nothing is admitted',
      { ...org, used: 2 },
      undefined,
      plain,
      refused('DEVICE_LIMIT_REACHED'),
    ],
    [
      'a known one exists, at the cap too',
      { ...org, used: 2 },
      deviceRecord('a', 1),
      plain,
      { admit: 'exists' },
    ],
    [
      'a revoked one is refused',
      org,
      { ...deviceRecord('a', 1), revoked: true },
      plain,
      refused('DEVICE_REVOKED'),
    ],
    ['a removed one is refused', org, tombstone, plain, refused('DEVICE_REMOVED')],
    [
      'removed is told before revoked',
      org,
      { ...tombstone, revoked: true },
      plain,
      refused('DEVICE_REMOVED'),
    ],
    ['G6: a removed one needs its epoch', org, tombstone, back(undefined), refused('EPOCH_REQUIRED')],
    ['G6: a removed one needs its own epoch', org, tombstone, back(4), refused('EPOCH_STALE')],
    ['with it, it comes back', org, tombstone, back(5), { admit: 'returning', slot: 1 }],
    ['G7: but not above the cap', { ...org, used: 2 }, tombstone, back(5), refused('DEVICE_LIMIT_REACHED')],
    ['one that was never removed just registers', org, undefined, back(5), { admit: 'new', slot: 1 }],
    [
      'restoreRemoved is no restore',
      org,
      { ...deviceRecord('a', 1), revoked: true },
      back(0),
      refused('DEVICE_REVOKED'),
    ],
  ] as const)('%s', (_, inOrg, known, asked, expected) => {
    expect(judgeRegister({ org: inOrg, device: known, lowestFreeSlot: 1 }, asked)).toEqual(expected)
  })

  function refused(code: string) {
    return { admit: 'no', code }
  }
  function back(ifEpoch: number | undefined) {
    return { restoreRemoved: true, ifEpoch }
  }
})

test('G6: an epoch is compared exactly', () => {
  expect(judgeEpoch(7, 7)).toBeUndefined()
  expect(judgeEpoch(7, 6)).toBe('EPOCH_STALE')
  expect(judgeEpoch(7, 8)).toBe('EPOCH_STALE')
  expect(judgeEpoch(0, undefined)).toBe('EPOCH_REQUIRED')
})
