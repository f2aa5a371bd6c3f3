import { run, RunContext } from '@openai/agents'
import { functionCall } from '@openai/agents/testing'
import { expect, test } from 'vitest'
import { z } from 'zod'
import {
  CallRefusedError,
  defineEffect,
  EffectNotPerformed,
  guardedTool,
  guardedToolCore,
  isGuarded,
} from 'holdpoint'
import { EMAIL, PAYMENTS, SERVER, startedGuard, testGuard } from '../fixtures/guard.ts'
import { Bank, done, gate, refundCall, refundTool, refusalIn, scripted, toldIn } from './helpers.ts'

const noArguments = z.object({})

test('an allowed tool asks at tool and at side_effect, then runs once and tells the model its result', async () => {
  const { guard, authority } = await startedGuard()
  const bank = new Bank()
  const { agent, model } = scripted([refundTool(guard, bank)], [[refundCall('call_1')], done])
  const result = await run(agent, 'refund INV-1')
  expect(result.finalOutput).toBe('done')
  expect(bank.invoices).toEqual(['INV-1'])
  expect(authority.boundaries).toEqual(['startup', 'tool', 'side_effect'])
  expect(authority.questions[2]).toMatchObject({
    deviceIds: [SERVER, PAYMENTS],
    tool: 'refund',
    callId: 'call_1',
  })
  expect(toldIn(model)).toEqual({ call_1: '{"receipt":"r-1"}' })
})

test('a revoked surface: the body never runs and the model is told, as one JSON object', async () => {
  const { guard, authority } = await startedGuard()
  const bank = new Bank()
  authority.stop(PAYMENTS)
  const { agent, model } = scripted([refundTool(guard, bank)], [[refundCall('call_1')], done])
  await run(agent, 'refund INV-1')
  expect(bank.refunds).toEqual([])
  expect(refusalIn(model, 'call_1')).toEqual({
    error: 'permission_denied',
    code: 'DEVICE_REVOKED',
    boundary: 'tool',
    device_id: PAYMENTS,
    request_id: 'req-2',
    executed: false,
    effects: [],
    on_denied: 'tell',
    retryable: false,
    message: expect.stringContaining('Do not try again'),
  })
})

test('G4: an authority that cannot be asked is a refusal, and nothing of its error is told', async () => {
  const { guard, authority } = await startedGuard()
  const bank = new Bank()
  authority.next(() => {
    throw new Error('connect ECONNREFUSED https://authority.internal:4100 with org_secret0123456789')
  })
  const { agent, model } = scripted([refundTool(guard, bank)], [[refundCall('call_1')], done])
  await run(agent, 'refund INV-1')
  expect(bank.refunds).toEqual([])
  expect(refusalIn(model, 'call_1')).toMatchObject({
    error: 'permission_check_unavailable',
    code: 'AUTHORITY_UNREACHABLE',
    executed: false,
  })
  expect(refusalIn(model, 'call_1').request_id).toMatch(/^local_/)
  expect(toldIn(model)['call_1']).not.toMatch(/internal|org_|ECONN/)
})

test('a tool called before the guard has started is refused', async () => {
  const { guard } = testGuard()
  const bank = new Bank()
  const { agent, model } = scripted([refundTool(guard, bank)], [[refundCall('call_1')], done])
  await run(agent, 'refund INV-1')
  expect(bank.refunds).toEqual([])
  expect(refusalIn(model, 'call_1').code).toBe('GUARD_NOT_STARTED')
})

test('revoked between the tool and its side effect: the refund is not sent', async () => {
  const { guard, authority } = await startedGuard()
  const bank = new Bank()
  const tool = guardedTool(guard.surface('payments'), {
    name: 'refund',
    description: 'Refund',
    parameters: noArguments,
    effect: 'payment',
    key: () => 'INV-1',
    prepare: () => authority.stop(PAYMENTS),
    commit: (_args, effect) => bank.refund({ invoiceId: 'INV-1', amountCents: 1 }, effect),
  })
  const { agent, model } = scripted([tool], [[functionCall('refund', {}, { callId: 'call_1' })], done])
  await run(agent, 'refund')
  expect(bank.refunds).toEqual([])
  expect(refusalIn(model, 'call_1')).toMatchObject({
    code: 'DEVICE_REVOKED',
    boundary: 'side_effect',
    executed: false,
    effects: [{ name: 'refund', state: 'denied' }],
  })
})

