import { setTimeout as sleep } from 'node:timers/promises'

import type { ApprovalView, RunDetail, RunView } from '../../src/agents/hosted/run-types.ts'
import type { Random } from '../fixtures/random.ts'
import { AGENT, PAY_PLAIN, type Order } from './crash-agent.ts'
import type { CrashServer } from './crash-server.ts'
import type { Sinks } from './sinks.ts'

/** An invoice that somebody wants paid, whatever happens to the runs that try it. */
export interface Task extends Order {
  readonly background: boolean
  /** The person declines the payment at the sink that recognises nothing. */
  readonly declinesPlain: boolean
  /** Every run that was started for it, the one that counts last. */
  readonly runIds: string[]
  /** Of those, the last one that whoever started it was told of. */
  told?: string | undefined
}

export interface Tokens {
  /** Starts and resumes. */
  readonly agent: string
  /** Decides and settles. */
  readonly approver: string
}

export interface DriveOptions {
  readonly server: CrashServer
  readonly tokens: Tokens
  readonly sinks: Sinks
  readonly random: Random
  readonly tally: DriveTally
}

/** What happened on the way. */
export interface DriveTally {
  /** Runs that ended as `RUN_LOST`. */
  lost: number
  /** Runs that neither ended nor could be resumed in time. */
  hung: number
  /** Notices of lost runs that their effects do not list. */
  lostUnlisted: number
  /** Of two resumes at once, the one that was told 409. */
  busy: number
}

const PATIENCE_MS = 30_000
const POLL_MS = 40

/**
 * Does what callers and people do, until the task's run has ended: starts it, decides, resumes, starts another one
 * when it was lost. Begins where an earlier attempt was cut off. Rejects with `ServerDied`.
 */
export async function drive(task: Task, options: DriveOptions): Promise<void> {
  const until = performance.now() + PATIENCE_MS
  let view = await start(task, options)
  for (;;) {
    if (performance.now() > until) return void (options.tally.hung += 1)
    if (view.status === 'queued' || view.status === 'running') {
      await sleep(POLL_MS)
      view = await show(view.runId, options)
    } else if (view.status === 'interrupted') {
      view = await decideAndResume(view, task, options)
    } else if (view.resumable) {
      view = await resume(view, options)
    } else if (view.error?.code === 'RUN_LOST') {
      await countLost(view, options)
      task.runIds.push(`${task.runIds[0]}-${task.runIds.length}`)
      view = await start(task, options)
    } else if (view.status === 'completed') {
      return
    } else {
      throw new Error(`A run ended otherwise: ${JSON.stringify(view)}`)
    }
  }
}

/** The same id again gives the run that is there; whoever knows that it is there only looks. */
async function start(task: Task, options: DriveOptions): Promise<RunView> {
  const { server, tokens } = options
  const { invoice, announces, books, background, runIds } = task
  if (task.told !== undefined && task.told === runIds.at(-1)) return show(task.told, options)
  const input = JSON.stringify({ invoice, announces, books })
  const runId = runIds.at(-1)
  const asked = { agent: AGENT, input, runId, background, onDisconnect: 'continue' }
  const { status, body } = await server.call(tokens.agent, 'POST', '/runs', asked)
  if (status !== 200 && status !== 202) throw unexpected('start', status, body)
  task.told = runId
  return body as RunView
}

async function show(runId: string, { server, tokens }: DriveOptions): Promise<RunDetail> {
  const { status, body } = await server.call(tokens.agent, 'GET', `/runs/${runId}`)
  if (status !== 200) throw unexpected('show', status, body)
  return body as RunDetail
}

async function decideAndResume(view: RunView, task: Task, options: DriveOptions): Promise<RunView> {
  const { server, tokens, random } = options
  const waiting = view.approvals.filter(({ state }) => state === 'waiting')
  if (waiting.length > 0) {
    const decisions = waiting.map((approval) => decisionOn(approval, task))
    const { status, body } = await server.call(tokens.approver, 'POST', `/runs/${view.runId}/decisions`, {
      decisions,
    })
    if (status !== 200 && status !== 409) throw unexpected('decide', status, body)
  }
  if (!random.chance(0.3)) return resume(view, options)
  const [first, second] = await Promise.all([resume(view, options), resume(view, options)])
  return isGoingOn(first) ? second : first
}

function decisionOn({ callId, digest, tool }: ApprovalView, { declinesPlain }: Task) {
  if (tool === PAY_PLAIN && declinesPlain) return { callId, digest, approve: false, message: 'Not this one.' }
  return { callId, digest, approve: true }
}

async function resume({ runId }: RunView, options: DriveOptions): Promise<RunView> {
  const { server, tokens, tally } = options
  const { status, body } = await server.call(tokens.agent, 'POST', `/runs/${runId}/resume`, {
    onDisconnect: 'continue',
  })
  if (status === 200 || status === 202) return body as RunView
  const code = String(body.code)
  if (status !== 409 || !['RUN_BUSY', 'RUN_NOT_RESUMABLE', 'RUN_ENDED'].includes(code)) {
    throw unexpected('resume', status, body)
  }
  tally.busy += 1
  return show(runId, options)
}

/** Lost with its effects listed: whatever it has sent is there. */
async function countLost({ runId }: RunView, options: DriveOptions): Promise<void> {
  const { tally, sinks } = options
  tally.lost += 1
  const { effects } = await show(runId, options)
  const listed = new Set(effects.map(({ id }) => id))
  const sent = sinks.notices.filter((notice) => notice.runId === runId)
  tally.lostUnlisted += sent.filter(({ idempotencyKey }) => !listed.has(idempotencyKey)).length
}

function isGoingOn({ status }: RunView): boolean {
  return status === 'queued' || status === 'running'
}

function unexpected(what: string, status: number, body: unknown): Error {
  return new Error(`${what}: ${status} ${JSON.stringify(body)}`)
}
