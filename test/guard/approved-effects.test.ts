import { afterEach, beforeEach, expect, test, vi } from 'vitest'

import { defineEffect, EffectNotPerformed } from '../../src/guard/effect.ts'
import { createMemoryJournal } from '../../src/guard/memory-journal.ts'
import { createSqliteToolStore } from '../../src/store/sqlite/tool-store.ts'
import type { ToolStore } from '../../src/store/tool-store.ts'
import { newApproval, paused, runActions, TTL_MS } from '../contract/runs.ts'
import { startedGuard } from '../fixtures/guard.ts'
import { temporaryFiles } from '../fixtures/temporary-files.ts'

const newFile = temporaryFiles('approved-effects')
let nowMs: number
let store: ToolStore

beforeEach(() => {
  nowMs = 1_700_000_000_000
  store = createSqliteToolStore({ file: newFile(), nowMs: () => nowMs })
})
afterEach(() => store.close())

/** `run_1` of alice waits for `call_1`, which is `pay`: a charge, then a receipt. */
async function shop({ approved = true, journal = store.journal } = {}) {
  const { saved, approve, states } = runActions(store.runs)
  await saved('run_1', paused(newApproval('call_1')))
  if (approved) await approve('run_1', 'call_1')
  const made = await startedGuard({ journal })
  const charged = vi.fn((_input: string): unknown => 'receipt')
  const mailed = vi.fn()
  const charge = defineEffect({
    kind: 'payment',
    name: 'charge',
    key: (input: string) => input,
    run: charged,
  })
  const receipt = defineEffect({ kind: 'email', name: 'receipt', key: (input: string) => input, run: mailed })
  const pay = (useToken: string, catching = false) => {
    const approval = { approvalId: 'approval_call_1', useToken }
    const surface = made.guard.surface('payments')
    const call = { surface, tool: 'pay', callId: 'call_1', runId: 'run_1', caller: 'alice', approval }
    return made.guard.call(call, async (active) => {
      await active.commit(charge, 'INV-1').catch((thrown) => {
        if (!catching) throw thrown
      })
      await active.commit(receipt, 'INV-1')
    })
  }
  return { ...made, charged, mailed, pay, state: async () => (await states('run_1'))['call_1'] }
}

test('C7: an approved call runs all its effects, and its approval is used', async () => {
  const { pay, charged, mailed, state } = await shop()
  expect(await pay('use_1')).toMatchObject({ ok: true })
  expect([charged, mailed].map((effect) => effect.mock.calls.length)).toEqual([1, 1])
  expect(await state()).toBe('used')
})

test.each([
  ['nobody has approved', 0, 'APPROVAL_REQUIRED'],
  ['was approved too long ago', TTL_MS, 'APPROVAL_EXPIRED'],
])('C7: a call that %s: no question, no effect, and the model is told', async (_name, passed, code) => {
  const { pay, charged, authority } = await shop({ approved: passed > 0 })
  nowMs += passed
  expect(await pay('use_1')).toMatchObject({
    ok: false,
    executed: false,
    refusal: { error: 'approval_required', code, boundary: 'side_effect' },
    effects: [{ name: 'charge', state: 'denied' }],
  })
  expect(charged).not.toHaveBeenCalled()
  expect(authority.boundaries).toEqual(['startup', 'tool'])
})

test('C5: a body that catches it is refused all the same, and reaches no other effect', async () => {
  const { pay, mailed } = await shop({ approved: false })
  expect(await pay('use_1', true)).toMatchObject({ ok: false, refusal: { code: 'APPROVAL_REQUIRED' } })
  expect(mailed).not.toHaveBeenCalled()
})

test('C7: a charge that failed is not tried again under the same approval by a later execution', async () => {
  const { pay, charged } = await shop()
  charged.mockImplementation(() => {
    throw new EffectNotPerformed('The card was declined.')
  })
  expect(await pay('use_1')).toMatchObject({ ok: false, refusal: { code: 'EFFECT_NOT_PERFORMED' } })
  expect(await pay('use_2')).toMatchObject({ ok: false, refusal: { code: 'APPROVAL_REQUIRED' } })
  expect(charged).toHaveBeenCalledTimes(1)
})

test('C3: a later execution replays what is done, and does not repeat what has failed', async () => {
  const { pay, charged, mailed } = await shop()
  mailed.mockImplementation(() => {
    throw new EffectNotPerformed('No such address.')
  })
  expect(await pay('use_1')).toMatchObject({ effects: [{ state: 'done' }, { state: 'failed' }] })
  expect(await pay('use_2')).toMatchObject({ effects: [{ state: 'replayed' }, { state: 'denied' }] })
  expect(charged).toHaveBeenCalledTimes(1)
})

test('a journal without approvals refuses each call that needs one', async () => {
  const { pay, charged } = await shop({ journal: createMemoryJournal() })
  expect(await pay('use_1')).toMatchObject({ ok: false, refusal: { code: 'APPROVAL_REQUIRED' } })
  expect(charged).not.toHaveBeenCalled()
})

test('who called is in the intent', async () => {
  const { pay } = await shop()
  await pay('use_1')
  const entries = await store.journal.listRun({ caller: 'alice', runId: 'run_1' })
  expect(entries.map(({ effect, caller, state }) => [effect, caller, state])).toEqual([
    ['charge', 'alice', 'done'],
    ['receipt', 'alice', 'done'],
  ])
})
