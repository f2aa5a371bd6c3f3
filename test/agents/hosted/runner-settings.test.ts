import { Runner, tool } from '@openai/agents'
import { functionCall } from '@openai/agents/testing'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { guardAgent } from 'holdpoint'
import { hostAgents } from '../../../src/agents/hosted/hosted-agent.ts'
import { startedGuard } from '../../fixtures/guard.ts'
import { done, scripted } from '../helpers.ts'
import { ann, hostedWorld } from './world.ts'

function cashier() {
  const execute = () => 'paid'
  const pay = tool({
    name: 'pay',
    description: 'Pay',
    parameters: z.object({}),
    needsApproval: true,
    execute,
  })
  return scripted([pay], [[functionCall('pay', {}, { callId: 'c1' })], done], { name: 'cashier' }).agent
}

test('a runner whose guardrails run before a person was asked is refused: nothing could be approved', async () => {
  const { guard } = await startedGuard()
  const agent = cashier()
  guardAgent(agent, guard.surface('payments'))
  const runner = new Runner({ toolExecution: { preApprovalInputGuardrails: true } })
  expect(() => hostAgents(guard, [{ agent, runner }])).toThrow(
    expect.objectContaining({
      code: 'GUARD_MISCONFIGURED',
      message: expect.stringMatching(
        /^Agent "cashier" cannot be hosted: its runner has toolExecution\.preApprovalInputGuardrails, .*Leave it out\.$/,
      ),
    }),
  )
})

test('a runner with other settings for its tools can host, and its calls wait for approval', async () => {
  const agent = cashier()
  const runner = new Runner({ toolExecution: { maxFunctionToolConcurrency: 1 } })
  const { runs } = await hostedWorld({
    agents: (guard) => {
      guardAgent(agent, guard.surface('payments'))
      return [{ agent, runner }]
    },
  })
  expect(await runs.start(ann, { agent: 'cashier', input: 'go' })).toMatchObject({
    status: 'interrupted',
    approvals: [{ tool: 'pay', state: 'waiting' }],
  })
})
