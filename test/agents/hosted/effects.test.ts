import { expect, test } from 'vitest'
import { z } from 'zod'
import { guardedTool, EffectNotPerformed } from 'holdpoint'
import type { RunStore } from '../../../src/agents/hosted/run-store.ts'
import { createRuns } from '../../../src/agents/hosted/runs.ts'
import { done, refundCall, scripted, toldIn } from '../helpers.ts'
import { ann, bob, boss, cashierWorld, decideAll, hostedWorld, KEY } from './world.ts'

const start = { agent: 'cashier', input: 'go', runId: 'run_1' }
const resume = { runId: 'run_1' }

interface Sink {
  answer: 'done' | 'absent' | 'unknown' | 'throws'
  asked: string[]
}

/** A refund whose connection is cut after it was sent, and that can be asked about. */
async function uncertain(options: { reconcile?: boolean; redact?: boolean } = {}) {
  const { reconcile = true, redact = false } = options
  const sink: Sink = { answer: 'unknown', asked: [] }
  let cut = true
  const world = await hostedWorld({
    agents: (guard, bank) => [
      {
        agent: scripted(
          [
            guardedTool(guard.surface('payments'), {
              name: 'refund',
              description: 'Refund',
              parameters: z.object({ invoiceId: z.string(), refundNo: z.number(), amountCents: z.number() }),
              effect: 'payment',
              key: ({ invoiceId }) => invoiceId,
              commit: async (args, effect) => {
                if (cut) throw new Error('socket hang up')
                return bank.refund(args, effect)
              },
              ...(redact ? { redact: () => 'redacted' } : {}),
              ...(reconcile
                ? {
                    reconcile: async ({ invoiceId }: { invoiceId: string }) => {
                      sink.asked.push(invoiceId)
                      if (sink.answer === 'throws') throw new Error('the bank is closed')
                      if (sink.answer === 'done')
                        return { state: 'done', result: { receipt: 'r-9' } } as const
                      return { state: sink.answer }
                    },
                  }
                : {}),
            }),
          ],
          [[refundCall('c1')], done, [refundCall('c2')], done],
          { name: 'cashier' },
        ).agent,
      },
    ],
  })
  await world.runs.start(ann, start)
  const [effect] = await world.runs.unknownEffects(boss)
  if (effect === undefined) throw new Error('nothing is unknown')
  const mend = () => {
    cut = false
  }
  return { ...world, sink, effect, mend }
}

test('unknown outcomes are listed: all for an approver, their own for callers', async () => {
  const { runs, effect } = await uncertain()
  expect(effect).toMatchObject({
    effect: 'refund',
    tool: 'refund',
    state: 'unknown',
    callId: 'c1',
    runId: 'run_1',
  })
  expect(effect.id).toMatch(/^hp_/)
  expect(await runs.unknownEffects(ann)).toEqual([effect])
  expect(await runs.unknownEffects(bob)).toEqual([])
  expect((await runs.show(ann, 'run_1')).effects).toEqual([effect])
})

test('settled as done by an operator: with an audit entry, and the next run replays what was said', async () => {
  const { runs, effect, bank, store, mend } = await uncertain()
  mend()
  const word = { outcome: 'done', result: { receipt: 'r-7' }, reason: 'seen in the bank' } as const
  expect(await runs.settleEffect(boss, effect.id, word)).toMatchObject({ id: effect.id, state: 'done' })
  expect(await runs.unknownEffects(boss)).toEqual([])
  expect(await store.runs.operatorLog({ limit: 10 })).toMatchObject([
    { action: 'effect.settle', by: 'boss', subject: effect.id, reason: 'seen in the bank' },
  ])
  expect(await runs.start(ann, { ...start, runId: 'run_2' })).toMatchObject({ status: 'completed' })
  expect(bank.invoices).toEqual([])
  await expect(runs.settleEffect(boss, effect.id, word)).rejects.toMatchObject({ code: 'EFFECT_NOT_FOUND' })
})

test('settled as failed: the key is free, and the next run does it', async () => {
  const { runs, effect, bank, mend } = await uncertain()
  mend()
  await runs.settleEffect(boss, effect.id, { outcome: 'failed', reason: 'not in the bank' })
  await runs.start(ann, { ...start, runId: 'run_2' })
  expect(bank.invoices).toEqual(['INV-1'])
})

