import { describe, expect, it } from 'vitest'

import { ApiError } from '../../src/console/api/api-error.ts'
import {
  countOutcomes,
  resultsText,
  runBatch,
  whyNot,
  type DeviceResult,
} from '../../src/console/pages/devices/batch.ts'
import { lockCommand } from '../../src/console/pages/devices/commands.ts'
import { filterOf, matching, rowOf, withFilter } from '../../src/console/pages/devices/device-filter.ts'
import {
  patternOf,
  pinnedBy,
  segmentsOf,
  surfacePatternOf,
} from '../../src/console/pages/devices/device-id.ts'
import {
  CODES,
  denialsOf,
  inWords,
  type Device,
  type Lock,
} from '../../src/console/pages/devices/device-state.ts'
import { movedBetween } from '../../src/console/pages/devices/dialogs/epoch-moved.ts'
import { heldBy, reasonOf } from '../../src/console/pages/devices/locks-of.ts'
import { extended, NOTHING, toggled, withAll, without } from '../../src/console/pages/devices/selection.ts'
import { moveOf } from '../../src/console/pages/devices/table/grid-move.ts'
import { patternsMatching } from '../../src/control-plane/patterns.ts'
import { matchesDevicePattern } from '../../src/device-patterns.ts'
import { decide } from '../../src/control-plane/rules.ts'

const ON = { disabled: false, planState: 'active' }

function device(deviceId: string, about: Partial<Device> = {}): Device {
  return {
    deviceId,
    status: 'active',
    revoked: false,
    locked: false,
    epoch: 0,
    slot: 1,
    overLimit: false,
    reason: null,
    remindAt: null,
    overdue: false,
    labels: {},
    createdAt: '2026-01-01T00:00:00.000Z',
    changedAt: '2026-01-01T00:00:00.000Z',
    lastSeen: null,
    ...about,
  }
}

function lock(pattern: string, about: Partial<Lock> = {}): Lock {
  return {
    lockId: pattern,
    pattern,
    active: true,
    epoch: 1,
    reason: `because of ${pattern}`,
    by: 'k1',
    remindAt: null,
    overdue: false,
    createdAt: '2026-01-01T00:00:00.000Z',
    changedAt: '2026-01-01T00:00:00.000Z',
    ...about,
  }
}

describe('a device ID', () => {
  it('is taken apart into its segments, whatever it has too few or too many of', () => {
    expect(segmentsOf('agent:prod:payments:01:b')).toEqual({
      service: 'agent',
      env: 'prod',
      surface: 'payments',
      instance: '01:b',
    })
    expect(segmentsOf('laptop')).toEqual({ service: 'laptop', env: '', surface: '', instance: '' })
  })

  it('gives the pattern of its whole surface, and only its own where it names none', () => {
    expect(surfacePatternOf('agent:prod:payments:01')).toBe('agent:prod:payments:*')
    expect(surfacePatternOf('agent:prod:payments')).toBe('agent:prod:payments')
    expect(patternOf({ surface: 'payments' })).toBe('*:*:payments:*')
    expect(patternOf({})).toBe('')
    expect(pinnedBy('*:prod:payments:*')).toEqual({
      service: '',
      env: 'prod',
      surface: 'payments',
      instance: '',
    })
  })

  it('matches exactly the patterns that the control plane says it matches', () => {
    const texts = [
      'a',
      '*',
      'a:b',
      'a:*',
      '*:b',
      '*:*',
      'a:b:c',
      'a:*:c',
      'a:b:*',
      '*:*:*',
      'a:b:c:d',
      'a:b:*:d',
    ]
    for (const pattern of texts)
      for (const id of texts)
        expect([pattern, id, matchesDevicePattern(pattern, id)]).toEqual([
          pattern,
          id,
          patternsMatching(id).includes(pattern),
        ])
  })
})

