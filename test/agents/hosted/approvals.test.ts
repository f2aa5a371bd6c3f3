import { functionCall } from '@openai/agents/testing'
import { tool } from '@openai/agents'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { guardAgent, guardedTool, guardedToolCore } from 'holdpoint'
import type { ApprovalRequest, DeskVerdict } from '../../../src/agents/hosted/approval-desk.ts'
import type { HostedAgent } from '../../../src/agents/hosted/hosted-agent.ts'
import { done, refundCall, refundTool, refusalIn, scripted, toldIn } from '../helpers.ts'
import { ann, boss, cashierWorld, decideAll, hostedWorld } from './world.ts'

const start = { agent: 'cashier', input: 'go', runId: 'run_1' }
const resume = { runId: 'run_1' }
const TTL_MS = 15 * 60 * 1000

test('expired before it was decided: it cannot be decided, and a resume asks anew', async () => {
  const { runs, time, bank } = await cashierWorld([[refundCall('c1')], done])
  const { approvals } = await runs.start(ann, start)
  const [first] = approvals
  time.ms += TTL_MS
  const decision = { callId: 'c1', digest: first?.digest ?? '', approve: true }
  await expect(runs.decide(boss, 'run_1', [decision])).rejects.toMatchObject({ code: 'APPROVAL_EXPIRED' })
  expect((await runs.show(ann, 'run_1')).approvals).toEqual([])

  const again = await runs.resume(ann, resume)
  expect(again).toMatchObject({ status: 'interrupted', approvals: [{ callId: 'c1', state: 'waiting' }] })
  expect(again.approvals[0]?.expiresAt).not.toBe(first?.expiresAt)
  expect((await runs.show(ann, 'run_1')).allApprovals.map(({ state }) => state)).toEqual([
    'expired',
    'waiting',
  ])
  await decideAll(runs, 'run_1', true)
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
  expect(bank.invoices).toEqual(['INV-1'])
})

test('approved, but expired at resume: it counts as undecided, also when the clock is set back', async () => {
  const { runs, time, bank } = await cashierWorld([[refundCall('c1')], done])
  await runs.start(ann, start)
  await decideAll(runs, 'run_1', true)
  time.ms += TTL_MS
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'interrupted' })
  time.ms -= TTL_MS
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'interrupted' })
  expect(bank.invoices).toEqual([])
})

test('APPROVAL_EXPIRED: an approval that expires between resume and the call lets nothing run', async () => {
  const approvalTtlMs = 30_000
  const { runs, time, bank, model, authority } = await cashierWorld([[refundCall('c1')], done], {
    approvalTtlMs,
  })
  await runs.start(ann, start)
  await decideAll(runs, 'run_1', true)
  authority.beforeAnswer = ({ boundary }) => {
    if (boundary === 'tool') time.ms += approvalTtlMs
  }
  await runs.resume(ann, resume)
  expect(bank.invoices).toEqual([])
  expect(refusalIn(model, 'c1')).toMatchObject({ error: 'approval_required', code: 'APPROVAL_EXPIRED' })
})

test('only an approver decides: not the caller of the run', async () => {
  const { runs } = await cashierWorld([[refundCall('c1')], done])
  const { approvals } = await runs.start(ann, start)
  const decision = { callId: 'c1', digest: approvals[0]?.digest ?? '', approve: true }
  await expect(runs.decide(ann, 'run_1', [decision])).rejects.toMatchObject({ code: 'APPROVER_REQUIRED' })
  expect((await runs.show(ann, 'run_1')).approvals).toMatchObject([{ state: 'waiting' }])
})

test('a decision is about exactly what was shown, and is made once', async () => {
  const { runs } = await cashierWorld([[refundCall('c1'), refundCall('c2', 'INV-2')], done])
  const { approvals } = await runs.start(ann, start)
  const [one, other] = approvals.map(({ callId, digest }) => ({ callId, digest, approve: true }))
  if (one === undefined || other === undefined) throw new Error('two approvals')
  const deciding = (...decisions: (typeof one)[]) => runs.decide(boss, 'run_1', decisions)
  await expect(deciding({ ...one, callId: 'c9' })).rejects.toMatchObject({ code: 'APPROVAL_UNKNOWN' })
  await expect(deciding({ ...one, digest: other.digest })).rejects.toMatchObject({
    code: 'APPROVAL_MISMATCH',
  })
  await expect(deciding(one, { ...other, callId: 'c9' })).rejects.toMatchObject({ code: 'APPROVAL_UNKNOWN' })
  await expect(deciding(one, one)).rejects.toMatchObject({ code: 'BAD_INPUT' })
  await expect(deciding()).rejects.toMatchObject({ code: 'BAD_INPUT' })
  expect((await runs.show(boss, 'run_1')).approvals).toMatchObject([
    { state: 'waiting' },
    { state: 'waiting' },
  ])
  await deciding(one)
  await expect(deciding(one)).rejects.toMatchObject({ code: 'APPROVAL_DECIDED' })
  await expect(deciding({ ...one, approve: false })).rejects.toMatchObject({ code: 'APPROVAL_DECIDED' })
})

