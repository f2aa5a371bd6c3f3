// A deployment to drill: a control plane whose lanes run in threads, and tool servers of their own, all on real sockets;
// and the command line, in this process.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'

import type { Commands } from '../../src/cli/cli.ts'
import { drillCommands } from '../../src/cli/drill/drill.ts'
import { runCli } from '../../src/cli/run-cli.ts'
import { createGuard } from '../../src/guard/guard.ts'
import { createMemoryJournal } from '../../src/guard/memory-journal.ts'
import { createLogger } from '../../src/log.ts'
import { MachineID } from '../../src/machineid/client.ts'
import { callersOf, createCallerToken } from '../../src/tool-server/callers.ts'
import { createToolServer } from '../../src/tool-server/tool-server.ts'
import { startTestLanes, type TestControlPlane } from '../fixtures/control-plane.ts'

export interface RunningToolServer extends AsyncDisposable {
  readonly url: string
  readonly close: () => Promise<void>
}

export interface ToolServerOptions {
  readonly authority: TestControlPlane
  /** The last segment of its devices. */
  readonly instance: string
  readonly token: ReturnType<typeof createCallerToken>
  readonly profile?: 'holdpoint' | 'machineid'
}

export const DEVICE = (surface: string, instance: string) => `openai-agent:test:${surface}:${instance}`

export async function startToolServer(options: ToolServerOptions): Promise<RunningToolServer> {
  const { authority, instance, token, profile = 'holdpoint' } = options
  const log = createLogger({ level: 'silent' })
  const client = new MachineID({
    replica: `${DEVICE('tool-server', instance)}/test`,
    orgKey: authority.keys.runtime,
    baseUrl: authority.url,
    profile,
    timeoutMs: 2000,
  })
  const guard = createGuard({
    authority: client,
    serverDeviceId: DEVICE('tool-server', instance),
    surfaces: ['payments'],
    canaryDeviceId: DEVICE('canary', instance),
    journal: createMemoryJournal(),
    timeoutMs: 2000,
    log,
  })
  const started = await guard.start()
  if (!started.allowed) throw new Error(started.code)
  while (guard.stopStream?.up === false) await sleep(10)
  const toolServer = createToolServer({
    guard,
    tools: [],
    callers: callersOf([token.record]),
    about: { profile, origin: authority.url },
    log,
  })
  const { url } = await toolServer.listen({ port: 0 })
  const close = async () => {
    await guard.close({ graceMs: 100 })
    await toolServer.close({ graceMs: 100 })
    await client.close()
  }
  return { url, close, [Symbol.asyncDispose]: close }
}

export interface Ran {
  readonly status: number
  readonly out: string
  readonly err: string
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into answers of every shape
  readonly json: any
}

export interface RunOptions {
  readonly signal?: AbortSignal
  readonly env?: Record<string, string>
  /** Default: the drill's. */
  readonly register?: Commands
  /** Told of each piece of standard error. */
  readonly onErr?: (text: string) => void
}

export interface DrillWorld extends AsyncDisposable {
  readonly authority: TestControlPlane
  readonly token: ReturnType<typeof createCallerToken>
  readonly dataDir: string
  /** `holdpoint …args`, with an operator's key, at these tool servers. */
  run(args: readonly string[], urls: readonly string[], options?: RunOptions): Promise<Ran>
}

export async function startWorld(options: { readonly plan?: 'free' | 'pro' } = {}): Promise<DrillWorld> {
  const authority = await startTestLanes({ plan: 'pro', ...options })
  const dataDir = await mkdtemp(join(tmpdir(), 'holdpoint-drill-'))
  const token = createCallerToken({ name: 'test', scopes: ['runs:approve'] })
  return {
    authority,
    token,
    dataDir,
    run: (args, urls, more = {}) =>
      runHoldpoint(args, { authority, dataDir, token: token.token, urls, ...more }),
    [Symbol.asyncDispose]: async () => {
      await authority.close()
      await rm(dataDir, { recursive: true, force: true })
    },
  }
}

async function runHoldpoint(
  args: readonly string[],
  given: RunOptions & {
    readonly authority: TestControlPlane
    readonly dataDir: string
    readonly token: string
    readonly urls: readonly string[]
  },
): Promise<Ran> {
  const {
    authority,
    dataDir,
    token,
    urls,
    env = {},
    signal = new AbortController().signal,
    onErr,
    register = drillCommands,
  } = given
  const streams = { stdin: new PassThrough(), stdout: new PassThrough(), stderr: new PassThrough() }
  let out = ''
  let err = ''
  streams.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
  streams.stderr.on('data', (chunk: Buffer) => {
    err += chunk.toString()
    onErr?.(chunk.toString())
  })
  const status = await runCli([...args, ...urls.flatMap((url) => ['--tool-server', url])], {
    ...streams,
    signal,
    register,
    env: {
      DATA_DIR: dataDir,
      CONSOLE_URL: authority.operatorUrl,
      HOLDPOINT_KEY: authority.keys.operator,
      HOLDPOINT_TOKEN: token,
      ...env,
    },
  })
  let json: unknown
  try {
    json = JSON.parse(out)
  } catch {
    json = undefined
  }
  return { status, out, err, json }
}
