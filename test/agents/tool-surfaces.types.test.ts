import { expect, expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import { defineEffect, guardedTool } from 'holdpoint'
import { startedGuard } from '../fixtures/guard.ts'

// What the compiler refuses is the test; the body only has to be compiled. It never runs, so that nothing throws.
const refused = async (): Promise<void> => {
  const { guard } = await startedGuard()
  const parameters = z.object({ tenant: z.string(), cents: z.number() })
  const reads = { name: 'x', description: 'x', parameters, effects: 'none' as const, execute: () => 'x' }
  const charge = defineEffect({ kind: 'payment', name: 'charge', key: 'each-call', run: () => 1 })

  const effect = {
    name: 'x',
    description: 'x',
    parameters,
    effect: 'payment' as const,
    key: 'each-call' as const,
  }
  const jsonSchema = {
    type: 'object' as const,
    properties: {},
    required: [],
    additionalProperties: true as const,
  }
  const customer = guard.surfaceBy(['payments'], (args: { customer: string }) => args.customer)
  const number = guard.surfaceBy(['payments'], (args: { tenant: number }) => `${args.tenant}`)
  const fits = guard.surfaceBy(['payments'], (args: { tenant: string }) => args.tenant)

  // @ts-expect-error the tool has no such argument
  guardedTool(customer, reads)
  // @ts-expect-error the argument is of another type
  guardedTool(number, reads)
  // @ts-expect-error so it is for a tool with one effect
  guardedTool(number, { ...effect, commit: () => 1 })
  guardedTool(fits, { ...effect, commit: () => 1 })
  // @ts-expect-error and for one with several
  guardedTool(number, { ...reads, effects: { charge } })
  guardedTool(fits, { ...reads, effects: { charge } })
  // @ts-expect-error the arguments of JSON Schema are unknown: a choice that takes them must narrow them itself
  guardedTool(fits, { ...reads, parameters: jsonSchema, strict: false })
  // @ts-expect-error the choice is a name
  guard.surfaceBy(['payments'], (args: { cents: number }) => args.cents)
  // @ts-expect-error a whole guard is no surface
  guardedTool(guard, reads)
  const cc = { names: ['email'], choose: (input: { cc: string }) => input.cc }
  const mail = { kind: 'email' as const, name: 'mail', key: 'each-call' as const, run: () => 1 }
  // @ts-expect-error an effect chooses from its own input
  defineEffect<{ to: string }, number>({ ...mail, surface: cc })
}

test('a surface that is chosen from arguments which the tool does not have is a type error', () => {
  expect(refused).toBeTypeOf('function')
})

test('a choice may look at some of the arguments, as they are after parsing', async () => {
  const { guard } = await startedGuard()
  const tool = guardedTool(
    guard.surfaceBy(['payments', 'email'], ({ to }: { to: string }) => to),
    {
      name: 'x',
      description: 'x',
      parameters: z.object({ to: z.string().default('email'), cents: z.number() }),
      effects: 'none',
      execute: (args) => {
        expectTypeOf(args).toEqualTypeOf<{ to: string; cents: number }>()
        return 'x'
      },
    },
  )
  expect(tool.name).toBe('x')
})
