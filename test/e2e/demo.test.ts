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
    const table = output.slice(output.indexOf('──')).split('\n').slice(1, 14)
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
