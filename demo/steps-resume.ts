import { Agent } from '@openai/agents'
import { guardedTool, resumeAgent, runAgent, serializeState, type AgentRun } from 'holdpoint'
import { z } from 'zod'
import { modelFor, type Turn } from './model.ts'
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
  let turns: Turn[] = [
    { tool: 'refund_invoice', args: { invoiceId: 'INV-1001', refundNo: 1, amountCents: 500 } },
  ]
  const agent = () => {
    const model = modelFor(turns)
    // The pending call is in the state; after it the script has nothing more to ask for.
    turns = []
    return new Agent({ name: 'support', tools: [refund], ...(model === undefined ? {} : { model }) })
  }

  let paused: AgentRun | undefined
  await report.step('A refund waits for approval', 'interrupted, 0 refunds', async () => {
    const input = 'Refund 500 cents of INV-1001. It is refund number 1.'
    paused = await runAgent(world.guard, agent(), input, { runId: RUN_ID })
    return `${paused.status}, ${refunded.length} refunds`
  })
  const state = paused?.state === undefined ? '' : serializeState(paused.state)
  const approvals = (paused?.approvals ?? []).map(({ callId, digest }) => ({ callId, digest, approve: true }))
  const resume = () => {
    if (state === '') throw new Error('there is no paused run to resume')
    return resumeAgent(world.guard, agent(), state, { runId: RUN_ID, approvals })
  }

  await report.step('Revoked; the approved run is resumed', 'denied at resume, 0 refunds', async () => {
    await world.operator.revoke(DEVICES.server, { reason: 'demo: the whole tool server' })
    const run = await resume()
    report.say(`${run.denial?.code}, request ${run.denial?.request_id}`)
    return `${run.status} at ${run.denial?.boundary}, ${refunded.length} refunds`
  })

  await report.step('Restored; the run is resumed', 'completed, 1 refund', async () => {
    await restore(world, DEVICES.server)
    return `${(await resume()).status}, ${refunded.length} refund`
  })

  await report.step('The same paused state, resumed again', 'completed, 1 refund', async () => {
    return `${(await resume()).status}, ${refunded.length} refund`
  })
}
