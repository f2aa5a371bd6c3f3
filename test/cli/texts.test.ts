import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { isAllStars, matchesDevicePattern } from '../../src/device-patterns.ts'
import { table } from '../../src/cli/table.ts'
import { createPaint, shown, spin } from '../../src/cli/terminal.ts'
import { durationSeconds, span, when } from '../../src/cli/times.ts'
import { patternsMatching } from '../../src/control-plane/patterns.ts'
import { PassThrough } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'

const paint = createPaint(false)

test('patterns match as the control plane matches them', () => {
  const segment = fc.constantFrom('a', 'b', '*')
  const pattern = fc.array(segment, { minLength: 1, maxLength: 5 }).map((parts) => parts.join(':'))
  const device = fc
    .array(fc.constantFrom('a', 'b'), { minLength: 1, maxLength: 6 })
    .map((parts) => parts.join(':'))
  fc.assert(
    fc.property(pattern, device, (one, id) => {
      expect(matchesDevicePattern(one, id)).toBe(patternsMatching(id).includes(one))
    }),
    { numRuns: 2000 },
  )
  expect([isAllStars('*:*'), isAllStars('*:a')]).toEqual([true, false])
})

describe('times', () => {
  const nowMs = () => Date.parse('2026-01-02T00:00:00Z')
  test.each([
    ['2026-01-01T23:57:00Z', '3 m ago'],
    ['2026-01-01T22:59:00Z', '1 h ago'],
    ['2025-12-28T00:00:00Z', '5 d ago'],
    ['2026-01-02T02:00:00Z', 'in 2 h'],
    ['2026-01-02T00:00:00.400Z', 'now'],
    [null, '-'],
  ])('%s on a terminal is %s, and in a pipe as it came', (iso, expected) => {
    expect(when(iso, { columns: 80, nowMs })).toBe(expected)
    expect(when(iso, { columns: undefined, nowMs })).toBe(iso ?? '')
  })

  test.each([
    ['90s', 90],
    ['30m', 1800],
    ['2h', 7200],
    ['1d', 86_400],
  ])('%s is %d seconds', (text, seconds) => expect(durationSeconds(text, '--x')).toBe(seconds))

  test.each(['', '5', 'm', '1w', '-1m', '1.5h', '1 h'])('%j is no time', (text) =>
    expect(() => durationSeconds(text, '--x')).toThrow('--x takes a time'),
  )

  test('spans', () => expect([span(850), span(59_999), span(3_600_000)]).toEqual(['850 ms', '59 s', '1 h']))
})

describe('tables', () => {
  const columns = [
    { title: 'ID', of: (row: readonly string[]) => row[0] ?? '' },
    { title: 'WHY', of: (row: readonly string[]) => row[1] ?? '', shrinks: true },
  ]
  const rows = [
    ['a:b:c:1', 'a reason that is far too long for a narrow terminal'],
    ['x', 'two\nlines\tand a tab'],
  ]

  test('in a pipe: whole, one tab between cells, one line for each row', () => {
    expect(table(rows, columns, { columns: undefined, paint })).toBe(
      'ID\tWHY\na:b:c:1\ta reason that is far too long for a narrow terminal\nx\ttwo lines and a tab',
    )
  })

  test('on a terminal: aligned and cut to its width, but never an ID', () => {
    const lines = table(rows, columns, { columns: 30, paint }).split('\n')
    expect(lines).toEqual(['ID       WHY', 'a:b:c:1  a reason that is far…', 'x        two lines and a tab'])
    expect(table(rows, columns, { columns: 5, paint }).split('\n')[1]).toMatch(/^a:b:c:1 {2}a reaso…$/)
  })
})

describe('what is shown', () => {
  test('steers no terminal and shows no key', () => {
    const bad =
      '\u001B[31mred\u001B[39m \u001B]8;;http://x\u0007 \u009B31m \u202Eback \u001B[2J\r org_admin_abcdefgh'
    expect(shown(bad)).toBe(
      '\u001B[31mred\u001B[39m \uFFFD]8;;http://x\uFFFD \uFFFD31m \uFFFDback \uFFFD[2J\uFFFD org_[redacted]',
    )
  })

  test('what others wrote hides nothing and paints nothing over: only our own colours pass', () => {
    for (const code of [5, 7, 8, 30, 40, 90, 97])
      expect(shown(`\u001B[${code}mthe rest`)).toBe(`\uFFFD[${code}mthe rest`)
    const { bold, dim, red, green, yellow } = createPaint(true)
    for (const one of [bold, dim, red, green, yellow]) expect(shown(one('x'))).toBe(one('x'))
  })

  test('progress shows after a second, on one line, and goes away', async () => {
    const out = Object.assign(new PassThrough(), { columns: 40 })
    let text = ''
    out.on('data', (chunk: Buffer) => (text += chunk.toString()))
    const quick = spin(out, 'quick')
    await sleep(50)
    quick.end()
    expect(text).toBe('')
    const slow = spin(out, 'slow\u001B]0;x\u0007')
    await sleep(1150)
    slow.update('slower')
    slow.end()
    await sleep(10)
    expect(text).toMatch(/slow\uFFFD[^]*slower/)
    expect(text).not.toContain('\n')
    expect(text.endsWith('\r\u001B[2K')).toBe(true)
  })
})
