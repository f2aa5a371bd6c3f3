import { expect, test } from 'vitest'
import { PAYMENTS, SERVER } from '../../fixtures/guard.ts'
import { done, refundCall, refusalIn, toldIn } from '../helpers.ts'
import { ann, bob, boss, cashierWorld, decideAll } from './world.ts'

const start = { agent: 'cashier', input: 'go', runId: 'run_1' }
const resume = { runId: 'run_1' }

test('pauses at the call that a person must approve, and shows the arguments that will run', async () => {
  const { runs, bank, model } = await cashierWorld([[refundCall('c1')], done])
  const view = await runs.start(ann, start)
  expect(view).toMatchObject({ runId: 'run_1', agent: 'cashier', status: 'interrupted', resumable: true })
  expect(view.approvals).toMatchObject([
    {
      callId: 'c1',
      tool: 'refund',
      arguments: { invoiceId: 'INV-1', refundNo: 1, amountCents: 500 },
      surface: 'payments',
      state: 'waiting',
    },
  ])
  expect(bank.invoices).toEqual([])
  expect(model.calls).toHaveLength(1)
})

test('approved: resume asks for the server device, then the call at its own hold points, and pays once', async () => {
  const { runs, bank, model, authority } = await cashierWorld([[refundCall('c1')], done])
  await runs.start(ann, start)
  await decideAll(runs, 'run_1', true)
  expect(bank.invoices).toEqual([])
  const view = await runs.resume(ann, resume)
  expect(view).toMatchObject({ status: 'completed', output: 'done', approvals: [], resumable: false })
  expect(bank.invoices).toEqual(['INV-1'])
  expect(toldIn(model)['c1']).toBe('{"receipt":"r-1"}')
  expect(authority.boundaries).toEqual(['startup', 'task', 'resume', 'tool', 'side_effect', 'task'])
  expect(authority.questions[2]).toMatchObject({ deviceIds: [SERVER], runId: 'run_1' })
})

test('declined: nothing runs, and the model is told the words', async () => {
  const { runs, bank, model } = await cashierWorld([[refundCall('c1')], done])
  await runs.start(ann, start)
  await decideAll(runs, 'run_1', false, 'Not this customer.')
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
  expect(bank.invoices).toEqual([])
  expect(toldIn(model)['c1']).toBe('Not this customer.')
})

test('resumed without a decision, the run goes on waiting for the same approval', async () => {
  const { runs, bank, model } = await cashierWorld([[refundCall('c1')], done])
  const started = await runs.start(ann, start)
  const resumed = await runs.resume(ann, resume)
  expect(resumed).toMatchObject({ status: 'interrupted', approvals: started.approvals })
  expect(bank.invoices).toEqual([])
  expect(model.calls).toHaveLength(1)
})

test('RESUME_DENIED: nothing is opened, and the run is as it was', async () => {
  const { runs, bank, authority } = await cashierWorld([[refundCall('c1')], done])
  await runs.start(ann, start)
  await decideAll(runs, 'run_1', true)
  authority.stop(SERVER)
  await expect(runs.resume(ann, resume)).rejects.toMatchObject({
    code: 'RESUME_DENIED',
    denial: { code: 'DEVICE_REVOKED', boundary: 'resume', device_id: SERVER },
  })
  expect(await runs.show(ann, 'run_1')).toMatchObject({
    status: 'interrupted',
    resumable: true,
    approvals: [{ state: 'approved' }],
    denial: { code: 'DEVICE_REVOKED' },
  })
  authority.restore(SERVER)
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
  expect(bank.invoices).toEqual(['INV-1'])
})

test('payments revoked between resume and the pending call: it is denied at its own hold point (G1)', async () => {
  const { runs, bank, model, authority } = await cashierWorld([[refundCall('c1')], done])
  await runs.start(ann, start)
  await decideAll(runs, 'run_1', true)
  authority.beforeAnswer = ({ boundary }) => {
    if (boundary === 'resume') authority.stop(PAYMENTS)
  }
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
  expect(bank.invoices).toEqual([])
  expect(refusalIn(model, 'c1')).toMatchObject({ code: 'DEVICE_REVOKED', boundary: 'tool', executed: false })
})

test('payments revoked between the call and its effect: the effect is denied (G1)', async () => {
  const { runs, bank, model, authority } = await cashierWorld([[refundCall('c1')], done])
  await runs.start(ann, start)
  await decideAll(runs, 'run_1', true)
  authority.beforeAnswer = ({ boundary }) => {
    if (boundary === 'side_effect') authority.stop(PAYMENTS)
  }
  await runs.resume(ann, resume)
  expect(bank.invoices).toEqual([])
  expect(refusalIn(model, 'c1')).toMatchObject({ code: 'DEVICE_REVOKED', boundary: 'side_effect' })
})

test('two resumes at once: one wins, the other gets RUN_BUSY, and it is paid once', async () => {
  const { runs, bank } = await cashierWorld([[refundCall('c1')], done])
  await runs.start(ann, start)
  await decideAll(runs, 'run_1', true)
  const [one, other] = await Promise.allSettled([runs.resume(ann, resume), runs.resume(ann, resume)])
  const refused = [one, other].filter(({ status }) => status === 'rejected')
  expect(refused).toMatchObject([{ reason: { code: 'RUN_BUSY' } }])
  expect(bank.invoices).toEqual(['INV-1'])
})

test('RUN_ENDED: what has completed is not resumed', async () => {
  const { runs, bank } = await cashierWorld([[refundCall('c1')], done])
  await runs.start(ann, start)
  await decideAll(runs, 'run_1', true)
  await runs.resume(ann, resume)
  await expect(runs.resume(ann, resume)).rejects.toMatchObject({ code: 'RUN_ENDED' })
  expect(bank.invoices).toEqual(['INV-1'])
})

test('RUN_NOT_FOUND: a run of somebody else is none of his business', async () => {
  const { runs } = await cashierWorld([[refundCall('c1')], done])
  await runs.start(ann, start)
  const notFound = { code: 'RUN_NOT_FOUND' }
  await expect(runs.resume(bob, resume)).rejects.toMatchObject(notFound)
  await expect(runs.show(bob, 'run_1')).rejects.toMatchObject(notFound)
  await expect(runs.cancel(bob, 'run_1')).rejects.toMatchObject(notFound)
  await expect(runs.decide(bob, 'run_1', [])).rejects.toMatchObject(notFound)
  expect(await runs.list(bob, {})).toEqual([])
  expect(await runs.list(boss, {})).toMatchObject([{ runId: 'run_1' }])
})
