import { describe, expect, test } from 'vitest'

import { countdown, whyNot } from '../../src/console/pages/approvals/approval-words.ts'
import { MAX_KEPT, merged, type Decision } from '../../src/console/pages/decisions/feed-list.ts'
import { timelineOf } from '../../src/console/pages/runs/timeline.ts'
import { idOfPath } from '../../src/console/ui/id-of-path.ts'
import { prettyJson } from '../../src/console/ui/pretty-json.ts'

describe('the arguments of a call, for reading', () => {
  test.each([
    '{"amountCents":27450,"invoiceId":"INV-1"}',
    '{"a":{},"b":[],"c":[1,{"d":"x, {y}: [z] \\" \\\\"}],"n":1e400,"n":12345678901234567890}',
    '"open string \\',
    'no JSON } at all ]]',
  ])('nothing but space outside of strings is added: %s', (text) => {
    const pretty = prettyJson(text)
    const strings = /"(?:[^"\\]|\\.)*"?/gsu
    const bare = (json: string) => json.replace(strings, '').replace(/\s/gu, '')
    expect(pretty.match(strings)).toEqual(text.match(strings))
    expect(bare(pretty)).toBe(bare(text))
  })
  test('each value has its line', () => {
    expect(prettyJson('{"a":[1,2],"b":{}}')).toBe('{\n  "a": [\n    1,\n    2\n  ],\n  "b": {}\n}')
  })
})

describe('deciding on a call', () => {
  const nowMs = Date.parse('2026-01-01T00:00:00Z')
  const approval = { state: 'waiting' as const, expiresAt: '2026-01-01T00:01:05Z' }
  const free = { approval, orgDisabled: false, mayDecide: true, kind: 'operator', nowMs }
  test('counts down to its expiry', () => {
    expect(countdown(approval.expiresAt, nowMs)).toBe('01:05')
    expect(countdown('2026-01-01T02:00:00Z', nowMs)).toBe('2:00:00')
    expect(countdown(approval.expiresAt, nowMs + 65_000)).toBe('')
  })
  test('is offered only to those who may, before it expires, while the org is enabled, and says why not', () => {
    expect(whyNot(free)).toBeUndefined()
    expect(whyNot({ ...free, mayDecide: false, kind: 'viewer' })).toMatch(/kind viewer/)
    expect(whyNot({ ...free, orgDisabled: true })).toMatch(/org is disabled/)
    expect(whyNot({ ...free, nowMs: nowMs + 65_000 })).toMatch(/expired/)
  })
})

describe('the timeline of a run', () => {
  const step = (type: string, detail: Record<string, string | number | null> = {}) => ({
    at: '2026-01-01T00:00:00.000Z',
    type,
    detail,
  })
  const held = (call: string | null, boundary = 'tool') =>
    step('held', { boundary, surface: 's', call_id: call })
  const decided = (type: 'allowed' | 'denied', call: string | null, id: string, boundary = 'tool') =>
    step(type, {
      boundary,
      surface: 's',
      call_id: call,
      code: 'C',
      request_id: id,
      device_id: 'd',
      latency_ms: 2,
    })

  test('keeps each call together although two went on side by side, and each hold point with its decision', () => {
    const groups = timelineOf([
      step('run_started'),
      held(null, 'task'),
      step('tool_called', { call_id: 'one', tool: 'pay' }),
      step('tool_called', { call_id: 'two', tool: 'mail' }),
      held('one'),
      held('two'),
      decided('allowed', null, 'late', 'task'),
      decided('denied', 'two', 'id-2'),
      decided('allowed', 'one', 'id-1'),
      held('one', 'side_effect'),
      step('run_ended', { status: 'completed' }),
    ])
    expect(groups.map(({ callId, tool }) => [callId, tool])).toEqual([
      [null, null],
      ['one', 'pay'],
      ['two', 'mail'],
      [null, null],
    ])
    expect(groups[0]?.entries[1]).toMatchObject({ is: 'hold', decision: { requestId: 'late' } })
    expect(groups[1]?.entries.slice(1)).toMatchObject([
      { boundary: 'tool', deviceId: 'd', decision: { allowed: true, requestId: 'id-1', latencyMs: 2 } },
      { boundary: 'side_effect', decision: undefined },
    ])
    expect(groups[2]?.entries[1]).toMatchObject({
      decision: { allowed: false, code: 'C', requestId: 'id-2' },
    })
  })
  test('a decision whose hold point is no longer kept stands by itself', () => {
    expect(timelineOf([decided('denied', 'one', 'id')])[0]?.entries).toMatchObject([
      { is: 'hold', decision: { requestId: 'id' } },
    ])
  })
})

describe('the list of decisions', () => {
  const decision = (n: number) =>
    ({ request_id: `r${n}`, deviceId: 'd', at: new Date(n * 1000).toISOString() }) as Decision
  test('has each decision once, the newest first, and no more than are kept', () => {
    const some = merged([decision(2), decision(1)], [decision(3), decision(2)])
    expect(some.map(({ request_id: id }) => id)).toEqual(['r3', 'r2', 'r1'])
    const many = merged(
      [],
      Array.from({ length: MAX_KEPT + 5 }, (_, n) => decision(n)),
    )
    expect(many).toHaveLength(MAX_KEPT)
    expect(many[0]?.request_id).toBe(`r${MAX_KEPT + 4}`)
  })
  test('two devices of one question are two decisions', () => {
    const other = { ...decision(1), deviceId: 'e' }
    expect(merged([decision(1)], [other])).toHaveLength(2)
  })
})

test('an id is read out of the address as it was put in', () => {
  const hostile = 'a/b%2F?x=1#y z'
  expect(idOfPath(`/console/runs/${encodeURIComponent(hostile)}`)).toBe(hostile)
  expect(idOfPath('/console/runs/100%')).toBe('100%')
})
