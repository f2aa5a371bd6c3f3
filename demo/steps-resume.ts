import { Agent } from '@openai/agents'
import { guardedTool, resumeAgent, runAgent, serializeState } from 'holdpoint'
import { z } from 'zod'
import { modelFor } from './model.ts'
import type { Report } from './report.ts'
import { restore } from './steps-stop.ts'
import { DEVICES, type World } from './world.ts'

const RUN_ID = 'run_demo_refund'

/** A refund that a person must approve: the run pauses, is kept as text, and resumes later. */
export async function pauseAndResume(world: World, report: Report): Promise<void> {
  const refunded: string[] = []
  const refund = guardedTool(world.guard.surface('payments'), {
    name: 'refund_invoice',
    description: 'Refund one invoice. refundNo tells refunds of the same invoice apart.',
    parameters: z.object({
      invoiceId: z.string(),
      refundNo: z.number().int(),
      amountCents: z.number().int().positive(),
    }),
    needsApproval: true,
    effect: 'payment',
    key: ({ invoiceId, refundNo }) => `${invoiceId}:${refundNo}`,
    commit: ({ invoiceId, amountCents }, { idempotencyKey }) => {
      refunded.push(idempotencyKey)
      return { invoiceId, amountCents, receipt: idempotencyKey }
    },
  })
  const args = { invoiceId: 'INV-1001', refundNo: 1, amountCents: 500 }
  const agent = () => {
    const model = modelFor([{ tool: 'refund_invoice', args }])
    return new Agent({
      name: 'support',
      instructions: 'You refund invoices.',
      tools: [refund],
      ...(model === undefined ? {} : { model }),
    })
  }
  const resumed = modelFor([])
  const resuming = new Agent({
    name: 'support',
    tools: [refund],
    ...(resumed === undefined ? {} : { model: resumed }),
  })

  const paused = await runAgent(
    world.guard,
    agent(),
    'Refund 500 cents of INV-1001. It is refund number 1.',
    { runId: RUN_ID },
  )
  const state = paused.state === undefined ? '' : serializeState(paused.state)
  await report.step(
    'A refund that needs approval pauses the run',
    'interrupted, 1 call waits, 0 refunds',
    async () => {
      return `${paused.status}, ${paused.approvals.length} call waits, ${refunded.length} refunds`
    },
  )
  const approvals = paused.approvals.map(({ callId, digest }) => ({ callId, digest, approve: true }))
  const resume = () => resumeAgent(world.guard, resuming, state, { runId: RUN_ID, approvals })

  await report.step(
    'The whole tool server is revoked; the approved run is resumed',
    'denied DEVICE_REVOKED at resume, 0 refunds',
    async () => {
      await world.operator.revoke(DEVICES.server, { reason: 'demo' })
      const run = await resume()
      return `${run.status} ${run.denial?.code} at ${run.denial?.boundary}, ${refunded.length} refunds`
    },
  )

  await report.step('It is restored, the run is resumed', 'completed, 1 refund', async () => {
    await restore(world, DEVICES.server)
    return `${(await resume()).status}, ${refunded.length} refund`
  })

  await report.step('The same paused state is resumed once more', 'still 1 refund', async () => {
    const again = modelFor([])
    const agent = new Agent({
      name: 'support',
      tools: [refund],
      ...(again === undefined ? {} : { model: again }),
    })
    await resumeAgent(world.guard, agent, state, { runId: RUN_ID, approvals })
    return `still ${refunded.length} refund`
  })
}
