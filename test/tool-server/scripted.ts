// A tool server on a scripted authority, which pushes stops when told to. Without callers: everybody here is `local`.

import { onTestFinished } from 'vitest'
import { createToolServer, type ToolServerOptions } from '../../src/tool-server/tool-server.ts'
import type { GuardOptions } from '../../src/guard/guard.ts'
import { systemClock } from '../../src/clock.ts'
import { startedGuard, testGuard, type TestGuard } from '../fixtures/guard.ts'
import { ScriptedAuthority } from '../fixtures/scripted-authority.ts'

interface Answer {
  readonly status: number
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into bodies of every shape
  readonly body: any
}

export interface ScriptedServer extends TestGuard {
  readonly url: string
  readonly get: (path: string, headers?: Record<string, string>) => Promise<Answer>
  readonly post: (path: string, body: unknown) => Promise<Answer>
  readonly text: (path: string) => Promise<string>
}

export interface ScriptedServerOptions extends Partial<Omit<ToolServerOptions, 'guard'>> {
  /** Told before the guard starts. */
  readonly prepare?: (authority: ScriptedAuthority) => void
  readonly guardOptions?: Partial<GuardOptions>
  /** Default true. */
  readonly start?: boolean
}

export async function scriptedServer({
  prepare,
  guardOptions,
  start = true,
  ...options
}: ScriptedServerOptions = {}): Promise<ScriptedServer> {
  const authority = new ScriptedAuthority(systemClock)
  prepare?.(authority)
  const own = { authority, clock: systemClock, ...guardOptions }
  const made = start ? await startedGuard(own) : testGuard(own)
  const server = createToolServer({ guard: made.guard, tools: [], ...options })
  const { url } = await server.listen({ port: 0 })
  onTestFinished(async () => {
    await made.guard.close({ graceMs: 100 })
    await server.close({ graceMs: 100 })
  })
  const read = async (response: Response): Promise<Answer> => ({
    status: response.status,
    body: await response.json(),
  })
  return {
    ...made,
    authority,
    url,
    get: async (path, headers = {}) => read(await fetch(`${url}${path}`, { headers })),
    post: async (path, body) =>
      read(
        await fetch(`${url}${path}`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(body),
        }),
      ),
    text: async (path) => (await fetch(`${url}${path}`)).text(),
  }
}
