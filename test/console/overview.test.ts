import { expect, it } from 'vitest'

import { isOfEverything, orgState } from '../../src/console/app/org-state.ts'
import { endingSoon, isRefreshDue } from '../../src/console/api/session-times.ts'
import { heldStops } from '../../src/console/pages/overview/held-stops.ts'
import { highest, MINUTES, rateSeries } from '../../src/console/ui/chart/rate-series.ts'
import { verdictOf } from '../../src/console/ui/change/confirmation-words.ts'
import { relativeTime } from '../../src/console/ui/relative-time.ts'

const org = { disabled: false, epoch: 0, by: null, reason: null, since: null }
const usage = {
  org,
  planState: 'active',
  revoked: 0,
  locks: 0,
  overLimit: false,
  devicesUsed: 3,
  limit: 3,
} as const

it('says that everything is allowed only when the control plane says so now', () => {
  expect(orgState(usage, true)).toEqual({ look: 'good', words: 'Everything allowed' })
  expect(orgState({ ...usage, planState: 'canceled' }, true).look).toBe('good')
  const others = [
    orgState(usage, false),
    orgState(undefined, true),
    orgState(usage, true, false),
    orgState({ ...usage, org: { ...org, disabled: true } }, true),
    orgState({ ...usage, planState: 'unpaid' }, true),
    orgState({ ...usage, revoked: 2, locks: 1 }, true),
    orgState({ ...usage, overLimit: true, devicesUsed: 5 }, true),
  ]
  expect(others.map(({ words }) => words)).toEqual([
    'Unreachable',
    'Not known yet',
    'Not up to date',
    'ORG DISABLED',
    'PLAN NOT ACTIVE',
    '2 revoked, 1 lock',
    '2 devices over the cap',
  ])
  expect(others.filter(({ look }) => look === 'good')).toEqual([])
})

it('takes a lock of stars alone for a lock of everything', () => {
  expect(['*', '*:*:*:*'].every(isOfEverything)).toBe(true)
  expect(['*:*:payments:*', 'crm:*'].some(isOfEverything)).toBe(false)
})

it('groups revoked devices by the stop that holds them, the overdue first', () => {
  const device = { revoked: true, reason: 'why', changedAt: '2026-01-01T00:00:00Z', overdue: false }
  const held = heldStops([
    { ...device, deviceId: 'a', epoch: 5, remindAt: '2026-01-03T00:00:00Z' },
    { ...device, deviceId: 'b', epoch: 9, remindAt: null },
    { ...device, deviceId: 'c', epoch: 5, remindAt: '2026-01-02T00:00:00Z', overdue: true },
    { ...device, deviceId: 'd', epoch: 9, remindAt: null, revoked: false },
  ])
  expect(held).toMatchObject([
    { epoch: 5, deviceIds: ['a', 'c'], remindAt: '2026-01-02T00:00:00Z', overdue: true },
    { epoch: 9, deviceIds: ['b'], remindAt: null, overdue: false },
  ])
})

it('puts each minute of the last hour in its place, and leaves out what is older', () => {
  const nowMs = Date.parse('2026-01-01T12:00:30Z')
  const at = (minutesAgo: number) => new Date(nowMs - minutesAgo * 60_000).toISOString()
  const one = (boundary: string | null, allowed: boolean, count: number) => ({ boundary, allowed, count })
  const series = rateSeries(
    {
      minutes: [
        { at: at(60), counts: [one('tool', true, 100), one('resume', true, 1)] },
        { at: at(59), counts: [one('tool', true, 1)] },
        { at: at(0), counts: [one(null, true, 2), one('tool', false, 3), one('startup', true, 4)] },
        // Its clock is ahead of ours.
        { at: at(-1), counts: [one('tool', false, 5)] },
      ],
    },
    nowMs,
  )
  expect(series.map(({ boundary }) => boundary)).toEqual(['startup', 'tool', null])
  const tool = series[1]
  expect(tool).toMatchObject({ allowedInAll: 1, deniedInAll: 8 })
  expect([tool?.allowed.length, tool?.allowed[0], tool?.denied[MINUTES - 1]]).toEqual([MINUTES, 1, 8])
  expect(highest(series)).toBe(8)
})

it('keeps the session at most once a minute, and says two minutes before it ends', () => {
  const nowMs = Date.parse('2026-01-01T12:00:00Z')
  const inMs = (ms: number) => new Date(nowMs + ms).toISOString()
  const fresh = { idleAt: inMs(3_600_000), endsAt: inMs(40_000_000) }
  expect(isRefreshDue(fresh, nowMs - 59_999, nowMs)).toBe(false)
  expect(isRefreshDue(fresh, nowMs - 60_000, nowMs)).toBe(true)
  expect(endingSoon(fresh, nowMs)).toBeUndefined()
  const idle = { ...fresh, idleAt: inMs(119_000) }
  expect(endingSoon(idle, nowMs)).toEqual({ why: 'idle', at: idle.idleAt })
  expect(isRefreshDue(idle, nowMs - 10_000, nowMs)).toBe(true)
  const old = { idleAt: inMs(60_000), endsAt: inMs(60_000) }
  expect(endingSoon(old, nowMs)).toEqual({ why: 'age', at: old.endsAt })
})

it('calls a stop confirmed only when every replica has confirmed it', () => {
  const replica = (state: 'confirmed' | 'silent', unknown = 0) =>
    ({ state, unknown }) as Parameters<typeof verdictOf>[0]['replicas'][number]
  expect(verdictOf({ state: 'confirmed', replicas: [replica('confirmed')] })).toEqual({
    look: 'good',
    words: 'Confirmed by the one replica',
  })
  expect(verdictOf({ state: 'confirmed', replicas: [replica('confirmed', 1)] })).toEqual({
    look: 'warn',
    words: 'Confirmed by the one replica. Of 1 effect nobody knows whether it happened: see Runs',
  })
  expect(verdictOf({ state: 'unconfirmed', replicas: [replica('confirmed'), replica('silent')] })).toEqual({
    look: 'warn',
    words: 'It holds. Not confirmed yet by 1 of 2 replicas',
  })
})

it('says how long ago something was, never as if it were to come, and counts days of 24 hours', () => {
  const nowMs = Date.parse('2026-01-08T01:00:00Z')
  const told = [0, -900, 900, -12_000, -90_000, 7_200_000, -33 * 3_600_000].map((ms) =>
    relativeTime(nowMs + ms, nowMs),
  )
  expect(told).toEqual(['now', 'now', 'now', '12 sec. ago', '1 min. ago', 'in 2 hr.', '1 day ago'])
})
