// Approvals of a tool whose surface is chosen from its arguments: bound to the surface that was shown (section "Runs and
// resume"), whoever resumes.

import { expect, test } from 'vitest'
import type { Guard } from 'holdpoint'
import type { ApprovalDesk, ApprovalRequest } from '../../../src/agents/hosted/approval-desk.ts'
import { SERVER } from '../../fixtures/guard.ts'
import { done, refusalIn, scripted } from '../helpers.ts'
import { exportCall, exportTool, SURFACES, TENANT, type Export, type ExportOptions } from '../tenants.ts'
import { ann, boss, decideAll, hostedWorld } from './world.ts'

const start = { agent: 'exporter', input: 'go', runId: 'run_1' }
const resume = { runId: 'run_1' }

async function exporter(script: Parameters<typeof scripted>[1], desk?: ApprovalDesk) {
  const exported: string[] = []
  const exporting = ({ tenant, report }: Export) => {
    exported.push(`${tenant}:${report}`)
    return 'exported'
  }
  const agentWith = (guard: Guard, options: ExportOptions, steps = script) =>
    scripted([exportTool(guard, exporting, { needsApproval: true, ...options })], steps, { name: 'exporter' })
  let made: ReturnType<typeof agentWith> | undefined
  const world = await hostedWorld({
    guard: { surfaces: SURFACES },
    ...(desk === undefined ? {} : { desk }),
    agents: (guard) => {
      made = agentWith(guard, {})
      return [{ agent: made.agent }]
    },
  })
  const { model } = made as NonNullable<typeof made>
  /** Another replica of the same run, whose tool chooses so. */
  const choosing = (choose: (args: { tenant: string }) => string) => {
    const place = world.guard.surfaceBy(['tenant-a', 'tenant-b'], choose)
    const { agent, model: own } = agentWith(world.guard, { place }, [done])
    return { runs: world.replica([{ agent }]), model: own }
  }
  return { ...world, exported, model, choosing }
}

test('the person is shown the tenant’s surface, and so is a desk its device', async () => {
  const asked: ApprovalRequest[] = []
  const desk: ApprovalDesk = {
    ask: async (requests) => void asked.push(...requests),
    verdictsOn: async () => [],
    withdraw: async () => {},
  }
  const { runs } = await exporter([[exportCall('a1', 'A'), exportCall('b1', undefined)], done], desk)
  const { approvals } = await runs.start(ann, start)
  expect(approvals).toMatchObject([
    { callId: 'a1', surface: 'tenant-a', arguments: { tenant: 'a', report: 'r1' } },
    { callId: 'b1', surface: 'tenant-b', arguments: { tenant: 'b', report: 'r1' } },
  ])
  await expect
    .poll(() => asked)
    .toMatchObject([
      { callId: 'a1', surface: 'tenant-a', deviceIds: [SERVER, TENANT('a')] },
      { callId: 'b1', surface: 'tenant-b', deviceIds: [SERVER, TENANT('b')] },
    ])
})

test.each(['c1', 'c2'])(
  'an approval for tenant a is used up by the call for tenant a; a call for tenant b under the id %s does not run on it',
  async (callId) => {
    const { runs, exported, store } = await exporter([
      [exportCall('c1', 'a')],
      [exportCall(callId, 'b')],
      done,
    ])
    await runs.start(ann, start)
    await decideAll(runs, 'run_1', true)
    // A run in which one id stands for two calls ends; otherwise the second call waits for a person.
    const { status } = await runs.resume(ann, resume)
    expect(status).toBe(callId === 'c1' ? 'failed' : 'interrupted')
    expect(exported).toEqual(['a:r1'])
    const approvals = await store.runs.approvalsOf('run_1')
    expect(approvals.map(({ surface, state }) => [surface, state])).toEqual([
      ['tenant-a', 'used'],
      ...(callId === 'c1' ? [] : [['tenant-b', 'waiting']]),
    ])
  },
)

test('the very arguments that were approved, but on another surface: asked anew, and not run', async () => {
  const { runs, exported, choosing } = await exporter([[exportCall('c1', 'a')], done])
  await runs.start(ann, start)
  await decideAll(runs, 'run_1', true)
  expect(await choosing(() => 'tenant-b').runs.resume(ann, resume)).toMatchObject({
    status: 'interrupted',
    approvals: [{ callId: 'c1', surface: 'tenant-b', state: 'waiting' }],
  })
  expect(exported).toEqual([])
})

test('a surface that changes between the resume and the call: APPROVAL_REQUIRED, nothing runs', async () => {
  const { runs, exported, authority, choosing } = await exporter([[exportCall('c1', 'a')], done])
  await runs.start(ann, start)
  await decideAll(runs, 'run_1', true)
  let chosen = 0
  // Asked once for what waits, and then for what runs.
  const other = choosing(() => ((chosen += 1) === 1 ? 'tenant-a' : 'tenant-b'))
  await other.runs.resume(ann, resume)
  expect(exported).toEqual([])
  expect(refusalIn(other.model, 'c1')).toMatchObject({ code: 'APPROVAL_REQUIRED', device_id: SERVER })
  expect(authority.questions.map(({ deviceIds }) => deviceIds.at(-1))).not.toContain(TENANT('b'))
})

test('an approved call of a tenant that was revoked since is denied at its own hold point; the other runs', async () => {
  const { runs, exported, authority, model, steps, onStep } = await exporter([
    [exportCall('a1', 'a'), exportCall('b1', 'b')],
    done,
  ])
  await runs.start(ann, start)
  await decideAll(runs, 'run_1', true)
  authority.stop(TENANT('a'))
  expect(await runs.resume(ann, { ...resume, onStep })).toMatchObject({ status: 'completed' })
  expect(exported).toEqual(['b:r1'])
  expect(refusalIn(model, 'a1')).toMatchObject({
    code: 'DEVICE_REVOKED',
    boundary: 'tool',
    device_id: TENANT('a'),
  })
  expect(steps.filter((step) => step.type === 'denied')).toMatchObject([
    { boundary: 'tool', surface: 'tenant-a', call_id: 'a1' },
  ])
  expect((await runs.show(boss, 'run_1')).status).toBe('completed')
})

test('an unknown tenant never runs, whoever approved it', async () => {
  const { runs, exported, model, authority } = await exporter([[exportCall('c1', 'c')], done])
  expect(await runs.start(ann, start)).toMatchObject({ status: 'interrupted' })
  await decideAll(runs, 'run_1', true)
  await runs.resume(ann, resume)
  expect(exported).toEqual([])
  expect(refusalIn(model, 'c1')).toMatchObject({ code: 'GUARD_MISCONFIGURED', executed: false })
  expect(authority.boundaries.filter((boundary) => boundary === 'tool')).toEqual([])
})
