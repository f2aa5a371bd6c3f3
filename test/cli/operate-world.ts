// A control plane and a tool server as `npm start` runs them, on free ports, and the CLI beside them in this process.

import { mkdtemp, rm } from 'node:fs/promises'
import { readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { request } from 'undici'

import { readControlPlaneConfig, readToolServerConfig } from '../../src/config.ts'
import { runCli } from '../../src/cli/run-cli.ts'
import { createLogger } from '../../src/log.ts'
import { startControlPlane } from '../../src/programs/control-plane.ts'
import type { Running } from '../../src/programs/lifecycle.ts'
import { startToolServer } from '../../src/programs/tool-server.ts'

export const SERVER = 'openai-agent:dev:tool-server:01'
export const PAYMENTS = 'openai-agent:dev:payments:01'
export const EMAIL = 'openai-agent:dev:email:01'

export interface Ran {
  readonly status: number
  readonly out: string
  readonly err: string
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into answers of every shape
  readonly json: any
}

export interface RunOptions {
  readonly env?: Record<string, string>
  /** Default: no terminal. Else what a person types. */
  readonly typed?: string
  readonly signal?: AbortSignal
  /** Called with everything printed so far, each time that more is. */
  readonly onOut?: (out: string) => void
}

/** Runs one command. Nothing of this machine's environment reaches it. */
export async function hp(
  args: readonly string[],
  env: Record<string, string>,
  options: RunOptions = {},
): Promise<Ran> {
  const { typed, signal = new AbortController().signal, onOut } = options
  const isTTY = typed !== undefined
  const stdin = Object.assign(new PassThrough(), { isTTY })
  const stdout = Object.assign(new PassThrough(), { isTTY, columns: 200 })
  const stderr = Object.assign(new PassThrough(), { isTTY, columns: 200 })
  let out = ''
  let err = ''
  stdout.on('data', (chunk: Buffer) => {
    out += chunk.toString()
    onOut?.(out)
  })
  stderr.on('data', (chunk: Buffer) => (err += chunk.toString()))
  if (typed !== undefined) stdin.write(typed)
  const status = await runCli(args, { env: { ...env, ...options.env }, stdin, stdout, stderr, signal })
  return {
    status,
    out,
    err,
    get json() {
      return JSON.parse(out) as unknown
    },
  }
}

export interface World extends AsyncDisposable {
  readonly env: Record<string, string>
  readonly dir: string
  readonly controlPlane: Running
  readonly toolServer: Running
  readonly secrets: Record<'orgId' | 'viewer' | 'stop' | 'operator' | 'admin' | 'approverToken', string>
  run(args: readonly string[], options?: RunOptions): Promise<Ran>
  /** Pays an invoice over the tool server; answers its JSON. */
  pay(callId: string, invoiceId: string, amountCents: number): Promise<Record<string, unknown>>
  /** Another process shows itself, or leaves, without ever listening for stops. */
  presence(replica: string, leaving: boolean): Promise<void>
  /** A guarded call that waits: it holds until it is stopped, or its time is up. */
  hold(surface: string, holdMs: number): Promise<Record<string, unknown>>
}

export async function startWorld(settings: Record<string, string> = {}): Promise<World> {
  const dir = await mkdtemp(join(tmpdir(), 'holdpoint-operate-'))
  const log = createLogger({ level: 'silent' })
  const base = {
    DATA_DIR: dir,
    CONTROL_PLANE_PORT: '0',
    OPERATOR_PORT: '0',
    TOOL_SERVER_PORT: '0',
    ...settings,
  }
  const controlPlane = await startControlPlane(readControlPlaneConfig(base), log)
  const toolServer = await startToolServer(
    readToolServerConfig({ ...base, MACHINEID_BASE_URL: controlPlane.url }),
    log,
  )
  const read = (name: string) => JSON.parse(readFileSync(join(dir, name), 'utf8')) as Record<string, string>
  const secrets = read('operator.json') as World['secrets']
  const { callerToken, runtime } = read('tool-server.json') as { callerToken: string; runtime: string }
  const env = { DATA_DIR: dir, TOOL_SERVER_URL: toolServer.url }
  const ask = async (path: string, body: object, token: string) => {
    const answer = await request(toolServer.url + path, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    return (await answer.body.json()) as Record<string, unknown>
  }
  // A stop is confirmed by who listens: that begins a moment after the start.
  await until(
    () => hp(['replicas', 'ls', '--json'], env),
    ({ json }) => json.replicas[0]?.stream === 'up',
  )
  return {
    env,
    dir,
    controlPlane,
    toolServer,
    secrets,
    run: (args, options) => hp(args, env, options),
    pay: (callId, invoiceId, amountCents) =>
      ask('/tools/send_payment', { call_id: callId, arguments: { invoiceId, amountCents } }, callerToken),
    presence: async (replica, leaving) => {
      const { statusCode } = await request(`${controlPlane.url}/api/v1/presence`, {
        method: 'POST',
        headers: { 'x-org-key': runtime, 'content-type': 'application/json' },
        body: JSON.stringify({
          replica,
          devices: [{ deviceId: SERVER, inFlight: 1 }],
          timeoutMs: 2000,
          latencyMs: null,
          leaving,
        }),
      })
      if (statusCode !== 200) throw new Error(`presence: ${statusCode}`)
    },
    hold: (surface, holdMs) => ask(`/canary/${surface}`, { holdMs }, secrets.approverToken),
    [Symbol.asyncDispose]: async () => {
      await toolServer.close()
      await controlPlane.close()
      await rm(dir, { recursive: true, force: true })
    },
  }
}

/** Asks again until it holds, or fails with what was last seen. */
export async function until<T>(
  look: () => Promise<T>,
  holds: (seen: T) => boolean,
  withinMs = 5000,
): Promise<T> {
  const begunMs = performance.now()
  for (;;) {
    const seen = await look()
    if (holds(seen)) return seen
    if (performance.now() - begunMs > withinMs)
      throw new Error(`not within ${withinMs} ms: ${JSON.stringify(seen)}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
