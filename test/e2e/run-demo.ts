import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

const DEMO = join(import.meta.dirname, '../../demo/demo.ts')

export interface DemoRun {
  readonly output: string
  readonly status: number
  /** Its rows, a step each, and what follows them. */
  readonly table: readonly string[]
}

/** As `npm run demo`, on the scripted model. */
export async function runDemo(...args: readonly string[]): Promise<DemoRun> {
  const { OPENAI_API_KEY: _none, ...env } = process.env
  const child = spawn(process.execPath, ['--conditions=holdpoint-source', DEMO, ...args], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const [status] = (await once(child, 'close')) as [number]
  return { output, status, table: output.slice(output.indexOf('──')).split('\n').slice(1) }
}
