import { describe, expect, it } from 'vitest'

import { effectOfCap, TIERS, toldThen } from '../../src/console/pages/plan/downgrade.ts'
import { PLAN_LIMITS } from '../../src/machineid/wire.ts'

const device = (deviceId: string, slot: number | null, stopped: 'revoked' | 'locked' | '' = '') => ({
  deviceId,
  slot,
  revoked: stopped === 'revoked',
  locked: stopped === 'locked',
})

describe('what another cap would do', () => {
  // Not in the order of their slots, as the list comes by name.
  const devices = [
    device('a', 4),
    device('b', 1),
    device('c', 3, 'revoked'),
    device('d', 2, 'locked'),
    device('e', 5, 'revoked'),
    device('f', 6),
  ]
  const replicas = [
    { devices: [{ deviceId: 'a', inFlight: 2 }] },
    {
      devices: [
        { deviceId: 'a', inFlight: 1 },
        { deviceId: 'e', inFlight: 9 },
      ],
    },
  ]

  it('keeps the lowest slots, and names every device above the cap, the lowest slot first', () => {
    const { over, within } = effectOfCap(devices, replicas, { now: 25, then: 3 })
    expect(over.map(({ deviceId }) => deviceId)).toEqual(['a', 'e', 'f'])
    expect(within).toBe(3)
  })

  it('counts as denied anew only what is allowed now, with what is in flight there everywhere', () => {
    const { over, newlyDenied, inFlight } = effectOfCap(devices, replicas, { now: 25, then: 3 })
    expect(newlyDenied).toBe(2)
    expect(inFlight).toBe(3)
    expect(over.map(toldThen)).toEqual(['DEVICE_OVER_LIMIT', 'DEVICE_REVOKED', 'DEVICE_OVER_LIMIT'])
  })

  it('takes the slot that equals the cap for one within it', () => {
    expect(effectOfCap([device('a', 3)], [], { now: 25, then: 3 }).over).toEqual([])
  })

  it('names what a larger cap brings back, and no device that was stopped', () => {
    const { comeBack, over } = effectOfCap(devices, [], { now: 3, then: 25 })
    expect(comeBack.map(({ deviceId }) => deviceId)).toEqual(['a', 'f'])
    expect(over).toEqual([])
  })

  it('names the stopped devices that keep a slot within the cap', () => {
    const { stoppedWithin } = effectOfCap(devices, [], { now: 25, then: 3 })
    expect(stoppedWithin.map(({ deviceId }) => deviceId)).toEqual(['d', 'c'])
  })

  it('knows the caps that the authority knows', () => {
    expect(TIERS).toEqual(PLAN_LIMITS)
  })
})
