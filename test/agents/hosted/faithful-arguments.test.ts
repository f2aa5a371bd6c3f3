// What a person approves is shown as JSON. Arguments that JSON does not show whole are shown as another thing than what
// would run: nobody can approve those.

import { tool } from '@openai/agents'
import { functionCall } from '@openai/agents/testing'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { guardAgent, guardedTool, resumeAgent, runAgent, serializeState, type Guard } from 'holdpoint'
import { digestOf, faithfulDigestOf, MAX_JSON_DEPTH } from '../../../src/canonical-json.ts'
import { startedGuard } from '../../fixtures/guard.ts'
import { done, refusalIn, scripted, toldIn } from '../helpers.ts'
import { ann, boss, decideAll, hostedWorld } from './world.ts'

const start = { agent: 'cashier', input: 'go', runId: 'run_1' }
const resume = { runId: 'run_1' }

class Money {
  readonly cents = 500
}

const nested = (depth: number) => `{"a":${'['.repeat(depth - 1)}${']'.repeat(depth - 1)}}`

/** A tool that needs approval, and gets what `make` makes of its one argument. */
function converting(guard: Guard, make: (value: unknown) => unknown, ran: unknown[]) {
  return guardedTool(guard.surface('payments'), {
    name: 'transfer',
    description: 'Transfer',
    parameters: z.object({ value: z.preprocess(make, z.any()) }),
    needsApproval: true,
    effects: 'none',
    execute: ({ value }) => {
      ran.push(value)
      return 'ran'
    },
  })
}

const call = (text: string, name = 'transfer') => ({
  ...functionCall(name, {}, { callId: 'c1' }),
  arguments: text,
})

async function hosted(make: (value: unknown) => unknown, text = '{"value":7}') {
  const ran: unknown[] = []
  const made: Partial<ReturnType<typeof scripted>> = {}
  const world = await hostedWorld({
    agents: (guard) => {
      Object.assign(made, scripted([converting(guard, make, ran)], [[call(text)], done], { name: 'cashier' }))
      return [{ agent: made.agent as NonNullable<typeof made.agent> }]
    },
  })
  return { ...world, ran, model: made.model as NonNullable<typeof made.model> }
}

class Odd extends Array<number> {}

const UNFAITHFUL: [string, () => unknown][] = [
  ['a Map', () => new Map([['acct-9', 1_000_000]])],
  ['a Set', () => new Set(['acct-9'])],
  ['an instance of a class', () => new Money()],
  ['bytes', () => Buffer.from('acct-9')],
  ['a function', () => () => 1],
  ['a symbol', () => Symbol('x')],
  ['a BigInt', () => 10n],
  ['Infinity', () => Infinity],
  ['not a number', () => Number.NaN],
  ['an invalid date', () => new Date(Number.NaN)],
  ['a date with a text of its own', () => Object.assign(new Date(0), { toJSON: () => 'tomorrow' })],
  ['a date with more than its time', () => Object.assign(new Date(0), { amount: 1 })],
  ['undefined in an array', () => [1, undefined]],
  ['a hole in an array', () => Object.assign([1], { 2: 3 })],
  ['a hole at the end of an array', () => Object.assign([1], { length: 2 })],
  ['a named member of an array', () => Object.assign([1], { amount: 2 })],
  ['a named member in place of an array element', () => Object.assign(Array(1), { amount: 2 })],
  ['a class of arrays', () => Odd.from([1])],
  ['an object that says how it is shown', () => ({ amount: 1, toJSON: () => ({ amount: 0 }) })],
  ['a member without a name', () => ({ [Symbol('amount')]: 1 })],
  ['a hidden member', () => Object.defineProperty({}, 'amount', { value: 1 })],
  ['a computed member', () => Object.defineProperty({}, 'amount', { get: Math.random, enumerable: true })],
  ['an inherited member', () => Object.create({ amount: 1 })],
]

describe('arguments of a guarded tool that JSON does not show whole: APPROVAL_REQUIRED, whoever approved', () => {
  test.each(UNFAITHFUL)('%s', async (_name, make) => {
    const { runs, ran, model } = await hosted(make)
    // The person sees what the model sent.
    expect((await runs.start(ann, start)).approvals).toMatchObject([{ arguments: { value: 7 } }])
    await decideAll(runs, 'run_1', true)
    expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
    expect(ran).toEqual([])
    expect(refusalIn(model, 'c1')).toMatchObject({ error: 'approval_required', code: 'APPROVAL_REQUIRED' })
    expect((await runs.show(boss, 'run_1')).allApprovals).not.toMatchObject([{ state: 'used' }])
  })

  test('a call that is nested too deep is shown as its text', async () => {
    const text = `{"value":${nested(1000)}}`
    const { runs, ran, model } = await hosted((value) => value, text)
    expect((await runs.start(ann, start)).approvals).toMatchObject([{ arguments: text }])
    await decideAll(runs, 'run_1', true)
    await runs.resume(ann, resume)
    expect(ran).toEqual([])
    expect(refusalIn(model, 'c1').code).toBe('APPROVAL_REQUIRED')
  })
})