test('of two calls one approved and one declined: each comes out as decided', async () => {
  const { runs, bank, model } = await cashierWorld([[refundCall('c1'), refundCall('c2', 'INV-2')], done])
  const { approvals } = await runs.start(ann, start)
  await runs.decide(
    boss,
    'run_1',
    approvals.map(({ callId, digest }) => ({ callId, digest, approve: callId === 'c2', message: 'no' })),
  )
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
  expect(bank.invoices).toEqual(['INV-2'])
  expect(toldIn(model)['c1']).toBe('no')
})

test('one of two decided: that one runs, the other keeps waiting under the same approval', async () => {
  const { runs, bank } = await cashierWorld([[refundCall('c1'), refundCall('c2', 'INV-2')], done])
  const { approvals } = await runs.start(ann, start)
  const [one, other] = approvals
  await runs.decide(boss, 'run_1', [{ callId: 'c1', digest: one?.digest ?? '', approve: true }])
  const view = await runs.resume(ann, resume)
  expect(view).toMatchObject({ status: 'interrupted', approvals: [other] })
  expect(bank.invoices).toEqual(['INV-1'])
  await decideAll(runs, 'run_1', true)
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
  expect(bank.invoices).toEqual(['INV-1', 'INV-2'])
  expect((await runs.show(ann, 'run_1')).allApprovals).toMatchObject([{ state: 'used' }, { state: 'used' }])
})

test('the person sees the arguments with their defaults, and those run', async () => {
  const call = functionCall('refund', { invoiceId: 'INV-1', amountCents: 500 }, { callId: 'c1' })
  const { runs, bank } = await cashierWorld([[call], done])
  const { approvals } = await runs.start(ann, start)
  expect(approvals[0]?.arguments).toEqual({ invoiceId: 'INV-1', refundNo: 1, amountCents: 500 })
  await decideAll(runs, 'run_1', true)
  await runs.resume(ann, resume)
  expect(bank.invoices).toEqual(['INV-1'])
})

test('a tool with another schema, or on another surface, is not what was approved', async () => {
  const { runs, guard, bank, replica } = await cashierWorld([[refundCall('c1')], done])
  await runs.start(ann, start)
  await decideAll(runs, 'run_1', true)
  const moved = (surface: string, max: number) =>
    guardedTool(guard.surface(surface), {
      name: 'refund',
      description: 'Refund one invoice',
      parameters: z.object({
        invoiceId: z.string(),
        refundNo: z.number().int().default(1),
        amountCents: z.number().int().positive().max(max),
      }),
      needsApproval: true,
      effect: 'payment',
      key: ({ invoiceId }) => invoiceId,
      commit: (args, effect) => bank.refund(args, effect),
    })
  for (const changed of [moved('email', Number.MAX_SAFE_INTEGER), moved('payments', 10_000)]) {
    const { agent } = scripted([changed], [done], { name: 'cashier' })
    const other = replica([{ agent }])
    expect(await other.resume(ann, resume)).toMatchObject({
      status: 'interrupted',
      approvals: [{ callId: 'c1', state: 'waiting' }],
    })
  }
  expect(bank.invoices).toEqual([])
})

test('a tool without effects uses its approval up before it runs: nothing runs twice on it', async () => {
  const seen: string[] = []
  const world = await hostedWorld({
    agents: (guard) => [
      {
        agent: scripted(
          [
            guardedTool(guard.surface('payments'), {
              name: 'look',
              description: 'Look at what not everybody may see',
              parameters: z.object({}),
              needsApproval: true,
              effects: 'none',
              execute: (_, { callId }) => {
                seen.push(callId)
                return 'seen'
              },
            }),
          ],
          [[functionCall('look', {}, { callId: 'c1' })], done],
          { name: 'cashier' },
        ).agent,
      },
    ],
  })
  const { runs } = world
  await runs.start(ann, start)
  await decideAll(runs, 'run_1', true)
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
  expect(seen).toEqual(['c1'])
  expect((await runs.show(ann, 'run_1')).allApprovals).toMatchObject([{ state: 'used' }])
})

