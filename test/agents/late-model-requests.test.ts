// Requests that the SDK sends late, or by a way that passes no filter: each starts on a fresh allow all the same.

import { Agent, MemorySession, type AgentInputItem, type Model } from '@openai/agents'
import { describe, expect, test } from 'vitest'
import { resumeAgent, runAgent, serializeState } from 'holdpoint'
import { SERVER, startedGuard } from '../fixtures/guard.ts'
import { Bank, done, refundCall, refundTool, scripted } from './helpers.ts'

const onEvent = () => undefined

/** A model whose stream breaks off after a call, on a conversation that the server keeps: the SDK then tells it so. */
function brokenStream(breakOff: (signal: AbortSignal | undefined) => Promise<void> | void) {
  const told: unknown[] = []
  const model = {
    getResponse: async ({ input }: { input: unknown }) => {
      told.push(input)
      return { usage: { requests: 1, inputTokens: 1, outputTokens: 1, totalTokens: 2 }, output: [] }
    },
    getStreamedResponse: async function* ({ signal }: { signal?: AbortSignal }) {
      const item = { type: 'function_call', call_id: 'c1', name: 'pay', arguments: '{}' }
      yield { type: 'response_started' }
      yield { type: 'model', event: { type: 'response.created', response: { id: 'r1' } } }
      yield { type: 'model', event: { type: 'response.output_item.done', item } }
      await breakOff(signal)
      throw Object.assign(new Error('aborted'), { name: 'AbortError' })
    },
  } as unknown as Model
  return { told, agent: new Agent({ name: 'a', model }) }
}

const conversation = { onEvent, runOptions: { conversationId: 'conv_1' } }

test('what the SDK tells the server after an abort is not sent after a pushed stop', async () => {
  const { guard, authority } = await startedGuard()
  const { agent, told } = brokenStream(() => void authority.stopNow(SERVER))
  expect(await runAgent(guard, agent, 'go', conversation)).toMatchObject({
    status: 'denied',
    denial: { code: 'STOP_PUSHED' },
  })
  expect(told).toEqual([])
  expect(authority.boundaries).toEqual(['startup', 'task'])
})

test('what the SDK tells the server after an abort is asked for where nothing is stopped', async () => {
  const { guard, authority } = await startedGuard()
  const { agent, told } = brokenStream(() => {})
  await runAgent(guard, agent, 'go', conversation).catch(() => undefined)
  expect(told).toMatchObject([[{ type: 'function_call_result', callId: 'c1' }]])
  expect(authority.boundaries).toEqual(['startup', 'task', 'task'])
})

describe('a request that waits for the storage of the app after its question', () => {
  /** A run that goes on with input of its own, on storage that takes a minute between the question and the request. */
  async function slowStorage(
    meanwhile: (authority: Awaited<ReturnType<typeof startedGuard>>['authority']) => void,
  ) {
    const { guard, authority, clock } = await startedGuard()
    authority.openStops = undefined
    const refund = refundTool(guard, new Bank(), { needsApproval: true })
    const { agent, model } = scripted([refund], [[refundCall('c1')], done])
    const session = new MemorySession()
    const add = session.addItems.bind(session)
    const runOptions = { session }
    const { state } = await runAgent(guard, agent, 'go', { runId: 'run_1', runOptions })
    state?.addInput('also this')
    session.addItems = async (items: AgentInputItem[]) => {
      if (authority.boundaries.at(-1) === 'task' && clock.now().monotonicMs < 60_000) {
        clock.advance(60_000)
        meanwhile(authority)
      }
      return add(items)
    }
    const approvals = [{ callId: 'c1', approve: true }]
    const text = state === undefined ? '' : serializeState(state)
    const before = authority.questions.length
    const denials: unknown[] = []
    guard.subscribe((event) => {
      if (event.kind === 'decision' && !event.decision.allowed) denials.push(event.decision)
    })
    const ended = await resumeAgent(guard, agent, text, { runId: 'run_1', approvals, runOptions })
    return { ended, denials, sent: model.calls.length - 1, asked: authority.boundaries.slice(before) }
  }

  test('G3: its allow is too old by then, and it is asked for anew', async () => {
    const { ended, denials, sent, asked } = await slowStorage(() => {})
    expect(ended).toMatchObject({ status: 'completed' })
    expect(sent).toBe(1)
    expect(asked).toEqual(['resume', 'tool', 'side_effect', 'task', 'task'])
    expect(denials).toEqual([])
  })

  test('G1: it is not sent after a stop', async () => {
    const { ended, sent } = await slowStorage((authority) => authority.stop(SERVER))
    expect(ended).toMatchObject({ status: 'denied', denial: { code: 'DEVICE_REVOKED', boundary: 'task' } })
    expect(sent).toBe(0)
  })
})