test('prepare runs before the second hold point and hands its result to commit', async () => {
  const { guard, authority } = await startedGuard()
  const seen: unknown[] = []
  const tool = guardedTool(guard.surface('payments'), {
    name: 'pay',
    description: 'Pay',
    parameters: z.object({ cents: z.number() }),
    effect: 'payment',
    key: 'each-call',
    prepare: ({ cents }) => {
      seen.push(authority.boundaries.at(-1))
      return { quote: cents * 2 }
    },
    commit: ({ cents }, { prepared }) => {
      seen.push(authority.boundaries.at(-1))
      return cents + prepared.quote
    },
  })
  const answer = await guardedToolCore(tool)?.call({ arguments: { cents: 5 }, callId: 'call_1' })
  expect(answer?.output).toBe('15')
  expect(seen).toEqual(['tool', 'side_effect'])
})

test('what prepare gave is no part of the key: another quote for the same invoice is a replay, not a conflict', async () => {
  const { guard } = await startedGuard()
  let quotes = 0
  const tool = guardedTool(guard.surface('payments'), {
    name: 'pay',
    description: 'Pay',
    parameters: z.object({ id: z.string() }),
    effect: 'payment',
    key: ({ id }) => id,
    prepare: () => (quotes += 1),
    commit: (_args, { prepared }) => ({ prepared }),
  })
  const core = guardedToolCore(tool)
  expect((await core?.call({ arguments: { id: 'a' }, callId: 'c1' }))?.output).toBe('{"prepared":1}')
  expect(JSON.parse((await core?.call({ arguments: { id: 'a' }, callId: 'c2' }))?.output ?? '')).toEqual({
    replayed: true,
    effects: [{ name: 'pay', state: 'replayed' }],
    result: { prepared: 1 },
  })
})

function chargeAndReceipt(bank: Bank, mails: string[]) {
  return {
    charge: defineEffect({
      kind: 'payment',
      name: 'charge',
      key: (input: { id: string }) => input.id,
      run: ({ id }, effect) => bank.refund({ invoiceId: id, amountCents: 1 }, effect),
    }),
    receipt: defineEffect({
      kind: 'email',
      name: 'receipt',
      surface: 'email',
      key: (input: { id: string; to: string }) => input.id,
      run: ({ to }) => {
        mails.push(to)
        return to.length
      },
    }),
  }
}

test('an effect on another surface asks for that surface: email can stop while payments go on', async () => {
  const { guard, authority } = await startedGuard()
  const bank = new Bank()
  const mails: string[] = []
  const tool = guardedTool(guard.surface('payments'), {
    name: 'checkout',
    description: 'Charge and mail',
    parameters: z.object({ id: z.string() }),
    effects: chargeAndReceipt(bank, mails),
    execute: async ({ id }, { effects }) => {
      const { result } = await effects.charge({ id })
      await effects.receipt({ id, to: 'a@example.com' })
      return result.receipt
    },
  })
  authority.stop(EMAIL)
  const answer = await guardedToolCore(tool)?.call({ arguments: { id: 'INV-1' }, callId: 'call_1' })
  expect(bank.invoices).toEqual(['INV-1'])
  expect(mails).toEqual([])
  expect(authority.questions.slice(1).map(({ boundary, deviceIds }) => [boundary, deviceIds[1]])).toEqual([
    ['tool', PAYMENTS],
    ['side_effect', PAYMENTS],
    ['side_effect', EMAIL],
  ])
  expect(answer).toMatchObject({
    kind: 'refused',
    body: {
      code: 'DEVICE_REVOKED',
      device_id: EMAIL,
      executed: true,
      effects: [
        { name: 'charge', state: 'done' },
        { name: 'receipt', state: 'denied' },
      ],
    },
  })
})

