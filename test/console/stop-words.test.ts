import { describe, expect, test } from 'vitest'

import { stillDenied, inChunks, restorePlan } from '../../src/console/pages/stops/restore-plan.ts'
import {
  confirmationOf,
  isOpen,
  sinceStop,
  stopTitle,
  stopWords,
  whatToDo,
} from '../../src/console/pages/stops/stop-words.ts'
import type { StopBody } from '../../src/machineid/wire-stops.ts'

type Replica = StopBody['replicas'][number]

const STOP: StopBody = {
  epoch: 7,
  action: 'device.revoke',
  deviceIds: ['a:prod:payments:01'],
  deviceCount: 1,
  pattern: null,
  keyId: null,
  by: 'stop:key',
  reason: null,
  at: '2026-01-01T00:00:00.000Z',
  state: 'no_replicas',
  replicas: [],
}
const replica = (state: Replica['state'], more: Partial<Replica> = {}): Replica => ({
  replica: `r-${state}`,
  state,
  toldAt: null,
  receivedAt: null,
  settledAt: null,
  lastDenied: null,
  lastSeenAt: null,
  aborted: 0,
  finished: 0,
  unknown: 0,
  running: 0,
  calls: [],
  ...more,
})

describe('a stop in words', () => {
  const cases: [Partial<StopBody>, string][] = [
    [{}, 'Revoked a:prod:payments:01'],
    [{ deviceCount: 3, deviceIds: ['a', 'b', 'c'] }, 'Revoked 3 devices'],
    [{ action: 'device.remove' }, 'Removed a:prod:payments:01'],
    [{ action: 'lock.add', deviceIds: [], deviceCount: 0, pattern: '*:prod:*' }, 'Locked *:prod:*'],
    [{ action: 'org.disable', deviceIds: [], deviceCount: 0 }, 'Disabled the whole org'],
    [{ action: 'key.burn', deviceIds: [], deviceCount: 0, keyId: 'k1' }, 'Burned key k1'],
    [{ action: 'key.rotate', deviceIds: [], deviceCount: 0, keyId: 'k1' }, 'Rotated key k1 without overlap'],
    [{ action: 'new.kind', deviceIds: [], deviceCount: 0, pattern: 'x:*' }, 'new.kind x:*'],
  ]
  test.each(cases)('%j is told as "%s"', (about, title) => {
    expect(stopTitle({ ...STOP, ...about })).toBe(title)
  })

  test('of several devices the first is named', () => {
    const words = stopWords({ ...STOP, deviceCount: 3, deviceIds: ['a', 'b', 'c'] })
    expect(words).toEqual({ did: 'Revoked 3 devices:', what: 'a', more: ', …' })
  })
})

describe('what the replicas said, summed up', () => {
  test('one replica that has not confirmed leaves the stop unconfirmed, and says how many have', () => {
    const replicas = [replica('confirmed'), replica('silent'), replica('acknowledged')]
    const summary = confirmationOf({ ...STOP, state: 'unconfirmed', replicas })
    expect(summary).toMatchObject({ look: 'warn', short: 'Unconfirmed', share: '1 of 3 replicas' })
    expect(summary.told).toContain('2 replicas have not said')
  })
  test('a confirmed stop with an effect of which nobody knows is not called good', () => {
    const done = { ...STOP, state: 'confirmed' as const }
    expect(confirmationOf({ ...done, replicas: [replica('confirmed')] }).look).toBe('good')
    const doubtful = confirmationOf({ ...done, replicas: [replica('confirmed', { unknown: 1 })] })
    expect(doubtful.look).toBe('warn')
    expect(doubtful.told).toContain('1 effect nobody knows')
  })
  test('nobody there to confirm is neither confirmed nor unconfirmed', () => {
    expect(confirmationOf(STOP)).toMatchObject({ look: 'quiet', short: 'No replicas', share: null })
  })
  test('a burned key is cut: nobody can confirm with it, and nothing is to be waited for', () => {
    const replicas = [replica('told', { toldAt: STOP.at }), replica('silent')]
    const burned = { ...STOP, action: 'key.burn', keyId: 'k', state: 'unconfirmed' as const, replicas }
    expect(confirmationOf(burned)).toMatchObject({ short: 'Cut', share: '1 of 2 replicas told' })
    expect(whatToDo(burned)).toEqual([])
    expect(isOpen(burned)).toBe(false)
    expect(isOpen({ ...burned, keyId: null })).toBe(true)
  })
  test('what to do names each state that is open, and a silent replica first', () => {
    const replicas = [replica('acknowledged'), replica('silent')]
    const todo = whatToDo({ ...STOP, state: 'unconfirmed', replicas })
    expect(todo).toHaveLength(2)
    expect(todo[0]).toMatch(/kill the process, or burn its key/)
    expect(whatToDo({ ...STOP, state: 'confirmed', replicas: [replica('confirmed')] })).toEqual([])
  })
  test('times count from the stop', () => {
    expect(sinceStop(STOP, null)).toBeNull()
    expect(sinceStop(STOP, '2026-01-01T00:00:00.012Z')).toBe('+12 ms')
    expect(sinceStop(STOP, '2026-01-01T00:00:03.400Z')).toBe('+3.4 s')
    expect(sinceStop(STOP, '2025-12-31T23:59:59.999Z')).toBe('−1 ms')
  })
})

describe('a restore of exactly what one stop took away', () => {
  const device = { deviceId: 'a:prod:x:01', wasRevoked: false, epochNow: 7, stillHeld: true }
  test('leaves alone what was revoked before, has changed since, or is removed, and sends the epoch of each', () => {
    const plan = restorePlan([
      device,
      { ...device, deviceId: 'before', wasRevoked: true },
      { ...device, deviceId: 'since', epochNow: 9, stillHeld: false },
      { ...device, deviceId: 'gone', epochNow: null, stillHeld: false },
    ])
    expect(plan.items).toEqual([{ deviceId: 'a:prod:x:01', ifEpoch: 7 }])
    expect(plan.left.map(({ deviceId }) => deviceId)).toEqual(['before', 'since', 'gone'])
  })
  test('says beforehand which locks, and a disabled org, would still deny what comes back', () => {
    const { items } = restorePlan([device, { ...device, deviceId: 'a:test:x:01' }])
    const lockPatterns = ['*:prod:*', 'b:*']
    expect(stillDenied(items, { orgDisabled: false, lockPatterns })).toEqual([
      { by: 'the lock on *:prod:*', devices: 1 },
    ])
    expect(stillDenied(items, { orgDisabled: true, lockPatterns: [] })[0]?.devices).toBe(2)
    expect(stillDenied([], { orgDisabled: true, lockPatterns })).toEqual([])
  })
  test('goes in pieces that the control plane takes', () => {
    expect(inChunks([1, 2, 3, 4, 5], 2)).toEqual([[1, 2], [3, 4], [5]])
    expect(inChunks([])).toEqual([])
  })
})
