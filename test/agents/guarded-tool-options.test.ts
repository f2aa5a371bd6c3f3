import { run, RunContext, Runner, tool } from '@openai/agents'
import { functionCall } from '@openai/agents/testing'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { defineEffect, guardedTool, guardedToolCore } from 'holdpoint'
import { PAYMENTS, startedGuard } from '../fixtures/guard.ts'
import { Bank, done, gate, refundCall, refundTool, refusalIn, scripted, toldIn } from './helpers.ts'

const reading = { description: 'Read', effects: 'none' } as const

test('the options of tool() pass through: the model sees what an unguarded tool would show', async () => {
  const { guard } = await startedGuard()
  const shared = {
    name: 'read things',
    description: 'Read',
    parameters: z.object({ id: z.string(), note: z.string().optional() }),
    deferLoading: true,
    providerData: { cache: true },
    timeoutMs: 50,
    timeoutBehavior: 'raise_exception' as const,
    allowedCallers: ['direct'] as ['direct'],
    outputGuardrails: [{ name: 'own', run: async () => ({ behavior: { type: 'allow' as const } }) }],
    customDataExtractor: () => ({ extracted: 'yes' }),
  }
  const guarded = guardedTool(guard.surface('tool-server'), {
    ...shared,
    effects: 'none',
    execute: () => 'x',
  })
  const plain = tool({ ...shared, execute: () => 'x' })
  // What the two have of their own: functions, and the guardrail that takes notes.
  const visible = (made: object) =>
    Object.entries(made).filter(
      ([key, value]) => value !== undefined && typeof value !== 'function' && key !== 'inputGuardrails',
    )
  expect(visible(guarded)).toEqual(visible(plain))
})

test('own guardrails still run, after the one that takes notes', async () => {
  const { guard, authority } = await startedGuard()
  const own = guardedTool(guard.surface('tool-server'), {
    ...reading,
    name: 'read',
    parameters: z.object({}),
    inputGuardrails: [
      {
        name: 'mine',
        run: async () => ({ behavior: { type: 'rejectContent' as const, message: 'not today' } }),
      },
    ],
    execute: () => 'x',
  })
  const { agent, model } = scripted([own], [[functionCall('read', {}, { callId: 'call_1' })], done])
  await run(agent, 'go')
  expect(toldIn(model)).toEqual({ call_1: 'not today' })
  expect(authority.boundaries).toEqual(['startup'])
})

test('isEnabled hides the tool as it would without a guard', async () => {
  const { guard } = await startedGuard()
  const options = { ...reading, name: 'read', parameters: z.object({}), execute: () => 'x' }
  const hidden = guardedTool(guard.surface('tool-server'), { ...options, isEnabled: false })
  const shown = guardedTool(guard.surface('tool-server'), {
    ...options,
    name: 'shown',
    isEnabled: ({ agent }) => agent.name === 'support',
  })
  const { agent, model } = scripted([hidden, shown], [done])
  await run(agent, 'go')
  expect(model.calls[0]?.request.tools.map((one) => one.type === 'function' && one.name)).toEqual(['shown'])
})

const jsonSchema = {
  type: 'object' as const,
  properties: {
    id: { type: 'string', minLength: 3 },
    cents: { type: 'integer', minimum: 1 },
    note: { type: 'string' },
  },
  required: ['id' as const, 'cents' as const],
  additionalProperties: true as const,
}

test('JSON Schema arguments are validated, which the SDK does not do, and cost no question', async () => {
  const { guard, authority } = await startedGuard()
  const seen: unknown[] = []
  const own = guardedTool(guard.surface('payments'), {
    name: 'pay',
    description: 'Pay',
    parameters: jsonSchema,
    strict: false,
    effect: 'payment',
    key: 'each-call',
    commit: (args) => void seen.push(args),
  })
  const { agent, model } = scripted(
    [own],
    [
      [functionCall('pay', { id: 'x', cents: '5' }, { callId: 'bad' })],
      [functionCall('pay', { id: 'abc', cents: 5 }, { callId: 'good' })],
      done,
    ],
  )
  await run(agent, 'go')
  expect(JSON.parse(toldIn(model)['bad'] ?? '')).toMatchObject({
    error: 'bad_arguments',
    issues: [expect.stringMatching(/^id: /), expect.stringMatching(/^cents: /)],
  })
  expect(seen).toEqual([{ id: 'abc', cents: 5 }])
  expect(authority.boundaries).toEqual(['startup', 'tool', 'side_effect'])
})

