import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const DEMO = join(import.meta.dirname, '../../demo/demo.ts')

test(
  'npm run demo: every step is as expected, status 0, and the table says so',
  { timeout: 60_000 },
  async () => {
    const { OPENAI_API_KEY: _none, ...env } = process.env
    const child = spawn(process.execPath, ['--conditions=holdpoint-source', DEMO], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let output = ''
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
    const [status] = await once(child, 'close')
    expect(output).toContain('Every step was as expected.')
    expect(status).toBe(0)
    const table = output.slice(output.indexOf('──')).split('\n').slice(1, 13)
    expect(table.every((row) => row.startsWith('ok  '))).toBe(true)
    expect(table).toHaveLength(12)
    expect(output).toMatch(/calls that began after the acknowledgement: [1-9]\d*, of which ran: 0/)
    expect(Math.max(...output.split('\n').map((line) => line.length))).toBeLessThan(125)
  },
)