test('a policy that no longer asks does not undo a question that was asked', async () => {
  let asks = true
  const world = await hostedWorld({
    agents: (guard, bank) => [
      {
        agent: scripted(
          [
            guardedTool(guard.surface('payments'), {
              name: 'refund',
              description: 'Refund',
              parameters: z.object({ invoiceId: z.string(), refundNo: z.number(), amountCents: z.number() }),
              needsApproval: () => asks,
              effect: 'payment',
              key: ({ invoiceId }) => invoiceId,
              commit: (args, effect) => bank.refund(args, effect),
            }),
          ],
          [[refundCall('c1')], done, done],
          { name: 'cashier' },
        ).agent,
      },
    ],
  })
  await world.runs.start(ann, start)
  asks = false
  await world.runs.resume(ann, resume)
  expect(world.bank.invoices).toEqual([])
})

test('a tool of somebody else that is gated needs the stored approval too, and uses it up', async () => {
  const sent: unknown[] = []
  const send = tool({
    name: 'send',
    description: 'Send',
    parameters: z.object({ to: z.string() }),
    needsApproval: true,
    execute: async (args) => {
      sent.push(args)
      return 'sent'
    },
  })
  const world = await hostedWorld({
    agents: (guard) => {
      const { agent } = scripted([send], [[functionCall('send', { to: 'a' }, { callId: 'c1' })], done], {
        name: 'cashier',
      })
      guardAgent(agent, guard.surface('email'))
      return [{ agent }]
    },
  })
  const { runs } = world
  expect(await runs.start(ann, start)).toMatchObject({ approvals: [{ tool: 'send', surface: 'email' }] })
  await decideAll(runs, 'run_1', true)
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
  expect(sent).toEqual([{ to: 'a' }])
  expect((await runs.show(ann, 'run_1')).allApprovals).toMatchObject([{ state: 'used' }])
})

test('a direct call finds no approval, whatever run and call it names', async () => {
  const world = await hostedWorld({
    agents: (guard, bank) => {
      const { agent } = scripted(
        [refundTool(guard, bank, { needsApproval: true })],
        [[refundCall('c1')], done],
        {
          name: 'cashier',
        },
      )
      return [{ agent }]
    },
  })
  await world.runs.start(ann, start)
  await decideAll(world.runs, 'run_1', true)
  const { agent } = scripted([refundTool(world.guard, world.bank, { needsApproval: true })], [])
  const core = guardedToolCore(agent.tools[0])
  const call = { callId: 'c1', runId: 'run_1', caller: 'ann' }
  const answer = await core?.call({
    ...call,
    arguments: { invoiceId: 'INV-1', refundNo: 1, amountCents: 500 },
  })
  expect(answer).toMatchObject({ kind: 'refused', body: { code: 'APPROVAL_REQUIRED' } })
  expect(world.bank.invoices).toEqual([])
})

test('the desk is asked about what waits, and its verdicts count at resume', async () => {
  const asked: ApprovalRequest[] = []
  const withdrawn: string[] = []
  let verdicts: DeskVerdict[] = []
  const desk = {
    ask: async (requests: readonly ApprovalRequest[]) => void asked.push(...requests),
    verdictsOn: async () => verdicts,
    withdraw: async (ids: readonly string[]) => void withdrawn.push(...ids),
  }
  const { runs, bank } = await cashierWorld([[refundCall('c1')], done], { desk })
  await runs.start(ann, start)
  expect(asked).toMatchObject([
    { runId: 'run_1', caller: 'ann', callId: 'c1', tool: 'refund', arguments: { amountCents: 500 } },
  ])
  const { approvalId, digest } = asked[0] as ApprovalRequest
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'interrupted' })
  expect(asked).toHaveLength(1)
  verdicts = [
    { approvalId: 'apr_of_somebody_else', digest, approve: true, by: 'eve' },
    { approvalId, digest, approve: true, by: 'carol' },
  ]
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
  expect(bank.invoices).toEqual(['INV-1'])
  expect(withdrawn).toEqual([])
  const { operatorLog } = await runs.show(ann, 'run_1')
  expect(operatorLog).toMatchObject([{ action: 'approval.approve', by: 'desk:carol', subject: approvalId }])
})