test('a denial is sticky: a try/catch of the author cannot hide it', async () => {
  const { guard, authority } = await startedGuard()
  const bank = new Bank()
  const caught: unknown[] = []
  const tool = guardedTool(guard.surface('payments'), {
    name: 'sneaky',
    description: 'Ignores errors',
    parameters: noArguments,
    effects: chargeAndReceipt(bank, []),
    execute: async (_args, { effects }) => {
      authority.stop(PAYMENTS)
      await effects.charge({ id: 'a' }).catch((error: unknown) => caught.push(error))
      authority.restore(PAYMENTS)
      await effects.charge({ id: 'b' }).catch((error: unknown) => caught.push(error))
      return 'all good'
    },
  })
  const answer = await guardedToolCore(tool)?.call({ arguments: {}, callId: 'call_1' })
  expect(bank.refunds).toEqual([])
  expect(caught).toEqual([expect.any(CallRefusedError), expect.any(CallRefusedError)])
  expect(answer).toMatchObject({ kind: 'refused', body: { code: 'DEVICE_REVOKED', boundary: 'side_effect' } })
})

test('LATE_COMMIT: an effect that is asked for after execute has ended does not happen', async () => {
  const { guard, lines } = await startedGuard()
  const bank = new Bank()
  const ended = gate()
  let late: Promise<unknown> | undefined
  const tool = guardedTool(guard.surface('payments'), {
    name: 'late',
    description: 'Goes on after its end',
    parameters: noArguments,
    effects: chargeAndReceipt(bank, []),
    execute: (_args, { effects }) => {
      late = ended.promise.then(() => effects.charge({ id: 'a' })).catch((error: unknown) => error)
      return 'ended'
    },
  })
  const answer = await guardedToolCore(tool)?.call({ arguments: {}, callId: 'call_1' })
  ended.resolve()
  expect(answer?.output).toBe('ended')
  expect(await late).toMatchObject({ code: 'LATE_COMMIT' })
  expect(bank.refunds).toEqual([])
  expect(lines.map((line) => line['code'])).toContain('LATE_COMMIT')
})

test('a tool that only reads has one hold point, and cannot reach an effect', async () => {
  const { guard, authority } = await startedGuard()
  const tool = guardedTool(guard.surface('tool-server'), {
    name: 'lookup',
    description: 'Look up',
    parameters: z.object({ id: z.string() }),
    effects: 'none',
    execute: ({ id }, work) => {
      expect(Object.keys(work).sort()).toEqual(['callId', 'context', 'runContext', 'runId', 'signal'])
      return { id, open: true }
    },
  })
  const answer = await guardedToolCore(tool)?.call({ arguments: { id: 'INV-1' } })
  expect(answer).toMatchObject({ kind: 'output', output: '{"id":"INV-1","open":true}', replayed: false })
  expect(authority.boundaries).toEqual(['startup', 'tool'])
})

test.each([
  ['a string stays as it is', 'plain "text"', 'plain "text"'],
  ['nothing', undefined, 'Done.'],
  ['a number', 7, '7'],
  ['what JSON cannot hold still counts as done', 1n, 'Done. The result cannot be shown.'],
])('the model is told the result: %s', async (_name, value, text) => {
  const { guard } = await startedGuard()
  const tool = guardedTool(guard.surface('tool-server'), {
    name: 'read',
    description: 'Read',
    parameters: noArguments,
    effects: 'none',
    execute: () => value,
  })
  expect((await guardedToolCore(tool)?.call({ arguments: {} }))?.output).toBe(text)
})

