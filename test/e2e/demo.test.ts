import { expect, test } from 'vitest'

import { runDemo } from './run-demo.ts'

test(
  'npm run demo: every step is as expected, status 0, and the table says so',
  { timeout: 60_000 },
  async () => {
    const { output, status, table: rows } = await runDemo()
    expect(output).toContain('Every step was as expected.')
    expect(status).toBe(0)
    const table = rows.slice(0, 13)
    expect(table.every((row) => row.startsWith('ok  '))).toBe(true)
    expect(table).toHaveLength(13)
    expect(output).toMatch(/calls that began after the acknowledgement: [1-9]\d*, of which ran: 0/)
    // The hosted run: denied at resume with the authority's request id, and paid once.
    expect(output).toMatch(/waits for a person: send_payment \{"invoiceId":"INV-1010","amountCents":\d+\}/)
    expect(output).toMatch(/denied at resume, request [0-9a-f-]{36}; the run stays as it was/)
    expect(output).toContain('ok  409 RUN_ENDED, paid once')
    expect(Math.max(...output.split('\n').map((line) => line.length))).toBeLessThan(125)
  },
)
