import { expect, onTestFinished, test } from 'vitest'
import { systemClock } from '../../../src/clock.ts'
import { MachineID } from '../../../src/machineid/client.ts'
import { startTestControlPlane } from '../../fixtures/control-plane.ts'
import { PAYMENTS, SERVER } from '../../fixtures/guard.ts'
import { done, refundCall, refusalIn } from '../helpers.ts'
import { ann, cashierWorld, decideAll } from './world.ts'

const start = { agent: 'cashier', input: 'go', runId: 'run_1' }
const resume = { runId: 'run_1' }

/** A run that waits, approved, on a guard that asks a real control plane over a socket. */
async function pausedOnRealAuthority() {
  const plane = await startTestControlPlane()
  onTestFinished(() => plane.close())
  const client = new MachineID({ orgKey: plane.keys.runtime, baseUrl: plane.url, timeoutMs: 2_000 })
  onTestFinished(() => client.close())
  const { clock: _, ...world } = await cashierWorld([[refundCall('c1')], done], {
    guard: { authority: client, clock: systemClock },
  })
  expect(await world.runs.start(ann, start)).toMatchObject({ status: 'interrupted' })
  await decideAll(world.runs, 'run_1', true)
  return { ...world, plane }
}

test('org disabled while the approval waits: the resume is denied, the approval stays, and enabled it is paid once', async () => {
  const { runs, bank, plane } = await pausedOnRealAuthority()
  const disabled = await plane.post('/api/v1/org/disable', { reason: 'test' }, plane.keys.stop)
  expect(disabled.status).toBe(200)
  await expect(runs.resume(ann, resume)).rejects.toMatchObject({
    code: 'RESUME_DENIED',
    denial: { code: 'ORG_DISABLED', boundary: 'resume', error: 'permission_denied' },
  })
  expect(await runs.show(ann, 'run_1')).toMatchObject({
    status: 'interrupted',
    approvals: [{ state: 'approved' }],
  })
  await plane.post(
    '/api/v1/org/enable',
    { ifEpoch: disabled.body.epoch as number, reason: 'test' },
    plane.keys.admin,
  )
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
  expect(bank.invoices).toEqual(['INV-1'])
})

test('control plane down at resume: denied as unavailable (G4), and the run goes on once it is back', async () => {
  const { runs, bank, plane } = await pausedOnRealAuthority()
  await plane.kill()
  await expect(runs.resume(ann, resume)).rejects.toMatchObject({
    code: 'RESUME_DENIED',
    denial: { code: 'AUTHORITY_UNREACHABLE', error: 'permission_check_unavailable' },
  })
  expect(bank.invoices).toEqual([])
  await plane.restart()
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
  expect(bank.invoices).toEqual(['INV-1'])
})

test('server device revoked between pause and resume: denied; restored, it is resumed three times at once and paid once', async () => {
  const { runs, bank, plane } = await pausedOnRealAuthority()
  await plane.revoke(SERVER)
  await expect(runs.resume(ann, resume)).rejects.toMatchObject({ denial: { code: 'DEVICE_REVOKED' } })
  await plane.restore(SERVER)
  const resumed = await Promise.allSettled([1, 2, 3].map(() => runs.resume(ann, resume)))
  expect(resumed.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  expect(bank.invoices).toEqual(['INV-1'])
})

test('payments revoked while the approval waits: the approved call is denied, other surfaces are not (G1)', async () => {
  const { runs, bank, model, plane } = await pausedOnRealAuthority()
  await plane.revoke(PAYMENTS)
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
  expect(refusalIn(model, 'c1')).toMatchObject({ code: 'DEVICE_REVOKED', device_id: PAYMENTS })
  expect(bank.invoices).toEqual([])
})
