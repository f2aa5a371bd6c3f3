import { expect, test } from 'vitest'

import { noPostgres } from '../fixtures/postgres.ts'
import { runDemo } from './run-demo.ts'

test.skipIf(noPostgres)(
  'npm run demo -- --cluster: every step is as expected with nodes, tool servers and Postgres killed in mid-work',
  { timeout: 120_000 },
  async () => {
    const { output, status, table: rows } = await runDemo('--cluster')
    expect(output).toContain('Every step was as expected.')
    expect(status).toBe(0)
    const table = rows.slice(0, 19)
    expect(table.every((row) => row.startsWith('ok  '))).toBe(true)
    expect(table).toHaveLength(19)
    // The stop that one node was told of, and the run that another server goes on with.
    expect(output).toContain('ok  denied by 3 of 3 nodes')
    expect(output).toMatch(/tool-server-1 had it, interrupted, and is gone\n {2}ok {2}completed, paid once/)
    expect(Math.max(...output.split('\n').map((line) => line.length))).toBeLessThan(125)
  },
)
