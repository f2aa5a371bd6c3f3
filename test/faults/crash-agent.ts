import type { DatabaseSync } from 'node:sqlite'
import {
  Agent,
  Usage,
  type AssistantMessageItem,
  type FunctionCallItem,
  type Model,
  type ModelRequest,
  type StreamEvent,
} from '@openai/agents'
import { z } from 'zod'

import { guardedTool } from '../../src/agents/guarded-tool.ts'
import type { Guard } from '../../src/guard/guard.ts'
import type { PostgresTransaction } from '../../src/store/postgres/lent-transaction.ts'
import { PATHS } from './sinks.ts'

export const AGENT = 'payer'
const LOOKUP = 'lookup_invoice'
export const PAY_IDEMPOTENT = 'pay_idempotent'
export const PAY_PLAIN = 'pay_plain'
export const NOTICE = 'send_notice'
export const BOOKING = 'book_invoice'

const AMOUNT_CENTS = 1_250
const DAY_MS = 24 * 3_600_000

/** What the agent is asked for. */
export interface Order {
  readonly invoice: string
  /** Tells the owner before and after. */
  readonly announces: boolean
  /** Books it in the journal's own database, in one transaction with the outcome. */
  readonly books: boolean
}

type Call = readonly [tool: string, args: object]

/** Looks up; pays at both sinks, which people approve; books. */
function turnsOf({ invoice, announces, books }: Order): readonly (readonly Call[])[] {
  const notice = (text: string): Call[] => (announces ? [[NOTICE, { invoice, text }]] : [])
  const booking: Call[] = books ? [[BOOKING, { invoice }]] : []
  return [
    [[LOOKUP, { invoice }], ...notice('about to be paid')],
    [
      [PAY_IDEMPOTENT, { invoice, amountCents: AMOUNT_CENTS }],
      [PAY_PLAIN, { invoice, amountCents: AMOUNT_CENTS }],
    ],
    [...booking, ...notice('handled')],
  ]
}

/** A model that goes on from the conversation alone, and, like a real one, calls by a new id whenever it is asked anew. */
const payingModel: Model = {
  getResponse: async (request) => {
    request.signal?.throwIfAborted()
    return { usage: new Usage({ requests: 1 }), output: nextTurn(request), responseId: newId('resp') }
  },
  getStreamedResponse: async function* (request): AsyncGenerator<StreamEvent, void, void> {
    request.signal?.throwIfAborted()
    yield { type: 'response_started' }
    const usage = { requests: 1, inputTokens: 0, outputTokens: 0, totalTokens: 0 }
    yield { type: 'response_done', response: { id: newId('resp'), usage, output: nextTurn(request) } }
  },
}

function nextTurn({ input }: ModelRequest): (AssistantMessageItem | FunctionCallItem)[] {
  const items = typeof input === 'string' ? [] : input
  const order = JSON.parse(typeof input === 'string' ? input : textOf(items[0])) as Order
  const turn = turnAfter(items.filter((item) => item.type === 'function_call').length, order)
  if (turn === undefined) return [message(`Handled ${order.invoice}.`)]
  return turn.map(([name, args]) => ({
    type: 'function_call',
    callId: newId('call'),
    name,
    arguments: JSON.stringify(args),
    status: 'completed',
  }))
}

function turnAfter(calls: number, order: Order): readonly Call[] | undefined {
  let before = 0
  for (const turn of turnsOf(order)) {
    if (calls === before && turn.length > 0) return turn
    before += turn.length
  }
  return undefined
}

function textOf(item: Exclude<ModelRequest['input'], string>[number] | undefined): string {
  const content: unknown = item !== undefined && 'content' in item ? item.content : ''
  if (typeof content === 'string') return content
  const [first] = content as readonly { readonly text?: string }[]
  return first?.text ?? ''
}

function message(text: string): AssistantMessageItem {
  return {
    type: 'message',
    role: 'assistant',
    status: 'completed',
    content: [{ type: 'output_text', text }],
  }
}

function newId(prefix: string): string {
  return `${prefix}_${crypto.randomUUID()}`
}

/** The agent, and its tools on this guard. `sinksUrl` is where the money goes. */
export function payingAgent(guard: Guard, sinksUrl: string): Agent {
  const post = async (path: string, body: object, idempotencyKey: string) => {
    const response = await fetch(sinksUrl + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': idempotencyKey },
      body: JSON.stringify(body),
    })
    if (!response.ok) throw new Error(`The sink answered ${response.status}.`)
    return (await response.json()) as { id: string }
  }
  const Payment = z.object({ invoice: z.string(), amountCents: z.number().int() })
  const tools = [
    guardedTool(guard.surface('tool-server'), {
      name: LOOKUP,
      description: 'Looks an invoice up',
      parameters: z.object({ invoice: z.string() }),
      effects: 'none',
      execute: ({ invoice }) => ({ invoice, amountCents: AMOUNT_CENTS }),
    }),
    guardedTool(guard.surface('payments'), {
      name: PAY_IDEMPOTENT,
      description: 'Pays an invoice where a repeated key is recognised',
      parameters: Payment,
      needsApproval: true,
      effect: 'payment',
      key: ({ invoice }) => invoice,
      sinkKeyTtlMs: DAY_MS,
      commit: (payment, { idempotencyKey }) => post(PATHS.idempotent, payment, idempotencyKey),
    }),
    guardedTool(guard.surface('payments'), {
      name: PAY_PLAIN,
      description: 'Pays an invoice where every request is a payment',
      parameters: Payment,
      needsApproval: true,
      effect: 'payment',
      key: ({ invoice }) => invoice,
      commit: (payment, { idempotencyKey }) => post(PATHS.plain, payment, idempotencyKey),
    }),
    guardedTool(guard.surface('email'), {
      name: NOTICE,
      description: 'Tells the owner of an invoice',
      parameters: z.object({ invoice: z.string(), text: z.string() }),
      effect: 'email',
      key: 'each-call',
      commit: (notice, { idempotencyKey, runId }) =>
        post(PATHS.notices, { ...notice, runId }, idempotencyKey),
    }),
    guardedTool(guard.surface('tool-server'), {
      name: BOOKING,
      description: 'Books an invoice in the database of the journal',
      parameters: z.object({ invoice: z.string() }),
      effect: 'write',
      key: ({ invoice }) => invoice,
      transactional: true,
      commit: ({ invoice }, { transaction }) => {
        const booked = { booked: invoice }
        const db = transaction as DatabaseSync | PostgresTransaction
        if ('query' in db)
          return db.query('INSERT INTO public.bookings VALUES ($1)', [invoice]).then(() => booked)
        db.exec('CREATE TABLE IF NOT EXISTS bookings (invoice TEXT NOT NULL) STRICT')
        db.prepare('INSERT INTO bookings VALUES (?)').run(invoice)
        return booked
      },
    }),
  ]
  return new Agent({ name: AGENT, instructions: 'Pay what you are told to.', model: payingModel, tools })
}