test('the model gets the JSON Schema as the author wrote it', async () => {
  const { guard } = await startedGuard()
  const own = guardedTool(guard.surface('tool-server'), {
    ...reading,
    name: 'read',
    parameters: jsonSchema,
    strict: false,
    execute: () => 'x',
  })
  expect(own.parameters).toBe(jsonSchema)
  expect(guardedToolCore(own)?.strict).toBe(false)
})

test('a JSON Schema that nobody can check is refused when the tool is made', async () => {
  const { guard } = await startedGuard()
  const parameters = {
    ...jsonSchema,
    properties: { id: { $ref: 'https://example.com/other.json' } },
  } as never
  const make = () =>
    guardedTool(guard.surface('tool-server'), {
      ...reading,
      name: 'read',
      parameters,
      strict: false,
      execute: () => 'x',
    })
  expect(make).toThrow(/GUARD_MISCONFIGURED|JSON Schema/)
})

test('zod arguments are parsed once: a change of the schema reaches the body once', async () => {
  const { guard } = await startedGuard()
  const own = guardedTool(guard.surface('tool-server'), {
    ...reading,
    name: 'read',
    parameters: z.object({ id: z.string().overwrite((id) => `${id}!`) }),
    execute: ({ id }) => id,
  })
  const { agent, model } = scripted([own], [[functionCall('read', { id: 'a' }, { callId: 'call_1' })], done])
  await run(agent, 'go')
  expect(toldIn(model)).toEqual({ call_1: 'a!' })
  expect((await guardedToolCore(own)?.call({ arguments: '{"id":"a"}' }))?.output).toBe('a!')
})

test('Standard Schema works as with tool(), with a zod schema for hosts', async () => {
  const { guard } = await startedGuard()
  const { '~standard': standard } = z.object({ id: z.string().min(2) })
  const own = guardedTool(guard.surface('tool-server'), {
    ...reading,
    name: 'read',
    parameters: { '~standard': standard },
    execute: ({ id }) => id,
  })
  const core = guardedToolCore(own)
  expect((await core?.call({ arguments: { id: 'abc' } }))?.output).toBe('abc')
  expect(await core?.call({ arguments: { id: 'a' } })).toMatchObject({ kind: 'bad_arguments' })
  expect(core?.inputSchema.safeParse({ id: 7 }).success).toBe(false)
})

test('null for an optional argument, as models in strict mode give it, is as good as none', async () => {
  const { guard } = await startedGuard()
  const own = guardedTool(guard.surface('tool-server'), {
    ...reading,
    name: 'read',
    parameters: z.object({ id: z.string(), note: z.string().optional() }),
    execute: (args) => args,
  })
  const core = guardedToolCore(own)
  expect((await core?.call({ arguments: { id: 'a', note: null } }))?.output).toBe('{"id":"a"}')
  expect(await core?.call({ arguments: { id: 7, note: null } })).toMatchObject({
    issues: [expect.stringMatching(/^id: /)],
  })
})

test('timeoutMs while the question is pending: the effect does not happen, and the model is told not to repeat', async () => {
  const { guard, authority } = await startedGuard()
  const bank = new Bank()
  const answered = gate()
  authority.beforeAnswer = ({ boundary }) => (boundary === 'side_effect' ? answered.promise : undefined)
  const { agent, model } = scripted(
    [refundTool(guard, bank, { timeoutMs: 20 })],
    [[refundCall('call_1')], done],
  )
  await run(agent, 'go')
  answered.resolve()
  await guard.close()
  expect(bank.refunds).toEqual([])
  expect(refusalIn(model, 'call_1')).toMatchObject({
    error: 'tool_failed',
    code: 'TOOL_TIMEOUT',
    executed: 'unknown',
  })
})