test('only an approver settles, and says why', async () => {
  const { runs, effect } = await uncertain()
  const word = { outcome: 'failed', reason: 'x' } as const
  await expect(runs.settleEffect(ann, effect.id, word)).rejects.toMatchObject({ code: 'APPROVER_REQUIRED' })
  await expect(runs.reconcileEffect(ann, effect.id)).rejects.toMatchObject({ code: 'APPROVER_REQUIRED' })
  const silent = { ...word, reason: ' ' }
  await expect(runs.settleEffect(boss, effect.id, silent)).rejects.toMatchObject({ code: 'BAD_INPUT' })
  await expect(runs.settleEffect(boss, 'hp_x', word)).rejects.toMatchObject({ code: 'EFFECT_NOT_FOUND' })
})

test.each([
  ['done', 'done'],
  ['absent', 'failed'],
] as const)(
  'reconciled: the sink says %s, and it is settled as %s with an audit entry',
  async (answer, state) => {
    const { runs, effect, sink, store } = await uncertain()
    sink.answer = answer
    expect(await runs.reconcileEffect(boss, effect.id)).toMatchObject({ id: effect.id, state })
    expect(sink.asked).toEqual(['INV-1'])
    expect(await runs.unknownEffects(boss)).toEqual([])
    expect(await store.runs.operatorLog({ limit: 10 })).toMatchObject([
      { action: 'effect.settle', by: 'boss' },
    ])
  },
)

test.each(['unknown', 'throws'] as const)('reconciled: the sink %s, and it stays unknown', async (answer) => {
  const { runs, effect, sink, store } = await uncertain()
  sink.answer = answer
  expect(await runs.reconcileEffect(boss, effect.id)).toMatchObject({ state: 'unknown' })
  expect(await runs.unknownEffects(boss)).toMatchObject([{ id: effect.id }])
  expect(await store.runs.operatorLog({ limit: 10 })).toEqual([])
})

test('RECONCILE_IMPOSSIBLE: without a reconcile, or with an input that was redacted', async () => {
  for (const options of [{ reconcile: false }, { redact: true }]) {
    const { runs, effect, sink } = await uncertain(options)
    await expect(runs.reconcileEffect(boss, effect.id)).rejects.toMatchObject({
      code: 'RECONCILE_IMPOSSIBLE',
    })
    expect(sink.asked).toEqual([])
    expect(await runs.unknownEffects(boss)).toMatchObject([{ id: effect.id }])
  }
})

test('the process dies after the payment and before the save: resumed, it is replayed and not paid again', async () => {
  const { runs, bank, store, guard, agent, time, model } = await cashierWorld(
    [[refundCall('c1')], done, done],
    { refund: { needsApproval: true, key: 'each-call' } },
  )
  await runs.start(ann, start)
  await decideAll(runs, 'run_1', true)
  const dying: RunStore = { ...store.runs, save: () => Promise.reject(new Error('died')) }
  const shared = { guard, agents: [{ agent }], stateKeys: [KEY], nowMs: () => time.ms }
  const died = createRuns({ ...shared, store: dying })
  await expect(died.resume(ann, resume)).rejects.toThrow('died')
  expect(bank.invoices).toEqual(['INV-1'])
  await expect(runs.resume(ann, resume)).rejects.toMatchObject({ code: 'RUN_BUSY' })
  time.ms += 60_001
  expect(await runs.show(ann, 'run_1')).toMatchObject({
    status: 'interrupted',
    allApprovals: [{ state: 'used' }],
  })
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
  expect(bank.invoices).toEqual(['INV-1'])
  expect(JSON.parse(toldIn(model)['c1'] ?? '')).toMatchObject({ replayed: true })
})

test('the same business key from two runs: one effect', async () => {
  const { runs, bank } = await cashierWorld([[refundCall('c1')], done, [refundCall('c7')], done], {
    refund: { needsApproval: false },
  })
  await runs.start(ann, start)
  await runs.start(ann, { ...start, runId: 'run_2' })
  expect(bank.invoices).toEqual(['INV-1'])
})

test('an effect that surely did not happen frees its key, but not the approval that it used up', async () => {
  const { runs, bank, model } = await cashierWorld([[refundCall('c1')], [refundCall('c2')], done])
  await runs.start(ann, start)
  await decideAll(runs, 'run_1', true)
  bank.before = () => {
    throw new EffectNotPerformed('The card was declined.')
  }
  expect(await runs.resume(ann, resume)).toMatchObject({
    status: 'interrupted',
    approvals: [{ callId: 'c2' }],
  })
  expect(toldIn(model)['c1']).toContain('The card was declined.')
  expect(bank.invoices).toEqual([])
})
