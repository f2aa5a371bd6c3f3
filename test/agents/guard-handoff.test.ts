import { handoff, run } from '@openai/agents'
import { functionCall, modelResponder, ScriptedModel } from '@openai/agents/testing'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { guardAgent, GuardDeniedError, runAgent, type GuardAgentOptions } from 'holdpoint'
import { hostAgents } from '../../src/agents/hosted/hosted-agent.ts'
import { PAYMENTS, SERVER, startedGuard } from '../fixtures/guard.ts'
import { ann, hostedWorld } from './hosted/world.ts'
import { done, scripted } from './helpers.ts'

const refundOn = (callId = 'h1') => functionCall('to_billing', { invoice: 'INV-1', cents: 900 }, { callId })

/** An agent whose handoff runs code of its author's with the arguments of the model. */
function handingOff() {
  const refunds: unknown[] = []
  const billing = scripted([], [done, done], { name: 'billing' })
  const toBilling = handoff(billing.agent, {
    toolNameOverride: 'to_billing',
    inputType: z.object({ invoice: z.string(), cents: z.number() }),
    onHandoff: async (_runContext, input) => void refunds.push(input),
  })
  const support = scripted([], [[refundOn()], [refundOn('h2')]], { handoffs: [toBilling] })
  return { refunds, billing, toBilling, support, agent: support.agent }
}

const paid = { invoice: 'INV-1', cents: 900 }

test('a handoff() asks at tool, under its tool name, and runs its code once', async () => {
  const { guard, authority } = await startedGuard()
  const { refunds, agent } = handingOff()
  const surfaceOf = (name: string) => guard.surface(name === 'to_billing' ? 'payments' : 'email')
  guardAgent(agent, surfaceOf)
  guardAgent(agent, surfaceOf)
  expect((await run(agent, 'go')).finalOutput).toBe('done')
  expect(refunds).toEqual([paid])
  expect(authority.questions.slice(1)).toMatchObject([
    { boundary: 'tool', tool: 'to_billing', deviceIds: [SERVER, PAYMENTS] },
  ])
})

describe.each<GuardAgentOptions>([{}, { onDenied: 'stop' }, { onDenied: 'abort' }])(
  'denied with %o, its code does not run, and nobody is told that it was handed off',
  (options) => {
    test('a plain run rejects', async () => {
      const { guard, authority } = await startedGuard()
      const { refunds, billing, support, agent } = handingOff()
      guardAgent(agent, guard.surface('payments'), options)
      authority.stop(PAYMENTS)
      await expect(run(agent, 'go')).rejects.toMatchObject({ code: 'DEVICE_REVOKED' })
      expect(refunds).toEqual([])
      expect([billing, support].map(({ model }) => model.calls.length)).toEqual([0, 1])
    })

    test('runAgent ends as denied, or rejects with abort', async () => {
      const { guard, authority } = await startedGuard()
      const { refunds, billing, agent } = handingOff()
      guardAgent(agent, guard.surface('payments'), options)
      authority.stop(PAYMENTS)
      const ended = runAgent(guard, agent, 'go')
      if (options.onDenied === 'abort') await expect(ended).rejects.toBeInstanceOf(GuardDeniedError)
      else {
        const denial = { code: 'DEVICE_REVOKED', boundary: 'tool', device_id: PAYMENTS, executed: false }
        expect(await ended).toMatchObject({ status: 'denied', denial })
      }
      expect(refunds).toEqual([])
      expect(billing.model.calls).toHaveLength(0)
    })

    test('the outer agent of an agent tool makes no further model call', async () => {
      const { guard, authority } = await startedGuard()
      const { refunds, agent } = handingOff()
      const ask = functionCall('ask', { input: 'go' }, { callId: 'o1' })
      const outer = scripted([agent.asTool({ toolName: 'ask' })], [[ask], done], { name: 'outer' })
      guardAgent(outer.agent, (name) => guard.surface(name === 'to_billing' ? 'payments' : 'email'), options)
      authority.stop(PAYMENTS)
      await runAgent(guard, outer.agent, 'go').catch(() => undefined)
      expect(refunds).toEqual([])
      expect(outer.model.calls).toHaveLength(1)
    })
  },
)

test('an agent that is given plainly only hands off, and asks for nothing', async () => {
  const { guard, authority } = await startedGuard()
  const billing = scripted([], [done], { name: 'billing' })
  const transfer = functionCall('transfer_to_billing', {}, { callId: 'h1' })
  const { agent } = scripted([], [[transfer]], { handoffs: [billing.agent] })
  guardAgent(agent, guard.surface('payments'))
  hostAgents(guard, [{ agent }])
  await run(agent, 'go')
  expect(authority.boundaries).toEqual(['startup'])
})

test('a frozen handoff cannot be gated: refused by name, or let through', async () => {
  const { guard } = await startedGuard()
  const { toBilling, agent } = handingOff()
  Object.freeze(toBilling)
  expect(() => guardAgent(agent, guard.surface('payments'))).toThrow(
    /'to_billing' of agent "support" \(it is frozen\)/,
  )
  guardAgent(agent, guard.surface('payments'), { allowUngated: ['to_billing'] })
})

describe('hosted', () => {
  test('an agent whose handoff() does not ask is refused, and the next step named', async () => {
    const { guard } = await startedGuard()
    const other = await startedGuard()
    const [ungated, elsewhere] = [handingOff(), handingOff()]
    guardAgent(elsewhere.agent, other.guard.surface('payments'))
    expect(() => hostAgents(guard, [ungated])).toThrow(
      /Not gated: 'to_billing' of agent "support" \(a handoff\(\) may run code\)\. Gate them: guardAgent\(agent, surface\)/,
    )
    expect(() => hostAgents(guard, [elsewhere])).toThrow(
      /'to_billing' of agent "support" \(it asks another guard\)/,
    )
  })

  test('its code runs in a session only: NO_SESSION', async () => {
    const { guard, authority } = await startedGuard()
    const { refunds, agent } = handingOff()
    guardAgent(agent, guard.surface('payments'))
    hostAgents(guard, [{ agent }])
    await expect(run(agent, 'go')).rejects.toMatchObject({ code: 'NO_SESSION' })
    expect(refunds).toEqual([])
    expect(authority.boundaries).toEqual(['startup'])
  })

  async function hostedHandoff() {
    const made = handingOff()
    const world = await hostedWorld({
      agents: (guard) => {
        guardAgent(made.agent, guard.surface('payments'))
        return [made]
      },
    })
    return { ...made, ...world }
  }

  const start = { agent: 'support', input: 'go', runId: 'run_1' }

  test('allowed it goes on to the other agent, denied the run ends as denied', async () => {
    const { runs, refunds, authority } = await hostedHandoff()
    expect(await runs.start(ann, start)).toMatchObject({ status: 'completed', output: 'done' })
    authority.stop(PAYMENTS)
    expect(await runs.start(ann, { ...start, runId: 'run_2' })).toMatchObject({
      status: 'denied',
      denial: { code: 'DEVICE_REVOKED', boundary: 'tool' },
      resumable: false,
    })
    expect(refunds).toEqual([paid])
  })

  test('a run that another process has meanwhile hands off nothing', async () => {
    const { runs, refunds, store, time, agent } = await hostedHandoff()
    const lost = modelResponder(async () => {
      time.ms += 60_001
      await store.runs.sweepLost()
      return [refundOn()]
    })
    agent.model = new ScriptedModel([lost])
    await runs.start(ann, start).catch(() => undefined)
    expect(refunds).toEqual([])
  })
})