test.each([
  ['told', {}, 'TOOL_TIMEOUT'],
  ['raised', { timeoutBehavior: 'raise_exception' as const }, 'TOOL_TIMEOUT'],
  ['in own words', { timeoutErrorFunction: () => 'own words' }, 'TOOL_TIMEOUT'],
])(
  'timeoutMs over a host: executed is unknown with an effect, false without, whatever is %s',
  async (_name, options, code) => {
    const { guard, lines } = await startedGuard()
    const base = { name: 'slow', description: 'x', parameters: z.object({}), timeoutMs: 10, ...options }
    const forever = () => new Promise<never>(() => {})
    const surface = guard.surface('payments')
    const reads = guardedTool(surface, { ...base, effects: 'none', execute: forever })
    const pays = guardedTool(surface, { ...base, effect: 'payment', key: () => 'k', commit: forever })
    expect(await guardedToolCore(reads)?.call({ arguments: {}, callId: 'c1' })).toMatchObject({
      body: { code, executed: false },
    })
    const paid = await guardedToolCore(pays)?.call({ arguments: {}, callId: 'c2' })
    expect(paid).toMatchObject({ body: { code, executed: 'unknown' } })
    const logged = lines.filter((line) => line['code'] === code)
    expect(logged).toMatchObject([
      { call_id: 'c1' },
      { call_id: 'c2', request_id: expect.stringMatching(/^local_/) },
    ])
  },
)

test('an abort while the question is pending: the effect does not happen', async () => {
  const { guard, authority } = await startedGuard()
  const bank = new Bank()
  const controller = new AbortController()
  const answered = gate()
  authority.beforeAnswer = ({ boundary, signal }) => {
    if (boundary !== 'side_effect') return undefined
    expect(signal?.aborted).toBe(false)
    controller.abort(new Error('the user left'))
    return answered.promise
  }
  const { agent } = scripted([refundTool(guard, bank)], [[refundCall('call_1')], done])
  const running = run(agent, 'go', { signal: controller.signal })
  answered.resolve()
  await expect(running).rejects.toThrow('the user left')
  expect(bank.refunds).toEqual([])
})

test('a host that gives up is refused CALL_ABORTED, and nothing happens', async () => {
  const { guard, authority } = await startedGuard()
  const bank = new Bank()
  const controller = new AbortController()
  authority.beforeAnswer = () => controller.abort()
  const core = guardedToolCore(refundTool(guard, bank))
  const answer = await core?.call({
    arguments: { invoiceId: 'INV-1', amountCents: 1 },
    callId: 'c1',
    signal: controller.signal,
  })
  expect(answer).toMatchObject({ body: { code: 'CALL_ABORTED', executed: false } })
  expect(bank.refunds).toEqual([])
})

test('parallel calls each ask for themselves, and a denied one leaves the others alone', async () => {
  const { guard, authority } = await startedGuard()
  const bank = new Bank()
  const read = guardedTool(guard.surface('tool-server'), {
    ...reading,
    name: 'read',
    parameters: z.object({}),
    execute: () => 'read it',
  })
  authority.stop(PAYMENTS)
  const calls = [
    refundCall('call_1'),
    functionCall('read', {}, { callId: 'call_2' }),
    refundCall('call_3', 'INV-2'),
  ]
  const { agent, model } = scripted([refundTool(guard, bank), read], [calls, done])
  await run(agent, 'go')
  expect(authority.boundaries).toEqual(['startup', 'tool', 'tool', 'tool'])
  expect(toldIn(model)['call_2']).toBe('read it')
  expect(refusalIn(model, 'call_1').code).toBe('DEVICE_REVOKED')
  expect(refusalIn(model, 'call_3').code).toBe('DEVICE_REVOKED')
})