describe('the state of a device', () => {
  it('is the one that the rules of the control plane would answer', () => {
    const all = [false, true]
    for (const disabled of all)
      for (const planState of ['active', 'canceled', 'frozen', 'unpaid'] as const)
        for (const revoked of all)
          for (const locked of all)
            for (const overLimit of all) {
              const [first] = denialsOf(device('a:b:c:d', { revoked, locked, overLimit }), {
                disabled,
                planState,
              })
              const ruled = decide({
                orgDisabled: disabled,
                planState,
                cap: 3,
                device: { removed: false, revoked, slot: overLimit ? 4 : 3 },
                locked,
              })
              expect(first === undefined ? 'ALLOW' : CODES[first]).toBe(ruled)
            }
  })

  it('is told in words, with what would deny it after that', () => {
    expect(inWords([])).toEqual({ told: 'allowed', also: '' })
    expect(inWords(['org_off', 'revoked', 'locked'])).toEqual({
      told: 'org is off',
      also: 'also revoked, locked',
    })
  })

  it('has the reason of what holds it, and none of a restore', () => {
    const locks = [lock('a:*', { active: false }), lock('a:b:*')]
    expect(
      reasonOf(device('a:b:c', { revoked: true, locked: true, reason: 'paid twice' }), locks, null),
    ).toBe('paid twice')
    expect(reasonOf(device('a:b:c', { locked: true, reason: 'fixed' }), locks, null)).toBe('because of a:b:*')
    expect(reasonOf(device('a:b:c', { reason: 'fixed' }), locks, 'incident')).toBe('incident')
  })

  it('after the release of a lock counts as allowed only where nothing else denies it', () => {
    const devices = [
      device('a:b:c:1', { locked: true }),
      device('a:b:c:2', { locked: true, revoked: true }),
      device('a:b:d:1', { locked: true }),
      device('x:b:c:1'),
    ]
    const locks = [lock('a:*'), lock('*:*:d:*')]
    const { held, freed } = heldBy(lock('a:*'), { devices, locks, org: ON })
    expect(held.map((one) => one.deviceId)).toEqual(['a:b:c:1', 'a:b:c:2', 'a:b:d:1'])
    expect(freed.map((one) => one.deviceId)).toEqual(['a:b:c:1'])
  })
})

describe('the filter', () => {
  const nowMs = Date.parse('2026-06-01T12:00:00.000Z')
  const rows = [
    device('agent:prod:email:01', { labels: { team: 'Billing' } }),
    device('agent:prod:payments:01', { revoked: true, reason: 'Paid twice' }),
    device('agent:prod:payments:02', {
      lastSeen: { at: '2026-06-01T11:59:00.000Z', code: 'ALLOW', keyId: 'k' },
    }),
    device('crm:staging:payments:01', { locked: true, overdue: true }),
  ].map((one, index) => rowOf(one, denialsOf(one, ON), index % 2))
  const found = (query: string) =>
    matching(rows, filterOf(new URLSearchParams(query)), nowMs).map(({ device: { deviceId } }) => deviceId)

  it('finds by segments, state, words of ID, reason and labels, and by what is overdue or silent', () => {
    expect(found('surface=payments&state=revoked')).toEqual(['agent:prod:payments:01'])
    expect(found('q=BILLING team')).toEqual(['agent:prod:email:01'])
    expect(found('q=twice')).toEqual(['agent:prod:payments:01'])
    expect(found('state=denied')).toEqual(['agent:prod:payments:01', 'crm:staging:payments:01'])
    expect(found('overdue=true')).toEqual(['crm:staging:payments:01'])
    expect(found('silent=3600&env=prod')).toEqual(['agent:prod:email:01', 'agent:prod:payments:01'])
  })

  it('finds a revoked device also while the switch of the org is what is told first', () => {
    const off = { disabled: true, planState: 'active' }
    const all = rows.map((row) => rowOf(row.device, denialsOf(row.device, off), 0))
    const filter = filterOf(new URLSearchParams('state=revoked'))
    expect(matching(all, filter, nowMs).map((row) => row.device.deviceId)).toEqual(['agent:prod:payments:01'])
  })

  it('sorts by what is asked for, then by ID', () => {
    expect(found('sort=-inFlight')).toEqual([
      'agent:prod:payments:01',
      'crm:staging:payments:01',
      'agent:prod:email:01',
      'agent:prod:payments:02',
    ])
    expect(found('sort=-seen')[0]).toBe('agent:prod:payments:02')
    expect(found('sort=-state').slice(0, 2)).toEqual(['agent:prod:payments:01', 'crm:staging:payments:01'])
  })

  it('keeps to the address what it knows, leaves the rest of it alone, and ignores what it does not know', () => {
    const params = new URLSearchParams('surface=payments&state=nonsense&sort=-seen&silent=x&device=a:b')
    const filter = filterOf(params)
    expect(filter).toMatchObject({
      state: undefined,
      silentSeconds: undefined,
      sort: 'seen',
      descending: true,
    })
    expect(withFilter(params, { ...filter, state: 'revoked', surface: '' }).toString()).toBe(
      'state=revoked&sort=-seen&device=a%3Ab',
    )
  })
})

