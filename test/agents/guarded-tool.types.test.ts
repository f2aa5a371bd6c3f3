import { Agent, tool } from '@openai/agents'
import { expect, expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import { defineEffect, guardedTool, type Committed } from 'holdpoint'
import { startedGuard } from '../fixtures/guard.ts'

// What the compiler refuses is the test; the body only has to be compiled. It never runs, so that nothing throws.
const refused = async (): Promise<void> => {
  const { guard } = await startedGuard()
  const surface = guard.surface('payments')
  const base = { name: 'x', description: 'x', parameters: z.object({ id: z.string() }) }
  const charge = defineEffect({
    kind: 'payment',
    name: 'charge',
    key: (input: { id: string }) => input.id,
    run: ({ id }) => ({ receipt: id }),
  })

  // @ts-expect-error a tool must say which effects it has
  guardedTool(surface, { ...base, execute: () => 'x' })
  // @ts-expect-error an effect needs a key
  guardedTool(surface, { ...base, effect: 'payment', commit: () => 'x' })
  // @ts-expect-error an effect needs a commit
  guardedTool(surface, { ...base, effect: 'payment', key: () => 'k' })
  // @ts-expect-error no such kind of effect
  guardedTool(surface, { ...base, effect: 'charge', key: () => 'k', commit: () => 'x' })
  // @ts-expect-error the key is a text
  guardedTool(surface, { ...base, effect: 'payment', key: () => 7, commit: () => 'x' })
  // @ts-expect-error there is no default for the key
  guardedTool(surface, { ...base, effect: 'payment', key: 'once', commit: () => 'x' })
  // @ts-expect-error the short form and declared effects exclude each other
  guardedTool(surface, { ...base, effect: 'payment', key: () => 'k', commit: () => 'x', effects: { charge } })
  const handmade = { kind: 'payment' as const, name: 'charge', key: () => 'k', run: () => 1 }
  // @ts-expect-error an effect is made by defineEffect
  guardedTool(surface, { ...base, effects: { handmade }, execute: () => 'x' })
  // @ts-expect-error an effect needs a key
  defineEffect({ kind: 'payment', name: 'charge', run: () => 1 })
  // @ts-expect-error the text of a refusal is fixed
  guardedTool(surface, { ...base, effects: 'none', execute: () => 'x', errorFunction: () => 'x' })
  // @ts-expect-error a refusal would have to satisfy it
  guardedTool(surface, { ...base, effects: 'none', execute: () => 'x', outputSchema: z.object({}) })

  guardedTool(surface, {
    ...base,
    effects: { charge },
    // @ts-expect-error an effect that was not declared cannot be reached
    execute: async (_args, { effects }) => effects.refund({ id: 'a' }),
  })
  guardedTool(surface, {
    ...base,
    effects: { charge },
    // @ts-expect-error the input of an effect is typed
    execute: async (_args, { effects }) => effects.charge({ invoice: 'a' }),
  })
  guardedTool(surface, {
    ...base,
    effects: 'none',
    // @ts-expect-error a tool without effects gets none
    execute: async (_args, { effects }) => effects,
  })
}

test('a missing, undeclared or keyless effect is a type error', () => {
  expect(refused).toBeTypeOf('function')
})

test('arguments, prepared values and results are inferred', async () => {
  const { guard } = await startedGuard()
  const surface = guard.surface('payments')
  const charge = defineEffect({
    kind: 'payment',
    name: 'charge',
    key: (input: { id: string }) => input.id,
    run: ({ id }) => ({ receipt: id }),
  })
  const several = guardedTool(surface, {
    name: 'several',
    description: 'x',
    parameters: z.object({ id: z.string(), cents: z.number() }),
    effects: { charge },
    execute: async (args, { effects, signal, callId }) => {
      expectTypeOf(args).toEqualTypeOf<{ id: string; cents: number }>()
      expectTypeOf(signal).toEqualTypeOf<AbortSignal>()
      expectTypeOf(callId).toEqualTypeOf<string>()
      expectTypeOf(effects.charge).returns.resolves.toEqualTypeOf<Committed<{ receipt: string }>>()
      return 'x'
    },
  })
  const one = guardedTool(surface, {
    name: 'one',
    description: 'x',
    parameters: z.object({ id: z.string() }),
    effect: 'payment',
    key: ({ id }) => id,
    prepare: ({ id }) => ({ quote: id.length }),
    commit: (args, { prepared, idempotencyKey }) => {
      expectTypeOf(args).toEqualTypeOf<{ id: string }>()
      expectTypeOf(prepared).toEqualTypeOf<{ quote: number }>()
      expectTypeOf(idempotencyKey).toEqualTypeOf<string>()
    },
  })
  const plain = tool({ name: 'plain', description: 'x', parameters: z.object({}), execute: () => 'x' })
  const agent = new Agent<{ tenant: string }>({ name: 'a', tools: [several, one, plain] })
  expect(agent.tools).toHaveLength(3)
})

test('JSON Schema is taken inline, strict or not; its arguments are unknown, as with tool()', async () => {
  const { guard } = await startedGuard()
  const strict = guardedTool(guard.surface('payments'), {
    name: 'strict',
    description: 'x',
    parameters: {
      type: 'object',
      properties: { id: { type: 'string' } },
      required: ['id'],
      additionalProperties: false,
    },
    effect: 'write',
    key: 'each-call',
    commit: (args) => expectTypeOf(args).toBeUnknown(),
  })
  const loose = guardedTool(guard.surface('payments'), {
    name: 'loose',
    description: 'x',
    parameters: {
      type: 'object',
      properties: { id: { type: 'string' } },
      required: [],
      additionalProperties: true,
    },
    strict: false,
    effects: 'none',
    execute: (args) => expectTypeOf(args).toBeUnknown(),
  })
  expect(new Agent({ name: 'a', tools: [strict, loose] }).tools).toHaveLength(2)
})

test('the app context is typed where the author names it', async () => {
  const { guard } = await startedGuard()
  interface App {
    readonly tenant: string
  }
  const parameters = z.object({})
  const typed = guardedTool<typeof parameters, App>(guard.surface('payments'), {
    name: 'x',
    description: 'x',
    parameters,
    effect: 'write',
    key: 'each-call',
    commit: (_args, { context }) => context.tenant,
  })
  const agent = new Agent<App>({ name: 'a', tools: [typed] })
  expect(agent.tools).toHaveLength(1)
  // @ts-expect-error an agent with another context cannot use it
  const other = new Agent<{ other: number }>({ name: 'b', tools: [typed] })
  expect(other.tools).toHaveLength(1)
})