test('a runner that caps tool concurrency asks when each call starts, not before', async () => {
  const { guard, authority } = await startedGuard()
  const bank = new Bank()
  bank.before = () => authority.stop(PAYMENTS)
  const calls = [refundCall('call_1', 'INV-1'), refundCall('call_2', 'INV-2')]
  const { agent, model } = scripted([refundTool(guard, bank)], [calls, done])
  await new Runner({ toolExecution: { maxFunctionToolConcurrency: 1 } }).run(agent, 'go')
  expect(bank.invoices).toEqual(['INV-1'])
  expect(refusalIn(model, 'call_2').code).toBe('DEVICE_REVOKED')
})

const base = { name: 'x', description: 'x', parameters: z.object({}) }
const effect = defineEffect({ kind: 'write', name: 'w', key: () => 'k', run: () => 1 })

test.each<[string, object, RegExp]>([
  ['no word about effects', { ...base, execute: () => 1 }, /must say what it does/],
  ['no key', { ...base, effect: 'payment', commit: () => 1 }, /needs a key/],
  ['no commit', { ...base, effect: 'payment', key: () => 'k' }, /needs commit/],
  ['no execute', { ...base, effects: 'none' }, /needs execute/],
  [
    'an effect not made by defineEffect',
    { ...base, effects: { a: { run: () => 1 } }, execute: () => 1 },
    /defineEffect/,
  ],
  [
    'an effect on an undeclared surface',
    { ...base, effects: { a: { ...effect, surface: 'ghost' } }, execute: () => 1 },
    /"ghost" is not declared/,
  ],
  [
    'errorFunction',
    { ...base, effects: 'none', execute: () => 1, errorFunction: () => '' },
    /errorFunction is not supported/,
  ],
  [
    'errorFunction: null',
    { ...base, effects: 'none', execute: () => 1, errorFunction: null },
    /errorFunction is not supported/,
  ],
  [
    'outputSchema',
    { ...base, effects: 'none', execute: () => 1, outputSchema: z.object({}) },
    /outputSchema is not supported/,
  ],
  ['no name', { ...base, name: undefined, effects: 'none', execute: () => 1 }, /needs a name/],
  [
    'no parameters',
    { ...base, parameters: undefined, effects: 'none', execute: () => 1 },
    /needs parameters/,
  ],
  [
    'an onDenied nobody knows',
    { ...base, effects: 'none', execute: () => 1, onDenied: 'ignore' },
    /onDenied/,
  ],
])('GUARD_MISCONFIGURED for JavaScript users: %s', async (_name, options, message) => {
  const { guard } = await startedGuard()
  const make = () => guardedTool(guard.surface('payments'), options as never)
  expect(make).toThrow(
    expect.objectContaining({ code: 'GUARD_MISCONFIGURED', message: expect.stringMatching(message) }),
  )
})

test('an undeclared surface is refused when the tool is made', async () => {
  const { guard } = await startedGuard()
  expect(() => guard.surface('refunds')).toThrow(/"refunds" is not declared/)
})

const allow = async () => ({ behavior: { type: 'allow' as const } })
test.each([
  ['inputGuardrails', { inputGuardrails: [{ name: 'own', run: allow }] }],
  ['outputGuardrails', { outputGuardrails: [{ name: 'own', run: allow }] }],
  ['isEnabled', { isEnabled: false }],
  ['isEnabled', { isEnabled: () => true }],
])('a direct call cannot apply %s, so it is refused, logged, and runs nothing', async (option, options) => {
  const { guard, authority, lines } = await startedGuard()
  const ran: string[] = []
  const own = guardedTool(guard.surface('payments'), {
    ...reading,
    name: 'read',
    parameters: z.object({}),
    execute: () => void ran.push('read'),
    ...options,
  })
  expect(await guardedToolCore(own)?.call({ arguments: {}, callId: 'c1' })).toMatchObject({
    kind: 'refused',
    body: { error: 'permission_denied', code: 'GUARD_MISCONFIGURED', executed: false },
  })
  expect(ran).toEqual([])
  expect(authority.boundaries).toEqual(['startup'])
  expect(lines).toContainEqual(expect.objectContaining({ tool: 'read', options: [option] }))
  expect(lines).toContainEqual(expect.objectContaining({ tool: 'read', code: 'GUARD_MISCONFIGURED' }))
})

