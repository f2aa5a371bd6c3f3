import { z } from 'zod'

import { guardedTool } from '../../src/agents/guarded-tool.ts'
import { EffectNotPerformed } from '../../src/guard/effect.ts'
import type { Guard } from '../../src/guard/guard.ts'

/** What the tools of `testTools` did, and what holds them up. */
export interface Bank {
  readonly refunds: string[]
  readonly charges: string[]
  readonly aborted: string[]
  readonly started: string[]
  /** Awaited inside each refund. */
  beforeRefund: () => Promise<void>
}

export function createBank(): Bank {
  return { refunds: [], charges: [], aborted: [], started: [], beforeRefund: async () => {} }
}

/** Tools of every kind that matters to a transport. */
export function testTools(guard: Guard, bank: Bank) {
  const server = guard.surface('tool-server')
  const payments = guard.surface('payments')
  return [
    guardedTool(server, {
      name: 'echo',
      description: 'Gives back what it got',
      parameters: z.object({ text: z.string() }),
      effects: 'none',
      execute: ({ text }) => text,
    }),
    guardedTool(payments, {
      name: 'refund_invoice',
      description: 'Refund one invoice',
      parameters: z.object({ invoiceId: z.string(), amountCents: z.number().int().positive() }),
      effect: 'payment',
      key: ({ invoiceId }) => invoiceId,
      commit: async ({ invoiceId }, { idempotencyKey }) => {
        bank.refunds.push(invoiceId)
        await bank.beforeRefund()
        return { refunded: invoiceId, idempotencyKey }
      },
    }),
    guardedTool(payments, {
      name: 'charge_card',
      description: 'Charge a card',
      parameters: z.object({ amountCents: z.number().int().positive() }),
      effect: 'payment',
      key: 'each-call',
      commit: ({ amountCents }, { callId }) => {
        bank.charges.push(callId)
        return { charged: amountCents }
      },
    }),
    guardedTool(payments, {
      name: 'declined_payment',
      description: 'Is always declined',
      parameters: z.object({}),
      effect: 'payment',
      key: 'each-call',
      commit: () => {
        throw new EffectNotPerformed('The card was declined.')
      },
    }),
    guardedTool(payments, {
      name: 'lost_payment',
      description: 'Nobody knows how it ended',
      parameters: z.object({}),
      effect: 'payment',
      key: () => 'lost',
      commit: () => {
        throw new Error('connection reset by bank.internal')
      },
    }),
    guardedTool(server, {
      name: 'broken',
      description: 'Fails',
      parameters: z.object({}),
      effects: 'none',
      execute: () => {
        throw new Error('password=hunter2 at db.internal')
      },
    }),
    guardedTool(payments, {
      name: 'approved_payment',
      description: 'A person must approve it',
      parameters: z.object({}),
      needsApproval: true,
      effect: 'payment',
      key: 'each-call',
      commit: () => {
        bank.charges.push('approved')
        return 'paid'
      },
    }),
    guardedTool(payments, {
      name: 'stopping_payment',
      description: 'Ends the run when it is denied',
      parameters: z.object({}),
      onDenied: 'stop',
      effects: 'none',
      execute: () => 'ok',
    }),
    guardedTool(payments, {
      name: 'aborting_payment',
      description: 'Rejects the run when it is denied',
      parameters: z.object({}),
      onDenied: 'abort',
      effects: 'none',
      execute: () => 'ok',
    }),
    guardedTool(server, {
      name: 'wait',
      description: 'Reads until it is aborted',
      parameters: z.object({ name: z.string() }),
      effects: 'none',
      execute: async ({ name }, { signal }) => {
        bank.started.push(name)
        await new Promise<void>((resolve) =>
          signal.addEventListener('abort', () => resolve(), { once: true }),
        )
        bank.aborted.push(name)
        return 'aborted'
      },
    }),
  ]
}
