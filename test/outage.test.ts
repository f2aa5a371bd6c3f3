import { expect, test } from 'vitest'

import { createLogger } from '../src/log.ts'
import { createOutage } from '../src/outage.ts'

test('what fails each second is told once, and once more when it is over', () => {
  const lines: Record<string, unknown>[] = []
  const destination = {
    write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>),
  }
  const outage = createOutage(createLogger({ destination }), 'housekeeping failed')
  outage.worked()
  for (const message of ['away', 'away', 'starting up']) outage.failed(new Error(message))
  outage.worked()
  outage.worked()
  outage.failed(new Error('away again'))
  expect(lines).toMatchObject([
    { level: 'error', msg: 'housekeeping failed; another line will say when that is over', reason: 'away' },
    { level: 'info', msg: 'over: housekeeping failed', after_ms: expect.any(Number) },
    { level: 'error', reason: 'away again' },
  ])
})
