// A tool server that hosts the agent `clerk`, over real sockets. The model does what the user's message says.

import { Agent } from '@openai/agents'
import { z } from 'zod'

import { guardedTool } from '../../src/agents/guarded-tool.ts'
import type { ApprovalView, RunDetail } from '../../src/agents/hosted/run-types.ts'
import type { Reconciled } from '../../src/guard/effect.ts'
import type { Guard } from '../../src/guard/guard.ts'
import { callersOf, SCOPES, type Scope } from '../../src/tool-server/callers.ts'
import { openEventStream, type EventStreamClient } from '../fixtures/event-stream.ts'
import { playingModel, script, type Turns } from '../fixtures/hosted-cashiers.ts'
import { startTestToolServer, tokenWith, type TestToolServer, type TestToolServerOptions } from './start.ts'

/** What the clerk did, and what it waits for. */
export interface Desk {
  readonly paid: string[]
  readonly started: string[]
  readonly aborted: string[]
  /** Awaited in each call of `wait`. */
  release: PromiseWithResolvers<void>
  /** What `reconcile` finds out about a lost payment. */
  truth: 'done' | 'absent' | 'unknown'
}

export interface Answer {
  readonly status: number
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into bodies of every shape
  readonly body: any
  readonly headers: Headers
}

export interface RunsWorld extends AsyncDisposable {
  readonly server: TestToolServer
  readonly desk: Desk
  /** By scope, each with that one alone; `user` and `stranger` start and resume; `approver` approves and resumes. */
  readonly tokens: Record<Scope | 'user' | 'stranger' | 'approver', string>
  /** Tokens that are no longer known. */
  readonly revokedTokens: Set<string>
  /** As `user` unless another token is given. */
  post(path: string, body: unknown, token?: string): Promise<Answer>
  get(path: string, token?: string): Promise<Answer>
  stream(path: string, body?: unknown, token?: string): Promise<EventStreamClient>
  /** Starts a run that pays these invoices at once, and is then paused. */
  paused(runId: string, ...invoiceIds: string[]): Promise<Answer>
  show(runId: string): Promise<RunDetail>
  approveAll(runId: string): Promise<Answer>
}

export const turn = (tool: string, args: Record<string, unknown>, callId = `call_${tool}`) => [
  { tool, args, callId },
]

export const starting = (runId: string, turns: Turns, more: object = {}) => ({
  agent: 'clerk',
  runId,
  input: script(turns),
  ...more,
})

export async function startRunsWorld(options: Partial<TestToolServerOptions> = {}): Promise<RunsWorld> {
  const desk: Desk = {
    paid: [],
    started: [],
    aborted: [],
    release: Promise.withResolvers(),
    truth: 'unknown',
  }
  const scopesOf = {
    ...(Object.fromEntries(SCOPES.map((scope) => [scope, [scope]])) as Record<Scope, Scope[]>),
    user: ['runs:start', 'runs:resume'],
    stranger: ['runs:start', 'runs:resume'],
    approver: ['runs:approve', 'runs:resume'],
  } satisfies Record<string, Scope[]>
  const made = Object.entries(scopesOf).map(([id, scopes]) => ({ id, ...tokenWith(scopes, id) }))
  const tokens = Object.fromEntries(made.map(({ id, token }) => [id, token])) as RunsWorld['tokens']
  const known = callersOf(made.map(({ record }) => record))
  const revokedTokens = new Set<string>()
  const server = await startTestToolServer({
    tools: (guard) => [lostPayment(guard, desk)],
    agents: (guard) => [{ agent: clerk(guard, desk) }],
    callers: { find: (token) => (revokedTokens.has(token) ? undefined : known.find(token)) },
    ...options,
  })
  const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
  const world: RunsWorld = {
    server,
    revokedTokens,
    desk,
    tokens,
    post: (path, body, token = tokens.user) => server.post(path, body, bearer(token)),
    get: (path, token = tokens.user) => server.get(path, bearer(token)),
    stream: (path, body, token = tokens.user) =>
      openEventStream(`${server.url}${path}`, { ...bearer(token), accept: 'text/event-stream' }, body),
    paused: (runId, ...invoiceIds) =>
      world.post('/runs', starting(runId, [invoiceIds.map((invoiceId) => payment(invoiceId))])),
    show: async (runId) => (await world.get(`/runs/${runId}`, tokens.approver)).body as RunDetail,
    approveAll: async (runId) => {
      const { approvals } = await world.show(runId)
      const decisions = approvals.map(({ callId, digest }: ApprovalView) => ({
        callId,
        digest,
        approve: true,
      }))
      return world.post(`/runs/${runId}/decisions`, { decisions }, tokens.approver)
    },
    [Symbol.asyncDispose]: async () => {
      desk.release.resolve()
      await server.close()
    },
  }
  return world
}

const payment = (invoiceId: string) => ({
  tool: 'pay_invoice',
  args: { invoiceId },
  callId: `call_${invoiceId}`,
})

function clerk(guard: Guard, desk: Desk) {
  const server = guard.surface('tool-server')
  return new Agent({
    name: 'clerk',
    model: playingModel(),
    tools: [
      guardedTool(guard.surface('payments'), {
        name: 'pay_invoice',
        description: 'Pay one invoice in full',
        parameters: z.object({ invoiceId: z.string(), currency: z.string().default('usd') }),
        needsApproval: true,
        effect: 'payment',
        key: ({ invoiceId }) => invoiceId,
        commit: ({ invoiceId }) => {
          desk.paid.push(invoiceId)
          return { paid: invoiceId }
        },
      }),
      lostPayment(guard, desk),
      guardedTool(server, {
        name: 'wait',
        description: 'Waits until it is told to go on',
        parameters: z.object({ name: z.string() }),
        effects: 'none',
        execute: async ({ name }, { signal }) => {
          desk.started.push(name)
          const aborted = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
          await Promise.race([desk.release.promise, aborted])
          if (signal.aborted) desk.aborted.push(name)
          return signal.aborted ? 'aborted' : 'went on'
        },
      }),
      guardedTool(server, {
        name: 'fill',
        description: 'Answers with so many bytes',
        parameters: z.object({ bytes: z.number().int() }),
        effects: 'none',
        execute: ({ bytes }) => 'x'.repeat(bytes),
      }),
    ],
  })
}

/** The bank is asked, and the connection breaks. */
function lostPayment(guard: Guard, desk: Desk) {
  return guardedTool(guard.surface('payments'), {
    name: 'lose_payment',
    description: 'Pays, and the answer gets lost',
    parameters: z.object({ invoiceId: z.string() }),
    effect: 'payment',
    key: ({ invoiceId }) => invoiceId,
    commit: (): { paid: boolean } => {
      throw new Error('socket hang up')
    },
    reconcile: async (): Promise<Reconciled<{ paid: boolean }>> =>
      desk.truth === 'done' ? { state: 'done', result: { paid: true } } : { state: desk.truth },
  })
}