describe('the selection', () => {
  const shown = ['a', 'b', 'c', 'd', 'e']
  it('goes from the last one that was chosen to the one that is chosen with shift, both ways', () => {
    const anchored = toggled(NOTHING, 'd')
    expect([...extended(anchored, 'b', shown).ids]).toEqual(['d', 'b', 'c'])
    expect([...extended(extended(anchored, 'e', shown), 'c', shown).ids]).toEqual(['d', 'e', 'c'])
    expect([...extended(NOTHING, 'b', shown).ids]).toEqual(['b'])
  })

  it('takes and leaves all that match, and nothing else', () => {
    const all = withAll(toggled(NOTHING, 'hidden'), shown)
    expect(all.ids.size).toBe(6)
    expect([...without(all, shown).ids]).toEqual(['hidden'])
  })

  it('is moved in by keys, and never past its ends', () => {
    const from = { row: 0, column: 1, count: 3, page: 10 }
    expect(moveOf('ArrowUp', from)).toEqual({ row: 0, column: 1 })
    expect(moveOf('PageDown', from)).toEqual({ row: 2, column: 1 })
    expect(moveOf('ArrowRight', from)).toEqual({ row: undefined, column: 2 })
    expect(moveOf('a', from)).toBeUndefined()
  })
})

describe('a batch', () => {
  const items = ['a', 'b', 'c', 'd', 'e'].map((deviceId) => ({ deviceId }))
  const done = (chunk: readonly { deviceId: string }[]): readonly DeviceResult[] =>
    chunk.map(({ deviceId }) => ({ deviceId, outcome: 'done' }))
  const failing = (status: number) => new ApiError({ code: 'FAILED', message: 'It failed.', status })
  const batch = async (
    failAt: string,
    error: unknown,
    chunkSize = 2,
    signal = new AbortController().signal,
  ) => {
    const calls: string[] = []
    const progress: number[] = []
    const results = await runBatch({
      items,
      chunkSize,
      signal,
      onProgress: (at) => progress.push(at),
      run: (chunk) => {
        calls.push(chunk.map(({ deviceId }) => deviceId).join(''))
        return chunk.some(({ deviceId }) => deviceId === failAt)
          ? Promise.reject(error)
          : Promise.resolve(done(chunk))
      },
    })
    return { calls, progress, outcomes: results.map(({ outcome }) => outcome), results }
  }

  it('goes in chunks, one after the other, and tells how far it is', async () => {
    const { calls, progress, outcomes } = await batch('none', undefined)
    expect(calls).toEqual(['ab', 'cd', 'e'])
    expect(progress).toEqual([2, 4, 5])
    expect(outcomes).toEqual(['done', 'done', 'done', 'done', 'done'])
  })

  it('ends with a chunk that got no answer: what of it was made is not known, and nothing is repeated', async () => {
    const { calls, outcomes } = await batch('c', failing(0))
    expect(calls).toEqual(['ab', 'cd'])
    expect(outcomes).toEqual(['done', 'done', 'unknown', 'unknown', 'not_tried'])
    expect((await batch('c', failing(500))).outcomes).toEqual(outcomes)
  })

  it('ends with a refusal that would meet the next one too, and goes on after one that is about a device', async () => {
    expect((await batch('c', failing(403))).outcomes).toEqual([
      'done',
      'done',
      'refused',
      'refused',
      'not_tried',
    ])
    expect((await batch('c', failing(404), 1)).outcomes).toEqual(['done', 'done', 'refused', 'done', 'done'])
  })

  it('does not swallow a fault of the page, and ends when somebody ends it', async () => {
    await expect(batch('c', new TypeError('bug'))).rejects.toThrow('bug')
    expect((await batch('none', undefined, 2, AbortSignal.abort())).outcomes).toEqual(
      items.map(() => 'not_tried'),
    )
  })

  it('counts what became of each, says why not, and gives no formula to a spreadsheet', () => {
    const results: DeviceResult[] = [
      { deviceId: '-1:cmd', outcome: 'done', stillDeniedBy: ['DEVICE_LOCKED'] },
      { deviceId: 'b', outcome: 'refused', code: 'EPOCH_STALE' },
    ]
    expect(countOutcomes(results)).toEqual({ done: 1, refused: 1, unknown: 0, not_tried: 0 })
    expect(whyNot({ deviceId: 'b', outcome: 'refused', code: 'EPOCH_STALE' })).toMatch(
      /changed it after it was shown/,
    )
    expect(resultsText(results).split('\n')).toEqual([
      'device\tresult\tcode\tstill denied by',
      "'-1:cmd\tdone\t\tDEVICE_LOCKED",
      'b\trefused\tEPOCH_STALE\t',
    ])
  })

  it('notices that the epoch of the org moved by more than its own calls', () => {
    expect(movedBetween(4, 5, 1)).toBe(false)
    expect(movedBetween(4, 6, 1)).toBe(true)
    expect(movedBetween(undefined, 6, 1)).toBe(false)
  })
})

it('a command line quotes what a shell would read', () => {
  expect(lockCommand('a:*')).toBe("npx holdpoint lock add 'a:*' --reason 'why'")
  expect(lockCommand("a:$(x)'b")).toBe(`npx holdpoint lock add 'a:$(x)'\\''b' --reason 'why'`)
})