test('isEnabled: true and empty lists of guardrails are in nobody’s way', async () => {
  const { guard } = await startedGuard()
  const own = guardedTool(guard.surface('payments'), {
    ...reading,
    name: 'read',
    parameters: z.object({}),
    execute: () => 'x',
    isEnabled: true,
    inputGuardrails: [],
    outputGuardrails: [],
  })
  expect((await guardedToolCore(own)?.call({ arguments: {} }))?.output).toBe('x')
})

const described = z
  .object({ id: z.string().describe('of the thing'), cents: z.number().int(), note: z.string().optional() })
  .describe('What to pay')
const WRONG = { id: 'secret-value', cents: 'secret-amount', note: null }
const WHAT_IS_WRONG = ['cents: Invalid input: expected number, received string']

test.each<[string, object]>([
  ['zod', described],
  ['Standard Schema', { '~standard': described['~standard'] }],
])(
  'in a run and in a direct invoke bad arguments are told by place, never by value: %s',
  async (_n, schema) => {
    const { guard, authority } = await startedGuard()
    const asked: unknown[] = []
    const own = guardedTool(guard.surface('payments'), {
      ...reading,
      name: 'read',
      parameters: schema as typeof described,
      needsApproval: (_runContext, args) => {
        asked.push(args)
        return false
      },
      execute: ({ id }) => id,
    })
    const fits = { ...WRONG, cents: 5 }
    const script = [
      [functionCall('read', WRONG, { callId: 'bad' })],
      [functionCall('read', fits, { callId: 'good' })],
    ]
    const { agent, model } = scripted([own], [...script, done])
    await run(agent, 'go')
    const told = toldIn(model)
    expect(JSON.parse(told['bad'] ?? '')).toMatchObject({ error: 'bad_arguments', issues: WHAT_IS_WRONG })
    expect(told['bad']).not.toContain('secret')
    expect(told['good']).toBe('secret-value')
    expect(authority.boundaries).toEqual(['startup', 'tool'])

    const invoked = await own.invoke(new RunContext(), JSON.stringify(WRONG))
    expect(JSON.parse(invoked)).toMatchObject({ error: 'bad_arguments', issues: WHAT_IS_WRONG })
    for (const text of ['null', '[]', '"x"', '7'])
      expect(JSON.parse(await own.invoke(new RunContext(), text)).issues).toEqual([
        expect.stringMatching(/object/),
      ])
    expect(JSON.parse(await own.invoke(new RunContext(), '{"id":')).issues).toEqual([
      'The arguments are not well-formed JSON.',
    ])
    expect(asked.every((args) => (args as typeof fits).cents === 5)).toBe(true)
    expect(authority.boundaries).toEqual(['startup', 'tool'])
  },
)

test('G4: a schema that throws or is asynchronous refuses the arguments', async () => {
  const { guard } = await startedGuard()
  const ran: unknown[] = []
  const own = guardedTool(guard.surface('payments'), {
    ...reading,
    name: 'read',
    parameters: z.object({ id: z.string().refine(async () => true) }),
    execute: (args) => void ran.push(args),
  })
  expect(JSON.parse(await own.invoke(new RunContext(), '{"id":"a"}'))).toMatchObject({
    error: 'bad_arguments',
    issues: ['These arguments could not be checked.'],
  })
  expect(ran).toEqual([])
})

test('descriptions of a zod schema reach the model', async () => {
  const { guard } = await startedGuard()
  const shared = { name: 'read', description: 'Read', parameters: described }
  const own = guardedTool(guard.surface('payments'), { ...shared, effects: 'none', execute: () => 'x' })
  expect(own.parameters).toEqual(tool({ ...shared, execute: () => 'x' }).parameters)
  expect(JSON.stringify(own.parameters)).toMatch(/What to pay.*of the thing|of the thing.*What to pay/)
})
