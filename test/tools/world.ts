import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { guardedToolCore } from '../../src/agents/guarded-tool.ts'
import type { RefusalBody } from '../../src/agents/tool-answer.ts'
import { createGuard, type Guard } from '../../src/guard/guard.ts'
import type { EffectState, Journal } from '../../src/guard/journal.ts'
import { createLogger } from '../../src/log.ts'
import { createSqliteJournal } from '../../src/store/sqlite/journal.ts'
import { SERVER } from '../fixtures/guard.ts'
import { ScriptedAuthority } from '../fixtures/scripted-authority.ts'

export interface Told {
  /** `output`, or the code of the refusal. */
  readonly code: string
  readonly replayed: boolean
  /** What the tool gave. */
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into results of every shape
  readonly result: any
  readonly body: RefusalBody | undefined
  readonly output: string
}

export interface SinkWorld extends AsyncDisposable {
  readonly dir: string
  guard: Guard
  journal: Journal
  /** Every log line of every guard. */
  readonly lines: Record<string, unknown>[]
  /** Moves the journal's clock. */
  advanceMs(ms: number): void
  /** A process that ended without a word, and the next one on the same journal. */
  restart(): Promise<void>
  call(tool: unknown, args: object, at?: { callId?: string; runId?: string; caller?: string }): Promise<Told>
  /** How the journal knows the only effect under the caller's run. */
  readonly states: (runId?: string) => Promise<EffectState[]>
}

const HOUR_MS = 3_600_000
export const DAY_MS = 24 * HOUR_MS

/** A guard on a SQLite journal in a file, which can be left and opened again. */
export async function sinkWorld(): Promise<SinkWorld> {
  const dir = mkdtempSync(join(tmpdir(), 'holdpoint-sink-'))
  const file = join(dir, 'journal.sqlite')
  let skewMs = 0
  let calls = 0
  const lines: Record<string, unknown>[] = []
  const open = () => createSqliteJournal({ file, nowMs: () => Date.now() + skewMs })
  const log = createLogger({ destination: { write: (line) => void lines.push(JSON.parse(line)) } })
  const start = async (journal: Journal) => {
    const guard = createGuard({
      journal,
      authority: new ScriptedAuthority(),
      serverDeviceId: SERVER,
      surfaces: ['payments', 'email', 'records'],
      log,
    })
    await guard.start()
    return guard
  }
  const journal = open()
  const world: SinkWorld = {
    dir,
    journal,
    guard: await start(journal),
    lines,
    advanceMs: (ms) => {
      skewMs += ms
    },
    restart: async () => {
      await world.journal.close()
      world.journal = open()
      world.guard = await start(world.journal)
    },
    call: async (tool, args, { callId = `call_${(calls += 1)}`, runId = 'run_1', caller } = {}) => {
      const core = guardedToolCore(tool)
      if (core === undefined) throw new Error('This is no guarded tool.')
      const answer = await core.call({ arguments: args, callId, runId, caller })
      if (answer.kind === 'bad_arguments') throw new Error(answer.issues.join(', '))
      if (answer.kind === 'refused')
        return {
          code: answer.body.code,
          replayed: false,
          result: undefined,
          body: answer.body,
          output: answer.output,
        }
      const result: unknown = JSON.parse(answer.output)
      return { code: 'output', replayed: answer.replayed, result, body: undefined, output: answer.output }
    },
    states: async (runId = 'run_1') => {
      const entries = await world.journal.listRun({ caller: 'local', runId })
      return entries.map(({ state }) => state)
    },
    [Symbol.asyncDispose]: async () => {
      await world.guard.close({ graceMs: 0 })
      await world.journal.close()
      rmSync(dir, { recursive: true, force: true })
    },
  }
  return world
}
