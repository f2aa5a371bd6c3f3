import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { matchesDevicePattern } from '../../src/device-patterns.ts'
import { devicePatternRange, devicePatternRegex } from '../../src/store/device-pattern-regex.ts'
import { noPostgres, startPostgres, type TestPostgres } from '../fixtures/postgres.ts'

/** IDs and patterns that often fit, with whatever else anybody may send. */
const text = fc
  .array(
    fc.oneof(
      { weight: 4, arbitrary: fc.constantFrom('a', 'b', '*', '') },
      fc.constantFrom(
        'a*',
        '**',
        '.',
        'a.b',
        '^',
        '$',
        '(a|b)',
        '[ab]',
        '\\',
        '\\d',
        '{2}',
        '+',
        '?',
        '***',
        '(?i)',
        '\n',
        'A',
        'ü',
        '\u{1F6D1}',
      ),
    ),
    { minLength: 1, maxLength: 5 },
  )
  .map((segments) => segments.join(':'))

describe('a device pattern as a regular expression', () => {
  test('matches what the pattern matches', () => {
    fc.assert(
      fc.property(text, text, (pattern, deviceId) => {
        const regex = new RegExp(devicePatternRegex(pattern), 'su')
        expect(regex.test(deviceId)).toBe(matchesDevicePattern(pattern, deviceId))
      }),
      { numRuns: 5000 },
    )
  })

  describe.skipIf(noPostgres)('in Postgres', () => {
    let server: TestPostgres
    beforeAll(async () => {
      server = await startPostgres()
    })
    afterAll(() => server.close())

    test('does so too, within its range of byte order', async () => {
      const pairs = fc.sample(fc.tuple(text, text), 5000).map(([pattern, deviceId]) => {
        const [first, last] = devicePatternRange(pattern)
        return { pattern, device_id: deviceId, regex: devicePatternRegex(pattern), first, last }
      })
      const found = await server.query(
        server.url,
        `SELECT (device_id ~ regex AND device_id COLLATE "C" BETWEEN first AND last) AS matches
         FROM json_to_recordset($1::json) AS pair(device_id text, regex text, first text, last text)`,
        [JSON.stringify(pairs)],
      )
      const wrong = pairs.filter(
        ({ pattern, device_id }, index) =>
          matchesDevicePattern(pattern, device_id) !== found[index]?.['matches'],
      )
      expect(wrong).toEqual([])
      expect(found.filter(({ matches }) => matches).length).toBeGreaterThan(100)
    })
  })
})
