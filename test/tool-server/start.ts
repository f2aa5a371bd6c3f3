// A tool server as in production: real sockets, a real control plane, MachineID's client, a SQLite journal.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { Guard } from '../../src/guard/guard.ts'
import { createGuard } from '../../src/guard/guard.ts'
import { createLogger } from '../../src/log.ts'
import { MachineID } from '../../src/machineid/client.ts'
import type { HostedAgent } from '../../src/agents/hosted/hosted-agent.ts'
import { createSqliteToolStore } from '../../src/store/sqlite/tool-store.ts'
import type { ToolStore } from '../../src/store/tool-store.ts'
import { callersOf, createCallerToken, type Callers, type Scope } from '../../src/tool-server/callers.ts'
import {
  createToolServer,
  type ToolServer,
  type ToolServerOptions,
  type ToolServerRunsOptions,
} from '../../src/tool-server/tool-server.ts'
import { startTestControlPlane, startTestLanes, type TestControlPlane } from '../fixtures/control-plane.ts'

export const SERVER = 'openai-agent:test:tool-server:01'
export const PAYMENTS = 'openai-agent:test:payments:01'
export const EMAIL = 'openai-agent:test:email:01'

interface Answer {
  readonly status: number
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into bodies of every shape
  readonly body: any
  readonly headers: Headers
}

export interface TestToolServer extends AsyncDisposable {
  readonly url: string
  readonly guard: Guard
  readonly toolServer: ToolServer
  readonly authority: TestControlPlane
  readonly dir: string
  readonly store: ToolStore
  /** A caller with every scope, and one with `tools:call` only. */
  readonly token: string
  readonly otherToken: string
  /** Every log line, parsed. */
  readonly lines: Record<string, unknown>[]
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Answer>
  get(path: string, headers?: Record<string, string>): Promise<Answer>
  call(tool: string, body: unknown, token?: string): Promise<Answer>
  close(): Promise<void>
}

export interface TestToolServerOptions extends Partial<
  Omit<ToolServerOptions, 'tools' | 'guard' | 'agents' | 'runs'>
> {
  readonly tools: (guard: Guard, dir: string) => readonly object[]
  readonly agents?: (guard: Guard) => readonly HostedAgent[]
  readonly runs?: Partial<ToolServerRunsOptions>
  readonly timeoutMs?: number
  readonly canaryDeviceId?: string
  /** More surfaces than payments, email and records. */
  readonly surfaces?: Readonly<Record<string, string>>
  /** Of the runtime key. Default: every device. */
  readonly bindings?: readonly string[]
  /** A control plane in threads, as `npm start` has it. */
  readonly lanes?: boolean
}

export function tokenWith(scopes: readonly Scope[], id?: string) {
  return createCallerToken({ name: 'test', scopes, ...(id === undefined ? {} : { id }) })
}

export async function startTestToolServer(options: TestToolServerOptions): Promise<TestToolServer> {
  const {
    tools,
    agents,
    runs,
    timeoutMs = 2000,
    canaryDeviceId,
    lanes,
    bindings,
    surfaces,
    ...serverOptions
  } = options
  const asked = bindings === undefined ? {} : { bindings }
  const dir = mkdtempSync(join(tmpdir(), 'holdpoint-tool-server-'))
  const authority = await (lanes === true ? startTestLanes(asked) : startTestControlPlane(asked))
  const lines: Record<string, unknown>[] = []
  const log = createLogger({ destination: { write: (line) => void lines.push(JSON.parse(line)) } })
  const client = new MachineID({ orgKey: authority.keys.runtime, baseUrl: authority.url, timeoutMs })
  const store = createSqliteToolStore({ file: join(dir, 'journal.sqlite') })
  const guard = createGuard({
    authority: client,
    serverDeviceId: SERVER,
    surfaces: { payments: PAYMENTS, email: EMAIL, records: 'tool-server', ...surfaces },
    canaryDeviceId,
    journal: store.journal,
    timeoutMs,
    log,
  })
  await guard.start()
  const all = tokenWith(['tools:call', 'runs:start', 'runs:resume', 'runs:approve'])
  const other = tokenWith(['tools:call'])
  const callers: Callers = callersOf([all.record, other.record])
  // First, so that agents may use what the tools work on.
  const called = tools(guard, dir)
  const hosted =
    agents === undefined
      ? {}
      : { agents: agents(guard), runs: { store: store.runs, stateKeys: [Buffer.alloc(32, 1)], ...runs } }
  const toolServer = createToolServer({
    guard,
    tools: called,
    callers,
    ...hosted,
    ...serverOptions,
  })
  const { url } = await toolServer.listen({ port: 0 })

  const send = async (path: string, init: RequestInit, headers: Record<string, string>): Promise<Answer> => {
    const response = await fetch(`${url}${path}`, {
      ...init,
      headers: { authorization: `Bearer ${all.token}`, ...headers },
    })
    const text = await response.text()
    return {
      status: response.status,
      headers: response.headers,
      body: text === '' ? undefined : JSON.parse(text),
    }
  }
  const post: TestToolServer['post'] = (path, body, headers = {}) =>
    send(
      path,
      { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body) },
      { 'content-type': 'application/json', ...headers },
    )

  let closed = false
  const close = async () => {
    if (closed) return
    closed = true
    await guard.close({ graceMs: 500 })
    await toolServer.close({ graceMs: 500 })
    await client.close()
    await store.close()
    await authority.close()
    rmSync(dir, { recursive: true, force: true })
  }
  return {
    url,
    guard,
    toolServer,
    authority,
    dir,
    store,
    token: all.token,
    otherToken: other.token,
    lines,
    post,
    get: (path, headers = {}) => send(path, {}, headers),
    call: (tool, body, token = all.token) =>
      post(`/tools/${tool}`, body, { authorization: `Bearer ${token}` }),
    close,
    [Symbol.asyncDispose]: close,
  }
}
