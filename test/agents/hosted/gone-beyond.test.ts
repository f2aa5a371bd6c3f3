// A run whose process dies goes back to its last saved state, where the model is asked anew and calls under new ids. So
// it must not go back once it has done what would then be done again.

import { shellTool, tool } from '@openai/agents'
import { functionCall } from '@openai/agents/testing'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { defineEffect, guardAgent, guardedTool } from 'holdpoint'
import { createRuns } from '../../../src/agents/hosted/runs.ts'
import type { HostedAgent } from '../../../src/agents/hosted/hosted-agent.ts'
import type { RunStore } from '../../../src/agents/hosted/run-store.ts'
import type { Guard } from '../../../src/guard/guard.ts'
import { done, refundCall, refundTool, scripted } from '../helpers.ts'
import { ann, decideAll, hostedWorld, KEY } from './world.ts'

const start = { agent: 'cashier', input: 'go', runId: 'run_1' }
const resume = { runId: 'run_1' }
const to = z.object({ to: z.string() })

interface Later {
  /** Adds to what was done. */
  readonly act: () => void
  readonly guard: Guard
}

/** Paused at a refund. Resumed, the model calls `later`, and the process dies before the run is saved. */
async function diedAfter(later: (at: Later) => unknown, item: object = {}) {
  const acts: string[] = []
  const call = (callId: string) => ({ ...functionCall('later', { to: 'a@b.c' }, { callId }), ...item })
  let agent: HostedAgent['agent'] | undefined
  const world = await hostedWorld({
    agents: (guard, bank) => {
      const tools = [
        refundTool(guard, bank, { needsApproval: true }),
        later({ guard, act: () => void acts.push('done') }),
      ] as Parameters<typeof scripted>[0]
      agent = scripted(tools, [[refundCall('c1')], [call('c2')], done, [call('c3')], done], {
        name: 'cashier',
      }).agent
      guardAgent(agent, guard.surface('email'))
      return [{ agent }]
    },
  })
  const { runs, store, guard, time } = world
  await runs.start(ann, start)
  await decideAll(runs, 'run_1', true)
  const save = () => Promise.reject(new Error('the process died'))
  const dying: RunStore = { ...store.runs, save }
  const died = createRuns({
    guard,
    agents: [{ agent: agent as HostedAgent['agent'] }],
    stateKeys: [KEY],
    nowMs: () => time.ms,
    store: dying,
  })
  await expect(died.resume(ann, resume)).rejects.toThrow('the process died')
  expect(acts).toEqual(['done'])
  time.ms += 60_001
  return { ...world, acts }
}

const eachCallMail = ({ guard, act }: Later) =>
  guardedTool(guard.surface('email'), {
    name: 'later',
    description: 'Mail',
    parameters: to,
    effect: 'email',
    key: 'each-call',
    commit: act,
  })

const severalEffects = ({ guard, act }: Later) =>
  guardedTool(guard.surface('email'), {
    name: 'later',
    description: 'Mail and note',
    parameters: to,
    effects: {
      note: defineEffect({
        kind: 'write',
        name: 'note',
        key: (args: z.infer<typeof to>) => args.to,
        run: () => 1,
      }),
      mail: defineEffect({ kind: 'email', name: 'mail', key: 'each-call', run: act }),
    },
    execute: async (args, { effects }) => {
      await effects.note(args)
      await effects.mail(args)
      return 'ok'
    },
  })

const foreign = ({ act }: Later) =>
  tool({ name: 'later', description: 'Somebody else wrote it', parameters: to, execute: () => (act(), 'ok') })

const shell = ({ act }: Later) =>
  shellTool({
    name: 'later',
    shell: { run: async () => (act(), { output: [] }) },
  })

const shellCall = { type: 'shell_call', status: 'completed', action: { commands: ['date'] }, name: undefined }

test.each([
  ['an effect that is another with each call', eachCallMail, {}],
  ['a tool of which one effect is another with each call', severalEffects, {}],
  ['a tool that somebody else made', foreign, {}],
  ['a shell', shell, shellCall],
])('killed after %s: RUN_LOST, with its effects shown, and nothing is done twice', async (_, later, item) => {
  const { runs, acts, bank } = await diedAfter(later, item)
  const shown = await runs.show(ann, 'run_1')
  expect(shown).toMatchObject({ status: 'failed', resumable: false, error: { code: 'RUN_LOST' } })
  expect(shown.error?.message).toContain('gone on')
  expect(shown.effects).toContainEqual(expect.objectContaining({ callId: 'c1', state: 'done' }))
  await expect(runs.resume(ann, resume)).rejects.toMatchObject({ code: 'RUN_NOT_RESUMABLE' })
  expect({ acts, refunds: bank.invoices }).toEqual({ acts: ['done'], refunds: ['INV-1'] })
})