test('an error of the author is told as tool_failed, without its message, stack or keys', async () => {
  const { guard } = await startedGuard()
  const tool = guardedTool(guard.surface('tool-server'), {
    name: 'broken',
    description: 'Breaks',
    parameters: noArguments,
    effects: 'none',
    execute: () => {
      throw new Error('password=hunter2 at https://db.internal')
    },
  })
  const { agent, model } = scripted([tool], [[functionCall('broken', {}, { callId: 'call_1' })], done])
  await run(agent, 'go')
  expect(refusalIn(model, 'call_1')).toMatchObject({
    error: 'tool_failed',
    code: 'TOOL_FAILED',
    on_denied: 'tell',
  })
  expect(toldIn(model)['call_1']).not.toMatch(/hunter2|internal|at /)
})

test('EffectNotPerformed is told with the words of the author, and frees the key', async () => {
  const { guard } = await startedGuard()
  let declines = 1
  const tool = guardedTool(guard.surface('payments'), {
    name: 'pay',
    description: 'Pay',
    parameters: noArguments,
    effect: 'payment',
    key: () => 'INV-1',
    commit: () => {
      declines -= 1
      if (declines >= 0) throw new EffectNotPerformed('The card was declined.')
      return 'paid'
    },
  })
  const core = guardedToolCore(tool)
  expect(await core?.call({ arguments: {}, callId: 'c1' })).toMatchObject({
    body: {
      error: 'tool_failed',
      code: 'EFFECT_NOT_PERFORMED',
      message: 'The card was declined.',
      executed: false,
      effects: [{ name: 'pay', state: 'failed' }],
    },
  })
  expect(await core?.call({ arguments: {}, callId: 'c2' })).toMatchObject({ kind: 'output', output: 'paid' })
})

test('an effect that throws anything else has an unknown outcome, and is not repeated', async () => {
  const { guard } = await startedGuard()
  let attempts = 0
  const tool = guardedTool(guard.surface('payments'), {
    name: 'pay',
    description: 'Pay',
    parameters: noArguments,
    effect: 'payment',
    key: () => 'INV-1',
    commit: () => {
      attempts += 1
      throw new Error('socket hang up')
    },
  })
  const core = guardedToolCore(tool)
  for (const callId of ['c1', 'c2']) {
    expect(await core?.call({ arguments: {}, callId })).toMatchObject({
      body: { error: 'outcome_unknown', executed: 'unknown', effects: [{ name: 'pay', state: 'unknown' }] },
    })
  }
  expect(attempts).toBe(1)
})

test('a model that asks anew under another call id pays once, and is told that it was replayed', async () => {
  const { guard } = await startedGuard()
  const bank = new Bank()
  const { agent, model } = scripted(
    [refundTool(guard, bank)],
    [[refundCall('call_1')], [refundCall('call_2')], done],
  )
  await run(agent, 'refund INV-1 twice')
  expect(bank.refunds).toHaveLength(1)
  expect(JSON.parse(toldIn(model)['call_2'] ?? '')).toEqual({
    replayed: true,
    effects: [{ name: 'refund', state: 'replayed' }],
    result: { receipt: 'r-1' },
  })
})