test('what is decided here, or cancelled, is withdrawn from the desk', async () => {
  const asked: string[] = []
  const withdrawn: string[] = []
  const { runs } = await cashierWorld([[refundCall('c1'), refundCall('c2', 'INV-2')], done], {
    desk: {
      ask: async (requests) => void asked.push(...requests.map(({ approvalId }) => approvalId)),
      verdictsOn: async () => [],
      withdraw: async (ids) => void withdrawn.push(...ids),
    },
  })
  const { approvals } = await runs.start(ann, start)
  await runs.decide(boss, 'run_1', [{ callId: 'c1', digest: approvals[0]?.digest ?? '', approve: false }])
  expect(withdrawn).toEqual(asked.slice(0, 1))
  await runs.cancel(ann, 'run_1')
  expect(withdrawn).toEqual(asked)
})

test('a desk that fails decides nothing, and holds nothing up', async () => {
  const broken = () => Promise.reject(new Error('the desk is closed'))
  const { runs, bank, lines } = await cashierWorld([[refundCall('c1')], done], {
    desk: { ask: broken, verdictsOn: broken, withdraw: broken },
  })
  await runs.start(ann, start)
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'interrupted' })
  expect(bank.invoices).toEqual([])
  await decideAll(runs, 'run_1', true)
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
  expect(lines).toContainEqual(expect.objectContaining({ err: 'the desk is closed' }))
})

/** Approved and used, and the process died before the effect: nobody knows whether it happened, and it has not. */
async function diedUnderItsApproval() {
  let isDead = true
  const paid: string[] = []
  let agent: HostedAgent['agent'] | undefined
  const world = await hostedWorld({
    agents: (guard) => {
      const pay = guardedTool(guard.surface('payments'), {
        name: 'pay',
        description: 'Pay',
        parameters: z.object({ to: z.string() }),
        needsApproval: true,
        effect: 'payment',
        key: ({ to }) => to,
        commit: ({ to }) => {
          if (isDead) throw new Error('died before it was sent')
          paid.push(to)
        },
        reconcile: async () => ({ state: 'absent' as const }),
      })
      const call = functionCall('pay', { to: 'INV-1' }, { callId: 'c1' })
      agent = scripted([pay], [[call], done, done, done], { name: 'cashier' }).agent
      return [{ agent }]
    },
  })
  const { runs, store, replica } = world
  const save = () => Promise.reject(new Error('died'))
  const dying = replica([{ agent: agent as HostedAgent['agent'] }], { store: { ...store.runs, save } })
  await runs.start(ann, start)
  await decideAll(runs, 'run_1', true)
  await expect(dying.resume(ann, resume)).rejects.toThrow('died')
  isDead = false
  return { ...world, paid }
}

test('used, and its process died before the effect: the call goes on under it', async () => {
  const { runs, time, paid } = await diedUnderItsApproval()
  time.ms += 60_001
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
  expect(paid).toEqual(['INV-1'])
})

test('used, its process died before the effect, and it has expired since: a new one is asked', async () => {
  const { runs, time, paid } = await diedUnderItsApproval()
  time.ms += TTL_MS
  const late = await runs.resume(ann, resume)
  expect(late).toMatchObject({ status: 'interrupted', approvals: [{ callId: 'c1', state: 'waiting' }] })
  expect(paid).toEqual([])
  expect((await runs.show(ann, 'run_1')).allApprovals.map(({ state }) => state)).toEqual(['used', 'waiting'])
  await decideAll(runs, 'run_1', true)
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
  expect(paid).toEqual(['INV-1'])
})

test.each([
  ['a random default', () => crypto.randomUUID()],
  ['the time as a default', () => new Date().toISOString()],
])(
  'ARGUMENTS_UNSTABLE: with %s nobody can approve what will run, so the run says so and ends',
  async (_, fresh) => {
    const { runs } = await hostedWorld({
      agents: (guard) => {
        const pay = guardedTool(guard.surface('payments'), {
          name: 'pay',
          description: 'Pay',
          parameters: z.object({ ref: z.string().default(fresh) }),
          needsApproval: true,
          effect: 'payment',
          key: ({ ref }) => ref,
          commit: () => 'paid',
        })
        return [
          {
            agent: scripted([pay], [[functionCall('pay', {}, { callId: 'c1' })], done], { name: 'cashier' })
              .agent,
          },
        ]
      },
    })
    const view = await runs.start(ann, start)
    expect(view).toMatchObject({
      status: 'failed',
      resumable: false,
      approvals: [],
      error: { code: 'ARGUMENTS_UNSTABLE' },
    })
    expect(view.error?.message).toMatch(/pay \(call c1\)/)
    expect(await runs.waiting(boss, 10)).toEqual([])
  },
)