test('killed after a tool that only reads, or whose effects have business keys: it goes back, and does each once', async () => {
  const reads = ({ guard, act }: Later) =>
    guardedTool(guard.surface('email'), {
      name: 'later',
      description: 'Look',
      parameters: to,
      effects: 'none',
      execute: () => (act(), 'seen'),
    })
  const keyed = ({ guard, act }: Later) =>
    guardedTool(guard.surface('email'), {
      name: 'later',
      description: 'Book',
      parameters: to,
      effect: 'write',
      key: (args) => args.to,
      commit: act,
    })
  const reading = await diedAfter(reads)
  expect(await reading.runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
  expect(reading.bank.invoices).toEqual(['INV-1'])
  const booking = await diedAfter(keyed)
  expect(await booking.runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
  expect({ acts: booking.acts, refunds: booking.bank.invoices }).toEqual({
    acts: ['done'],
    refunds: ['INV-1'],
  })
})

test('killed after an agent that is a tool has only read: that tool alone does nothing, so the run goes back', async () => {
  const asking = ({ guard, act }: Later) => {
    const look = guardedTool(guard.surface('email'), {
      name: 'look',
      description: 'Look',
      parameters: z.object({}),
      effects: 'none',
      execute: () => (act(), 'seen'),
    })
    const turns = [
      [functionCall('look', {}, { callId: 'i1' })],
      done,
      [functionCall('look', {}, { callId: 'i2' })],
      done,
    ]
    const inner = scripted([look], turns, { name: 'inner' }).agent
    return inner.asTool({ toolName: 'later', toolDescription: 'Ask' })
  }
  const { runs, bank } = await diedAfter(asking, { arguments: '{"input":"look"}' })
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
  expect(bank.invoices).toEqual(['INV-1'])
})

test('killed after an agent that is a tool has mailed: RUN_LOST', async () => {
  const asking = (at: Later) => {
    const turns = [[functionCall('later', { to: 'ann' }, { callId: 'i1' })], done]
    const inner = scripted([eachCallMail(at)], turns, { name: 'inner' }).agent
    return inner.asTool({ toolName: 'later', toolDescription: 'Ask' })
  }
  const { runs, acts } = await diedAfter(asking, { arguments: '{"input":"mail"}' })
  expect(await runs.show(ann, 'run_1')).toMatchObject({ status: 'failed', error: { code: 'RUN_LOST' } })
  expect(acts).toEqual(['done'])
})

test('killed at the call that had waited: it is known by its id, so the run goes back, and it is done once', async () => {
  const sent: string[] = []
  let agent: HostedAgent['agent'] | undefined
  const { runs, store, guard, time } = await hostedWorld({
    agents: (guard) => {
      const mail = guardedTool(guard.surface('email'), {
        name: 'mail',
        description: 'Mail',
        parameters: to,
        needsApproval: true,
        effect: 'email',
        key: 'each-call',
        commit: (args) => void sent.push(args.to),
      })
      agent = scripted([mail], [[functionCall('mail', { to: 'ann' }, { callId: 'c1' })], done, done], {
        name: 'cashier',
      }).agent
      return [{ agent }]
    },
  })
  await runs.start(ann, start)
  await decideAll(runs, 'run_1', true)
  const died = createRuns({
    guard,
    agents: [{ agent: agent as HostedAgent['agent'] }],
    stateKeys: [KEY],
    nowMs: () => time.ms,
    store: { ...store.runs, save: () => Promise.reject(new Error('the process died')) },
  })
  await expect(died.resume(ann, resume)).rejects.toThrow('the process died')
  time.ms += 60_001
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
  expect(sent).toEqual(['ann'])
})

test('a new pause is a new state to go back to', async () => {
  const acts: string[] = []
  const { runs, store, bank, time } = await hostedWorld({
    agents: (guard, bank) => [
      {
        agent: scripted(
          [
            refundTool(guard, bank, { needsApproval: true }),
            eachCallMail({ guard, act: () => void acts.push('done') }),
          ],
          [
            [refundCall('c1')],
            [functionCall('later', { to: 'ann' }, { callId: 'c2' })],
            [refundCall('c3', 'INV-2')],
            done,
          ],
          { name: 'cashier' },
        ).agent,
      },
    ],
  })
  await runs.start(ann, start)
  await decideAll(runs, 'run_1', true)
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'interrupted' })
  await store.runs.claim('run_1', 60_000)
  time.ms += 60_001
  expect(await runs.show(ann, 'run_1')).toMatchObject({ status: 'interrupted', resumable: true })
  await decideAll(runs, 'run_1', true)
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
  expect({ acts, refunds: bank.invoices }).toEqual({ acts: ['done'], refunds: ['INV-1', 'INV-2'] })
})
