// Runs the command line in this process, against a real control plane:
//
//   await using authority = await startTestLanes()
//   const { status, stdout, stderr, json } = await run(['devices', 'ls'], { authority })
//
// Piped unless `terminal` is set; with `answer` somebody answers what it asks.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'

import type { Env } from '../../src/config.ts'
import { runCli } from '../../src/cli/run-cli.ts'
import type { KeyKind } from '../../src/machineid/wire.ts'
import type { TestControlPlane } from '../fixtures/control-plane.ts'

export interface RunOptions {
  readonly authority?: TestControlPlane
  /** HOLDPOINT_KEY. Default: none, so that the keys of `operator.json` are taken. */
  readonly key?: string
  readonly env?: Env
  /** Columns of the terminal that standard output and error are. Default: both are pipes. */
  readonly terminal?: number
  /** What somebody types. Default: nobody is there. */
  readonly answer?: string
  /** What happens after the question and before the answer. */
  readonly beforeAnswer?: () => Promise<unknown>
  readonly signal?: AbortSignal
}

export interface Ran {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into answers of every shape
  readonly json: () => any
}

export async function run(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const { authority, key, env = {}, terminal, answer, signal = new AbortController().signal } = options
  const stdout = collector(terminal)
  const stderr = collector(terminal ?? (answer === undefined ? undefined : 100))
  const stdin = Object.assign(new PassThrough(), { isTTY: answer !== undefined })
  if (answer === undefined) stdin.end()
  else
    stderr.onText('[y/N]', async () => {
      await options.beforeAnswer?.()
      stdin.write(`${answer}\n`)
    })
  const status = await runCli(args, {
    env: {
      DATA_DIR: authority === undefined ? '/nonexistent' : operatorFiles(authority),
      ...(authority !== undefined && { CONSOLE_URL: authority.operatorUrl }),
      ...(key !== undefined && { HOLDPOINT_KEY: key }),
      ...env,
    },
    stdin,
    stdout: stdout.stream,
    stderr: stderr.stream,
    signal,
  })
  return {
    status,
    stdout: stdout.text(),
    stderr: stderr.text(),
    json: () => JSON.parse(stdout.text()) as unknown,
  }
}

function collector(columns: number | undefined) {
  const stream = Object.assign(
    new PassThrough(),
    columns === undefined ? { isTTY: false } : { isTTY: true, columns },
  )
  let text = ''
  stream.on('data', (chunk: Buffer) => (text += chunk.toString()))
  const onText = (wanted: string, then: () => Promise<void>) => {
    const look = () => {
      if (!text.includes(wanted)) return
      stream.off('data', look)
      void then()
    }
    stream.on('data', look)
  }
  return { stream, text: () => text, onText }
}

export const PLATFORM_TOKEN = 'hpp_0123456789abcdef0123456789abcdef01234567890'

/** A DATA_DIR with an `operator.json` as `npm start` writes it. */
export function operatorFiles(
  { dir, keys, orgId, operatorUrl }: TestControlPlane,
  kinds: readonly KeyKind[] = ['viewer', 'stop', 'operator', 'admin'],
): string {
  const path = join(dir, `cli-${kinds.join('-')}`)
  mkdirSync(path, { recursive: true })
  const held = Object.fromEntries(kinds.map((kind) => [kind, keys[kind]]))
  const secrets = { orgId, ...held, platformToken: PLATFORM_TOKEN, consoleUrl: operatorUrl }
  writeFileSync(join(path, 'operator.json'), JSON.stringify(secrets), { mode: 0o600 })
  return path
}

/** The cells of a table as it comes out of a pipe. */
export function cells(stdout: string): string[][] {
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => line.split('\t'))
}
