// What a person approved runs with the context that the run was started with, or with one that the app makes.

import { functionCall } from '@openai/agents/testing'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { guardedTool } from 'holdpoint'
import type { HostedAgent } from '../../../src/agents/hosted/hosted-agent.ts'
import type { Guard } from '../../../src/guard/guard.ts'
import { done, scripted } from '../helpers.ts'
import { ann, boss, decideAll, hostedWorld, KEY } from './world.ts'

const start = { agent: 'cashier', input: 'go', runId: 'run_1' }
const resume = { runId: 'run_1' }
const PETTY_CASH = { account: 'petty-cash', limits: { day: 100 } }
const OTHER_KEY = Buffer.alloc(32, 9)

async function paying(context?: HostedAgent['context'], pausesFirst: 1 | 2 = 1) {
  const from: unknown[] = []
  const hosted = (guard: Guard): HostedAgent[] => {
    const pay = guardedTool(guard.surface('payments'), {
      name: 'pay',
      description: 'Pay',
      parameters: z.object({}),
      needsApproval: true,
      effect: 'payment',
      key: 'each-call',
      commit: (_, at) => void from.push(at.context),
    })
    const call = [functionCall('pay', {}, { callId: 'c1' })]
    const { agent } = scripted([pay], pausesFirst === 1 ? [call, done] : [call, call, done], {
      name: 'cashier',
    })
    return [{ agent, ...(context === undefined ? {} : { context }) }]
  }
  const world = await hostedWorld({ agents: hosted })
  return { ...world, hosted, from }
}

test.each([
  ['another one', { account: 'the-vault', limits: { day: 100 } }],
  ['one more field', { ...PETTY_CASH, admin: true }],
  ['none', undefined],
  ['null', null],
])('CONTEXT_CHANGED: %s at resume runs nothing, and the run stays as it was', async (_, context) => {
  const { runs, from } = await paying()
  await runs.start(ann, { ...start, context: PETTY_CASH })
  await decideAll(runs, 'run_1', true)
  await expect(runs.resume(ann, { ...resume, context })).rejects.toMatchObject({ code: 'CONTEXT_CHANGED' })
  await expect(runs.resume(boss, { ...resume, context })).rejects.toMatchObject({ code: 'CONTEXT_CHANGED' })
  expect(from).toEqual([])
  expect(await runs.show(ann, 'run_1')).toMatchObject({
    status: 'interrupted',
    approvals: [{ state: 'approved' }],
  })
  const same = { limits: { day: 100 }, account: 'petty-cash' }
  expect(await runs.resume(ann, { ...resume, context: same })).toMatchObject({ status: 'completed' })
  expect(from).toEqual([PETTY_CASH])
})

test('CONTEXT_CHANGED: a run that was started with none takes none, also one that had waited', async () => {
  for (const background of [false, true]) {
    const { runs, from } = await paying()
    runs.begin()
    await runs.start(ann, { ...start, background })
    await expect.poll(() => runs.show(ann, 'run_1')).toMatchObject({ status: 'interrupted' })
    await decideAll(runs, 'run_1', true)
    const context = { account: 'the-vault' }
    await expect(runs.resume(ann, { ...resume, context })).rejects.toMatchObject({ code: 'CONTEXT_CHANGED' })
    expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
    expect(from).toHaveLength(1)
  }
})

test('where the app makes the context, what the caller sends may be another', async () => {
  const { runs, from } = await paying(({ caller, context }) => ({ caller, context }))
  await runs.start(ann, { ...start, context: 1 })
  await decideAll(runs, 'run_1', true)
  expect(await runs.resume(ann, { ...resume, context: 2 })).toMatchObject({ status: 'completed' })
  expect(from).toEqual([{ caller: 'ann', context: 2 }])
})

test('an app that made the context and makes it no longer: nobody knows what it was, so nothing goes on', async () => {
  const { runs, replica, guard, from, hosted } = await paying(() => ({ ours: true }))
  await runs.start(ann, { ...start, context: PETTY_CASH })
  await decideAll(runs, 'run_1', true)
  const without = replica(hosted(guard).map(({ agent }) => ({ agent })))
  await expect(without.resume(ann, { ...resume, context: PETTY_CASH })).rejects.toMatchObject({
    code: 'CONTEXT_CHANGED',
  })
  expect(from).toEqual([])
})

test('the digest of a context is keyed: the file does not tell which contexts it may have been', async () => {
  const { runs, store, replica, guard, hosted } = await paying(undefined, 2)
  const context = { pin: 7 }
  await runs.start(ann, { ...start, context })
  await runs.start(ann, { ...start, runId: 'run_2', context })
  const [one, two] = await Promise.all(['run_1', 'run_2'].map((runId) => store.runs.find(runId)))
  expect(one?.contextDigest).toMatch(/^[0-9a-f]{16}\.[\w-]{43}$/)
  expect(two?.contextDigest).not.toBe(one?.contextDigest)
  const rotated = replica(hosted(guard), { stateKeys: [OTHER_KEY, KEY] })
  await expect(rotated.resume(ann, { ...resume, context: { pin: 8 } })).rejects.toMatchObject({
    code: 'CONTEXT_CHANGED',
  })
  expect((await rotated.resume(ann, { ...resume, context })).status).toBe('interrupted')
  const unkeyed = replica(hosted(guard), { stateKeys: [OTHER_KEY] })
  expect((await unkeyed.resume(ann, { ...resume, context })).status).toBe('interrupted')
  const refused = { code: 'RUN_STATE_REFUSED' }
  await expect(unkeyed.resume(ann, { runId: 'run_2', context })).rejects.toMatchObject(refused)
})

test.each([
  ['a function', () => 1],
  ['a map', new Map()],
  ['a number that is none', { day: Number.NaN }],
])('a context that is %s can be told from no other: BAD_INPUT, and no run is stored', async (_, context) => {
  const { runs } = await paying()
  await expect(runs.start(ann, { ...start, context })).rejects.toMatchObject({ code: 'BAD_INPUT' })
  expect(await runs.list(boss, {})).toEqual([])
})

test('CONTEXT_FAILED: what the app throws at resume is told to nobody, and the run stays as it was', async () => {
  let fails = false
  const { runs, lines, from } = await paying(() =>
    fails ? (JSON.parse('sk_live_SECRET') as unknown) : { ours: true },
  )
  await runs.start(ann, start)
  await decideAll(runs, 'run_1', true)
  fails = true
  const refused = await runs.resume(ann, resume).catch((error: unknown) => error as Error)
  expect(refused).toMatchObject({ code: 'CONTEXT_FAILED' })
  expect((refused as Error).message).not.toMatch(/SECRET|JSON/)
  expect(lines).toContainEqual(expect.objectContaining({ err: expect.stringContaining('not valid JSON') }))
  fails = false
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
  expect(from).toEqual([{ ours: true }])
})

test('a context that the SDK cannot write beside a pause: the run has failed, and says so', async () => {
  const { runs } = await paying(() => 'no object')
  expect(await runs.start(ann, start)).toMatchObject({ status: 'failed', resumable: false })
})