describe('arguments that JSON shows whole are approved and run', () => {
  const date = new Date('2030-01-02T03:04:05.678Z')
  test.each<[string, unknown, unknown]>([
    ['plain data', { a: [1, 'x', true, null], b: {} }, { a: [1, 'x', true, null], b: {} }],
    ['an object without a prototype', Object.assign(Object.create(null), { a: 1 }), { a: 1 }],
    ['a key that is called __proto__', JSON.parse('{"__proto__":1}'), JSON.parse('{"__proto__":1}')],
    ['a valid date, as ISO text', { at: date }, { at: date.toISOString() }],
    ['a member that is undefined, as absent', { a: 1, b: undefined }, { a: 1 }],
  ])('%s', async (_name, value, shown) => {
    const { runs, ran } = await hosted(() => value)
    expect((await runs.start(ann, start)).approvals).toMatchObject([{ arguments: { value: shown } }])
    await decideAll(runs, 'run_1', true)
    expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
    expect(ran).toEqual([value])
  })

  test('as deep as MAX_JSON_DEPTH, and no deeper', () => {
    const deep = JSON.parse(nested(MAX_JSON_DEPTH)) as unknown
    expect(faithfulDigestOf(deep)).toBe(digestOf(deep))
    expect(faithfulDigestOf([deep])).toBeUndefined()
  })
})

describe('a tool that somebody else made runs what the model sent: the text itself is shown and bound', () => {
  async function foreign(text: string) {
    const got: unknown[] = []
    const made: Partial<ReturnType<typeof scripted>> = {}
    const world = await hostedWorld({
      agents: (guard) => {
        const move = tool({
          name: 'move',
          description: 'Move money',
          strict: false,
          needsApproval: true,
          parameters: { type: 'object', properties: {}, required: [], additionalProperties: true },
          execute: (args) => {
            got.push(args)
            return 'moved'
          },
        })
        Object.assign(made, scripted([move], [[call(text, 'move')], done], { name: 'cashier' }))
        const agent = made.agent as NonNullable<typeof made.agent>
        guardAgent(agent, guard.surface('payments'))
        return [{ agent }]
      },
    })
    return { ...world, got, model: made.model as NonNullable<typeof made.model> }
  }

  test.each([
    ['a number that JSON shows as null', '{"amount":1e999}'],
    ['arguments that are nested too deep', nested(1000)],
  ])('%s', async (_name, text) => {
    const { runs, got, model } = await foreign(text)
    expect((await runs.start(ann, start)).approvals).toMatchObject([
      { arguments: text, digest: digestOf(text), state: 'waiting' },
    ])
    await decideAll(runs, 'run_1', true)
    expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
    expect(toldIn(model)['c1']).toBe('moved')
    expect(got).toHaveLength(1)
  })

  test('nested deeper than the SDK itself can walk: the run fails, and nothing runs', async () => {
    const { runs, got } = await foreign(nested(20_000))
    expect(await runs.start(ann, start)).toMatchObject({ status: 'failed', error: { code: 'RUN_FAILED' } })
    expect(got).toEqual([])
  })

  test('an approval of null is none of 1e999', async () => {
    expect(digestOf('{"amount":1e999}')).not.toBe(digestOf({ amount: null }))
    const { runs } = await foreign('{"amount":1e999}')
    await runs.start(ann, start)
    const decision = { callId: 'c1', digest: digestOf({ amount: null }), approve: true }
    await expect(runs.decide(boss, 'run_1', [decision])).rejects.toMatchObject({ code: 'APPROVAL_MISMATCH' })
  })
})

test('the same with runAgent and resumeAgent: shown as the model sent it, and nothing runs', async () => {
  const { guard } = await startedGuard()
  const ran: unknown[] = []
  const transfer = converting(guard, () => new Map([['acct-9', 1_000_000]]), ran)
  const { agent, model } = scripted([transfer], [[call('{"value":1e999}')], done])
  const { approvals, state } = await runAgent(guard, agent, 'go', { runId: 'run_1' })
  expect(approvals).toMatchObject([{ arguments: '{"value":1e999}', digest: digestOf('{"value":1e999}') }])
  const text = state === undefined ? '' : serializeState(state)
  const approved = [{ callId: 'c1', approve: true, digest: approvals[0]?.digest }]
  await resumeAgent(guard, agent, text, { runId: 'run_1', approvals: approved })
  expect(ran).toEqual([])
  expect(refusalIn(model, 'c1').code).toBe('APPROVAL_REQUIRED')
})
