// The desk of a real control plane: real sockets, MachineID's client, a person with an operator key.

import { afterAll, expect, onTestFinished, test } from 'vitest'
import { DESK_TICK_MS } from '../../../src/agents/hosted/desk-watch.ts'
import { systemClock } from '../../../src/clock.ts'
import { createLogger } from '../../../src/log.ts'
import { MachineID } from '../../../src/machineid/client.ts'
import type { ApprovalBody } from '../../../src/machineid/wire-approvals.ts'
import { createAuthorityDesk } from '../../../src/tool-server/authority-desk.ts'
import { startTestControlPlane } from '../../fixtures/control-plane.ts'
import { done, refundCall, toldIn } from '../helpers.ts'
import { ann, boss, cashierWorld, decideAll, type World } from './world.ts'

const plane = await startTestControlPlane()
afterAll(() => plane.close())

const log = createLogger({ level: 'silent' })
const APPROVALS = '/api/v1/approvals'

function newClient(): MachineID {
  const client = new MachineID({ orgKey: plane.keys.runtime, baseUrl: plane.url, timeoutMs: 2_000 })
  onTestFinished(() => client.close())
  return client
}

let runs = 0

async function cashierAtPlane() {
  const client = newClient()
  const world = await cashierWorld([[refundCall('c1')], done], {
    guard: { authority: client, clock: systemClock },
    desk: createAuthorityDesk(client, { log }),
  })
  // The control plane has the time of day.
  world.time.ms = Date.now()
  world.runs.begin()
  const runId = `run_${(runs += 1)}`
  return { ...world, start: { agent: 'cashier', input: 'go', runId } }
}

async function pausedRun() {
  const { start, ...world } = await cashierAtPlane()
  expect(await world.runs.start(ann, start)).toMatchObject({ status: 'interrupted' })
  return { ...world, runId: start.runId, approval: await shown(start.runId) }
}

async function shown(runId: string): Promise<ApprovalBody> {
  const { body } = await plane.get(`${APPROVALS}?runId=${runId}`, plane.keys.operator)
  return (body as { approvals: ApprovalBody[] }).approvals[0] as ApprovalBody
}

const decide = ({ approvalId, digest }: ApprovalBody, approve: boolean, message?: string) =>
  plane.post(`${APPROVALS}/${approvalId}/decide`, { digest, approve, message }, plane.keys.operator)

function later({ time, fire }: Pick<World, 'time' | 'fire'>): void {
  time.ms += 10_000
  fire(DESK_TICK_MS)
}

async function ended(world: Pick<World, 'runs' | 'time' | 'fire'>, runId: string): Promise<void> {
  await expect.poll(async () => (later(world), (await world.runs.show(ann, runId)).status)).toBe('completed')
}

test('approved at the control plane: the run goes on by itself and pays once, and says who approved', async () => {
  const { runId, approval, ...world } = await pausedRun()
  expect(approval).toMatchObject({
    state: 'waiting',
    tool: 'refund',
    devices: [{ code: 'ALLOW' }, { code: 'ALLOW' }],
  })
  expect((await decide(approval, true)).status).toBe(200)
  await ended(world, runId)
  const { operatorLog } = await world.runs.show(ann, runId)
  expect(operatorLog).toMatchObject([{ by: expect.stringMatching(/^desk:operator:/) }])
  expect(world.bank.invoices).toEqual(['INV-1'])
})

test('declined there: the model is told why, and nothing is paid', async () => {
  const { runId, approval, ...world } = await pausedRun()
  await decide(approval, false, 'Not this supplier.')
  await ended(world, runId)
  expect(toldIn(world.model)['c1']).toContain('Not this supplier.')
  expect(world.bank.invoices).toEqual([])
})

test('org disabled between approval and resume: the run stays as it was, and is paid once when the org is enabled (G1)', async () => {
  const { runId, approval, ...world } = await pausedRun()
  await decide(approval, true)
  const { body } = await plane.post('/api/v1/org/disable', { reason: 'test' }, plane.keys.stop)
  await expect
    .poll(async () => (later(world), (await world.runs.show(ann, runId)).denial?.code))
    .toBe('ORG_DISABLED')
  await expect.poll(async () => (await world.runs.show(ann, runId)).status).toBe('interrupted')
  expect((await world.runs.show(ann, runId)).approvals).toMatchObject([{ state: 'approved' }])
  expect(world.bank.invoices).toEqual([])
  await plane.post('/api/v1/org/enable', { ifEpoch: body.epoch as number, reason: 'test' }, plane.keys.admin)
  await ended(world, runId)
  expect(world.bank.invoices).toEqual(['INV-1'])
})

test('two replicas on one store, each with its own client, pay once', async () => {
  const { runId, approval, ...world } = await pausedRun()
  const other = world.replica([{ agent: world.agent }], { desk: createAuthorityDesk(newClient(), { log }) })
  onTestFinished(() => other.close())
  other.begin()
  await decide(approval, true)
  await ended(world, runId)
  expect(world.bank.invoices).toEqual(['INV-1'])
})

test('decided at the tool server first: the control plane shows it as withdrawn, and nobody can decide it there any more', async () => {
  const { runId, approval, ...world } = await pausedRun()
  await decideAll(world.runs, runId, false)
  expect(await shown(runId)).toMatchObject({ state: 'withdrawn' })
  expect(await decide(approval, true)).toMatchObject({ status: 409, body: { code: 'APPROVAL_NOT_WAITING' } })
  await world.runs.resume(boss, { runId })
  expect(world.bank.invoices).toEqual([])
})

test('a control plane that goes away when the call begins to wait shows it once it is back', async () => {
  const { start, ...world } = await cashierAtPlane()
  let killed: Promise<void> | undefined
  world.guard.observe((at, verdict) => {
    // The last question before the pause.
    if (at.boundary === 'task') killed ??= verdict.then(() => plane.kill())
  })
  expect(await world.runs.start(ann, start)).toMatchObject({ status: 'interrupted' })
  await killed
  await plane.restart()
  await expect.poll(async () => (later(world), (await shown(start.runId))?.state)).toBe('waiting')
  await decide(await shown(start.runId), true)
  await ended(world, start.runId)
  expect(world.bank.invoices).toEqual(['INV-1'])
})
