import { Agent, type AgentInputItem, type AgentOptions, type Tool } from '@openai/agents'
import { assistantMessage, functionCall, ScriptedModel } from '@openai/agents/testing'
import { z } from 'zod'
import { guardedTool, type Guard, type OnDenied, type RefusalBody } from 'holdpoint'

type Script = ConstructorParameters<typeof ScriptedModel>[0]

/** Where money goes in these tests. It refuses nothing, and remembers everything. */
export class Bank {
  readonly refunds: {
    invoiceId: string
    amountCents: number
    idempotencyKey: string
    signal: AbortSignal
  }[] = []
  /** Runs before each refund is booked. */
  before: () => Promise<void> | void = () => {}

  async refund(
    { invoiceId, amountCents }: { invoiceId: string; amountCents: number },
    { idempotencyKey, signal }: { idempotencyKey: string; signal: AbortSignal },
  ) {
    await this.before()
    this.refunds.push({ invoiceId, amountCents, idempotencyKey, signal })
    return { receipt: `r-${this.refunds.length}` }
  }

  get invoices(): string[] {
    return this.refunds.map(({ invoiceId }) => invoiceId)
  }
}

export interface RefundOptions {
  readonly onDenied?: OnDenied
  readonly needsApproval?: boolean
  readonly timeoutMs?: number
  readonly key?: 'each-call'
}

/** One effect on `payments`, keyed by invoice and refund number. */
export function refundTool(guard: Guard, bank: Bank, { key, ...options }: RefundOptions = {}) {
  return guardedTool(guard.surface('payments'), {
    name: 'refund',
    description: 'Refund one invoice',
    parameters: z.object({
      invoiceId: z.string(),
      refundNo: z.number().int().default(1),
      amountCents: z.number().int().positive(),
    }),
    effect: 'payment',
    key: key ?? ((args) => `${args.invoiceId}:${args.refundNo}`),
    commit: (args, { idempotencyKey, signal }) => bank.refund(args, { idempotencyKey, signal }),
    ...options,
  })
}

export function refundCall(callId: string, invoiceId = 'INV-1', amountCents = 500, refundNo = 1) {
  return functionCall('refund', { invoiceId, refundNo, amountCents }, { callId })
}

/** An agent on a scripted model. */
export function scripted(tools: readonly unknown[], script: Script, options: Partial<AgentOptions> = {}) {
  const model = new ScriptedModel(script)
  const agent = new Agent({ name: 'support', model, tools: tools as Tool[], ...options })
  return { agent, model }
}

export const done = [assistantMessage('done')]

/** What the model was told in its last request, by call id. */
export function toldIn(model: ScriptedModel, request = model.calls.length - 1): Record<string, string> {
  const items = (model.calls[request]?.request.input ?? []) as AgentInputItem[]
  return Object.fromEntries(
    items.flatMap((item) =>
      item.type === 'function_call_result' ? [[item.callId, textOf(item.output)]] : [],
    ),
  )
}

export function refusalIn(model: ScriptedModel, callId: string): RefusalBody {
  return JSON.parse(toldIn(model)[callId] ?? 'null') as RefusalBody
}

function textOf(output: unknown): string {
  return typeof output === 'string' ? output : String((output as { text?: unknown }).text)
}

/** A promise to settle from outside. */
export function gate() {
  return Promise.withResolvers<void>()
}