test('two refunds of the same amount for one invoice are two: the key says which', async () => {
  const { guard } = await startedGuard()
  const bank = new Bank()
  const calls = [refundCall('call_1', 'INV-1', 500, 1), refundCall('call_2', 'INV-1', 500, 2)]
  const { agent } = scripted([refundTool(guard, bank)], [calls, done])
  await run(agent, 'two partial refunds')
  expect(bank.refunds).toHaveLength(2)
  expect(new Set(bank.refunds.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(2)
})

test('the app context reaches the body and its effects, and is not copied', async () => {
  const { guard } = await startedGuard()
  const context = { tenant: 'acme' }
  const seen: unknown[] = []
  const tool = guardedTool(guard.surface('payments'), {
    name: 'pay',
    description: 'Pay',
    parameters: noArguments,
    effect: 'payment',
    key: 'each-call',
    prepare: (_args, work) => void seen.push(work.context),
    commit: (_args, effect) => void seen.push(effect.context),
  })
  const { agent } = scripted([tool], [[functionCall('pay', {}, { callId: 'call_1' })], done])
  await run(agent, 'pay', { context })
  expect(seen).toHaveLength(2)
  expect(seen.every((one) => one === context)).toBe(true)
})

test('an each-call payment without a call id is refused; with one it runs', async () => {
  const { guard } = await startedGuard()
  const bank = new Bank()
  const core = guardedToolCore(refundTool(guard, bank, { key: 'each-call' }))
  const args = { invoiceId: 'INV-1', refundNo: 1, amountCents: 1 }
  expect(await core?.call({ arguments: args })).toMatchObject({ body: { code: 'CALL_ID_REQUIRED' } })
  expect(bank.refunds).toEqual([])
  expect(await core?.call({ arguments: args, callId: 'call_1' })).toMatchObject({ kind: 'output' })
})

test('the key of an effect counts within its caller: two callers with one call id are two payments', async () => {
  const { guard } = await startedGuard()
  const bank = new Bank()
  const core = guardedToolCore(refundTool(guard, bank, { key: 'each-call' }))
  const args = { invoiceId: 'INV-1', refundNo: 1, amountCents: 1 }
  for (const caller of ['alice', 'bob', 'alice'])
    await core?.call({ arguments: args, callId: 'call_0', caller })
  expect(bank.refunds).toHaveLength(2)
})

test('a direct invoke of the SDK tool passes the same hold points', async () => {
  const { guard, authority } = await startedGuard()
  const bank = new Bank()
  const tool = refundTool(guard, bank)
  authority.stop(PAYMENTS)
  const text = await tool.invoke(new RunContext(), '{"invoiceId":"INV-1","refundNo":1,"amountCents":1}')
  expect(JSON.parse(text)).toMatchObject({ code: 'DEVICE_REVOKED', on_denied: 'tell' })
  expect(bank.refunds).toEqual([])
})

test('a core says what hosts need, and calls of it never reject', async () => {
  const { guard } = await startedGuard()
  const tool = refundTool(guard, new Bank(), { onDenied: 'stop' })
  const core = guardedToolCore(tool)
  expect(core).toMatchObject({
    name: 'refund',
    description: 'Refund one invoice',
    onDenied: 'stop',
    strict: true,
    parameters: { type: 'object', additionalProperties: false },
  })
  expect(core?.inputSchema.safeParse({ invoiceId: 'INV-1', amountCents: 1 }).success).toBe(true)
  const circular: Record<string, unknown> = {}
  circular['self'] = circular
  for (const args of ['{', '', 'null', '[]', null, undefined, 7, circular, { amountCents: 'x' }]) {
    expect(await core?.call({ arguments: args })).toMatchObject({ kind: 'bad_arguments' })
  }
  expect(isGuarded(tool)).toBe(true)
  expect(guardedToolCore({ name: 'x', invoke: () => {} })).toBeUndefined()
  expect(isGuarded(undefined)).toBe(false)
})

test('a replayed result that JSON cannot hold is still marked as replayed', async () => {
  const { guard } = await startedGuard()
  let sent = 0
  const tool = guardedTool(guard.surface('payments'), {
    name: 'pay',
    description: 'Pay',
    parameters: noArguments,
    effects: { pay: defineEffect({ kind: 'payment', name: 'pay', key: () => 'k', run: () => (sent += 1) }) },
    execute: async (_args, { effects }) => {
      await effects.pay({})
      return 10n
    },
  })
  const core = guardedToolCore(tool)
  expect((await core?.call({ arguments: {} }))?.output).toBe('Done. The result cannot be shown.')
  expect(JSON.parse((await core?.call({ arguments: {} }))?.output ?? '')).toEqual({
    replayed: true,
    effects: [{ name: 'pay', state: 'replayed' }],
    result: 'cannot be shown',
  })
  expect(sent).toBe(1)
})
