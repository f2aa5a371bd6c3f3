import { protocol, type AgentInputItem } from '@openai/agents'
import { z } from 'zod'

import { RUN_STATUSES } from '../agents/hosted/run-store.ts'
import { LIST_MOST, MAX_DELAY_MS, RUN_ID } from '../agents/hosted/run-types.ts'

const MAX_DECISIONS = 200

export const ON_DISCONNECT = ['cancel', 'continue'] as const
export type OnDisconnect = (typeof ON_DISCONNECT)[number]

const RunId = z.string().regex(RUN_ID, 'must be 1 to 128 characters of A-Z a-z 0-9 . _ : -')
/** As the SDK knows them, and as they came. */
const InputItem = z.custom<AgentInputItem>((item) => protocol.ModelItem.safeParse(item).success)
const Name = z.string().min(1).max(256)
const Reason = z.string().min(1).max(500)

const INPUT_PROBLEM = 'must be a text that is not empty, or a list of input items of the Agents SDK'

export const StartBody = z
  .strictObject({
    agent: Name,
    input: z.union([z.string().min(1), z.array(InputItem).min(1)], INPUT_PROBLEM),
    context: z.unknown().optional(),
    runId: RunId.optional(),
    background: z.boolean().optional(),
    delayMs: z.number().int().min(0).max(MAX_DELAY_MS).optional(),
    onDisconnect: z.enum(ON_DISCONNECT).optional(),
  })
  .refine(
    ({ background, delayMs, onDisconnect }) =>
      onDisconnect !== 'cancel' || (background !== true && delayMs === undefined),
    { path: ['onDisconnect'], error: 'a run in the background goes on without whoever started it' },
  )

export const ResumeBody = z.strictObject({
  context: z.unknown().optional(),
  onDisconnect: z.enum(ON_DISCONNECT).optional(),
})

export const DecisionsBody = z.strictObject({
  decisions: z
    .array(
      z
        .strictObject({
          callId: z.string().min(1).max(512),
          digest: z.string().min(1).max(128),
          approve: z.boolean(),
          message: z.string().max(2000).optional(),
        })
        .refine(({ approve, message }) => !approve || message === undefined, {
          path: ['message'],
          error: 'only a decline takes a message: the model is told it',
        }),
    )
    .min(1)
    .max(MAX_DECISIONS)
    .refine((all) => new Set(all.map(({ callId }) => callId)).size === all.length, 'each call only once'),
})

export const CancelBody = z.strictObject({ reason: Reason.optional() })

export const SettleBody = z
  .strictObject({
    outcome: z.enum(['done', 'failed']),
    result: z.unknown().optional(),
    reason: Reason,
  })
  .refine(({ outcome, result }) => outcome === 'done' || result === undefined, {
    path: ['result'],
    error: 'only what is done has a result',
  })

export const NoBody = z.strictObject({})

const Limit = z.coerce.number('a number').int().min(1).max(LIST_MOST).optional()

export const ListQuery = z
  .strictObject({
    status: z.enum(RUN_STATUSES).optional(),
    agent: Name.optional(),
    limit: Limit,
    before: RunId.optional(),
    outcome: z.literal('unknown').optional(),
  })
  .refine(
    ({ outcome, status, agent, limit, before }) =>
      outcome === undefined || [status, agent, limit, before].every((other) => other === undefined),
    { path: ['outcome'], error: 'goes with no other filter' },
  )

export const LimitQuery = z.strictObject({ limit: Limit })
