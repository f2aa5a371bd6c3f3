import { run } from '@openai/agents'
import { functionCall } from '@openai/agents/testing'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { createGuard, guardedTool, resumeAgent, runAgent, serializeState } from 'holdpoint'
import { createLogger } from '../../src/log.ts'
import { MachineID } from '../../src/machineid/client.ts'
import { startTestControlPlane } from '../fixtures/control-plane.ts'
import { Bank, done, refundCall, refundTool, refusalIn, scripted, toldIn } from './helpers.ts'
import { createMemoryJournal } from '../../src/guard/memory-journal.ts'

// The real control plane over real sockets, with its SQLite file.
const SERVER = 'openai-agent:test:tool-server:01'
const PAYMENTS = 'openai-agent:test:payments:01'

async function against() {
  const plane = await startTestControlPlane()
  const authority = new MachineID({ orgKey: plane.keys.runtime, baseUrl: plane.url })
  const log = createLogger({ level: 'silent' })
  const guard = createGuard({
    journal: createMemoryJournal(),
    authority,
    serverDeviceId: SERVER,
    surfaces: ['payments'],
    log,
    onClose: () => authority.close(),
  })
  expect(await guard.start()).toMatchObject({ allowed: true })
  const close = async () => {
    await guard.close()
    await plane.close()
  }
  return { plane, guard, bank: new Bank(), [Symbol.asyncDispose]: close }
}

test('revoked, denied with the request id that the control plane stored; restored, paid', async () => {
  await using made = await against()
  const { plane, guard, bank } = made
  const { agent, model } = scripted(
    [refundTool(guard, bank)],
    [[refundCall('c1')], done, [refundCall('c2')], done],
  )
  await plane.revoke(PAYMENTS)
  await run(agent, 'go')
  expect(bank.refunds).toEqual([])
  expect(refusalIn(model, 'c1')).toMatchObject({ code: 'DEVICE_REVOKED', device_id: PAYMENTS })
  expect(refusalIn(model, 'c1').request_id).not.toMatch(/^local_/)
  await plane.restore(PAYMENTS)
  await run(agent, 'go')
  expect(bank.refunds).toHaveLength(1)
})

test('revoked between the tool and its side effect: acked before the second question, so nothing is paid (G1)', async () => {
  await using made = await against()
  const { plane, guard, bank } = made
  const refund = guardedTool(guard.surface('payments'), {
    name: 'refund',
    description: 'Refund',
    parameters: z.object({}),
    effect: 'payment',
    key: () => 'INV-1',
    prepare: () => plane.revoke(PAYMENTS),
    commit: (_args, effect) => bank.refund({ invoiceId: 'INV-1', amountCents: 1 }, effect),
  })
  const { agent, model } = scripted([refund], [[functionCall('refund', {}, { callId: 'c1' })], done])
  await run(agent, 'go')
  expect(bank.refunds).toEqual([])
  expect(refusalIn(model, 'c1')).toMatchObject({
    code: 'DEVICE_REVOKED',
    boundary: 'side_effect',
    executed: false,
  })
})

test('the control plane is gone: permission_check_unavailable, and nothing runs', async () => {
  await using made = await against()
  const { plane, guard, bank } = made
  const { agent, model } = scripted([refundTool(guard, bank)], [[refundCall('c1')], done])
  await plane.kill()
  await run(agent, 'go')
  expect(bank.refunds).toEqual([])
  expect(refusalIn(model, 'c1')).toMatchObject({ error: 'permission_check_unavailable' })
  expect(toldIn(model)['c1']).not.toContain(String(plane.port))
})

test('paused, revoked, denied at resume; restored, resumed, paid once', async () => {
  await using made = await against()
  const { plane, guard, bank } = made
  const { agent } = scripted([refundTool(guard, bank, { needsApproval: true })], [[refundCall('c1')], done])
  const paused = await runAgent(guard, agent, 'go', { runId: 'run_1' })
  const text = paused.state === undefined ? '' : serializeState(paused.state)
  const options = { runId: 'run_1', approvals: [{ callId: 'c1', approve: true }] }
  await plane.revoke(SERVER)
  expect(await resumeAgent(guard, agent, text, options)).toMatchObject({
    status: 'denied',
    denial: { boundary: 'resume' },
  })
  await plane.restore(SERVER)
  expect(await resumeAgent(guard, agent, text, options)).toMatchObject({ status: 'completed' })
  expect(bank.refunds).toHaveLength(1)
})
