import { expect, test } from 'vitest'

import { csvLine } from '../src/csv.ts'

test('a line for a spreadsheet, in which nothing of others is a formula', () => {
  expect(csvLine(['=1+1', -5, null, 'x;=2', 'line\n+3', '＝4'])).toBe(`'=1+1,-5,,x;'=2,"line\n'+3",'＝4\r\n`)
  expect(csvLine(['a"b,c', { of: 'JSON' }])).toBe('"a""b,c","{""of"":""JSON""}"\r\n')
})
