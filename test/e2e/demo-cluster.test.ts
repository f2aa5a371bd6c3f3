import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { expect, test } from 'vitest'

import { noPostgres } from '../fixtures/postgres.ts'

const DEMO = join(import.meta.dirname, '../../demo/demo.ts')

test.skipIf(noPostgres)(
  'npm run demo -- --cluster: every step is as expected with nodes, tool servers and Postgres killed in mid-work',
  { timeout: 120_000 },
  async () => {
    const { OPENAI_API_KEY: _none, ...env } = process.env
    const child = spawn(process.execPath, ['--conditions=holdpoint-source', DEMO, '--cluster'], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let output = ''
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
    const [status] = await once(child, 'close')
    expect(output).toContain('Every step was as expected.')
    expect(status).toBe(0)
    const table = output.slice(output.indexOf('──')).split('\n').slice(1, 20)
    expect(table.every((row) => row.startsWith('ok  '))).toBe(true)
    expect(table).toHaveLength(19)
    // The stop that one node was told of, and the run that another server goes on with.
    expect(output).toContain('ok  denied by 3 of 3 nodes')
    expect(output).toMatch(/tool-server-1 had it, interrupted, and is gone\n {2}ok {2}completed, paid once/)
    expect(Math.max(...output.split('\n').map((line) => line.length))).toBeLessThan(125)
  },
)
