// A guard on a scripted authority, a real SQLite file that holds journal, runs and approvals, and the runs service on
// them. Time moves only when told: `world.clock` is the store's and the service's, `world.fire(ms)` runs its timers.

import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { AgentOptions } from '@openai/agents'
import { onTestFinished } from 'vitest'
import { createRuns, type RunsOptions } from '../../../src/agents/hosted/runs.ts'
import type { HostedAgent } from '../../../src/agents/hosted/hosted-agent.ts'
import type { RunCaller, Runs, RunStep, RunView } from '../../../src/agents/hosted/run-types.ts'
import type { Guard, GuardOptions } from '../../../src/guard/guard.ts'
import { createSqliteToolStore } from '../../../src/store/sqlite/tool-store.ts'
import type { ToolStore } from '../../../src/store/tool-store.ts'
import { startedGuard, type TestGuard } from '../../fixtures/guard.ts'
import { Bank, refundTool, scripted, type RefundOptions } from '../helpers.ts'

export const ann: RunCaller = { id: 'ann', mayApprove: false }
export const bob: RunCaller = { id: 'bob', mayApprove: false }
export const boss: RunCaller = { id: 'boss', mayApprove: true }
export const KEY = Buffer.alloc(32, 7)

export interface World extends TestGuard {
  readonly runs: Runs
  readonly store: ToolStore
  readonly file: string
  readonly bank: Bank
  /** Every step that was told, of every run. */
  readonly steps: RunStep[]
  readonly onStep: (step: RunStep) => void
  /** The store's clock, in wall-clock milliseconds. */
  readonly time: { ms: number }
  /** Runs what is due every so many milliseconds, once. */
  fire: (ms: number) => void
  /** Another replica on the same file. */
  replica: (agents: readonly HostedAgent[], options?: Partial<RunsOptions>) => Runs
  /** Whether the database files hold this text somewhere. */
  fileHolds: (text: string) => boolean
}

export interface WorldOptions extends Partial<Omit<RunsOptions, 'guard' | 'store' | 'agents'>> {
  readonly guard?: Partial<GuardOptions>
  readonly agents: (guard: Guard, bank: Bank) => readonly HostedAgent[]
}

export async function hostedWorld({ agents, guard: guardOptions, ...options }: WorldOptions): Promise<World> {
  const dir = mkdtempSync(join(tmpdir(), 'holdpoint-runs-'))
  const file = join(dir, 'tool.sqlite')
  const time = { ms: 1_800_000_000_000 }
  const nowMs = () => time.ms
  const store = createSqliteToolStore({ file, nowMs })
  const made = await startedGuard({ journal: store.journal, ...guardOptions })
  const bank = new Bank()
  const timers = new Set<{ ms: number; body: () => void }>()
  const every = (ms: number, body: () => void) => {
    const timer = { ms, body }
    timers.add(timer)
    return () => void timers.delete(timer)
  }
  const shared = { guard: made.guard, store: store.runs, stateKeys: [KEY], nowMs, every, ...options }
  const runs = createRuns({ ...shared, agents: agents(made.guard, bank) })
  const steps: RunStep[] = []
  onTestFinished(async () => {
    await made.guard.close({ graceMs: 100 })
    await runs.close()
    await store.close()
    rmSync(dir, { recursive: true, force: true })
  })
  return {
    ...made,
    runs,
    store,
    file,
    bank,
    steps,
    onStep: (step) => void steps.push(step),
    time,
    fire: (ms) => [...timers].filter((timer) => timer.ms === ms).forEach(({ body }) => body()),
    replica: (own, more = {}) => createRuns({ ...shared, agents: own, ...more }),
    fileHolds: (text) =>
      readdirSync(dir).some((name) => readFileSync(join(dir, name)).includes(Buffer.from(text))),
  }
}

type Script = Parameters<typeof scripted>[1]

/** An agent whose model does this, and whose refunds a person must approve. */
export function cashier(
  guard: Guard,
  bank: Bank,
  script: Script,
  { refund = {}, ...options }: Partial<AgentOptions> & { refund?: RefundOptions } = {},
) {
  return scripted([refundTool(guard, bank, { needsApproval: true, ...refund })], script, {
    name: 'cashier',
    ...options,
  })
}

/** A world with one such agent, and its model. */
export async function cashierWorld(
  script: Script,
  options: Omit<WorldOptions, 'agents'> & { refund?: RefundOptions; agent?: Partial<AgentOptions> } = {},
) {
  const { refund = {}, agent: agentOptions = {}, ...rest } = options
  let made: ReturnType<typeof cashier> | undefined
  const world = await hostedWorld({
    ...rest,
    agents: (guard, bank) => {
      made = cashier(guard, bank, script, { refund, ...agentOptions })
      return [{ agent: made.agent }]
    },
  })
  const { agent, model } = made as NonNullable<typeof made>
  return { ...world, agent, model }
}

/** Decides on every call that waits. */
export async function decideAll(
  runs: Runs,
  runId: string,
  approve: boolean,
  message?: string,
): Promise<RunView> {
  const { approvals } = await runs.show(boss, runId)
  const decisions = approvals
    .filter(({ state }) => state === 'waiting')
    .map(({ callId, digest }) => ({ callId, digest, approve, message }))
  return runs.decide(boss, runId, decisions)
}
