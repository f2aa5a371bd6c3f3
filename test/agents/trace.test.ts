import {
  run,
  setTraceProcessors,
  setTracingDisabled,
  withTrace,
  type Span,
  type SpanData,
  type TracingProcessor,
} from '@openai/agents'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { guardedToolCore, resumeAgent, runAgent } from 'holdpoint'
import { PAYMENTS, startedGuard } from '../fixtures/guard.ts'
import { Bank, done, refundCall, refundTool, scripted } from './helpers.ts'
import { exportCall, exportTool, SURFACES } from './tenants.ts'

const spans: Span<SpanData>[] = []
const recorder: TracingProcessor = {
  onTraceStart: async () => {},
  onTraceEnd: async () => {},
  onSpanStart: async () => {},
  onSpanEnd: async (span) => void spans.push(span as Span<SpanData>),
  shutdown: async () => {},
  forceFlush: async () => {},
}

beforeAll(() => {
  setTraceProcessors([recorder])
  setTracingDisabled(false)
})
beforeEach(() => void spans.splice(0))
afterAll(() => setTracingDisabled(true))

interface GuardSpan {
  readonly data: Record<string, unknown>
  readonly parent: string | undefined
  readonly error: unknown
}

function guardSpans(): GuardSpan[] {
  return spans.flatMap(({ spanData, parentId, error }) => {
    if (spanData.type !== 'custom' || spanData['name'] !== 'guard.validate') return []
    const parent = spans.find(({ spanId }) => spanId === parentId)?.spanData
    const name = parent?.type === 'function' ? `function:${parent.name}` : parent?.type
    return [{ data: spanData['data'] as Record<string, unknown>, parent: name, error }]
  })
}

test('each question of a tool is a span guard.validate, child of the span of the tool', async () => {
  const { guard } = await startedGuard()
  const { agent } = scripted([refundTool(guard, new Bank())], [[refundCall('c1')], done])
  await run(agent, 'go')
  expect(guardSpans()).toEqual([
    {
      data: { boundary: 'tool', surface: 'payments', allowed: true, code: 'ALLOW', request_id: 'req-2' },
      parent: 'function:refund',
      error: null,
    },
    {
      data: {
        boundary: 'side_effect',
        surface: 'payments',
        allowed: true,
        code: 'ALLOW',
        request_id: 'req-3',
      },
      parent: 'function:refund',
      error: null,
    },
  ])
})

test('a surface that is chosen from the arguments is the one in the span', async () => {
  const { guard } = await startedGuard({ surfaces: SURFACES })
  const { agent } = scripted([exportTool(guard, () => 'x')], [[exportCall('c1', 'a')], done])
  await run(agent, 'go')
  expect(guardSpans().map(({ data }) => [data['boundary'], data['surface']])).toEqual([
    ['tool', 'tenant-a'],
    ['side_effect', 'tenant-a'],
  ])
})

test('a denied question is a span with an error', async () => {
  const { guard, authority } = await startedGuard()
  authority.stop(PAYMENTS)
  const { agent } = scripted([refundTool(guard, new Bank())], [[refundCall('c1')], done])
  await run(agent, 'go')
  expect(guardSpans()).toMatchObject([
    { data: { allowed: false, code: 'DEVICE_REVOKED' }, error: { data: { code: 'DEVICE_REVOKED' } } },
  ])
})

test('the questions at task are spans too', async () => {
  const { guard } = await startedGuard()
  const { agent } = scripted([], [done])
  await runAgent(guard, agent, 'go')
  expect(guardSpans()).toMatchObject([{ data: { boundary: 'task', allowed: true } }])
})

test('outside a trace there is no span, and nothing breaks', async () => {
  const { guard, authority } = await startedGuard()
  const core = guardedToolCore(refundTool(guard, new Bank()))
  const args = { invoiceId: 'INV-1', amountCents: 1 }
  expect(await core?.call({ arguments: args, callId: 'c1' })).toMatchObject({ kind: 'output' })
  expect(await resumeAgent(guard, scripted([], []).agent, '{}').catch(() => 'unreadable')).toBe('unreadable')
  expect(authority.boundaries).toEqual(['startup', 'tool', 'side_effect', 'resume'])
  expect(spans).toEqual([])
})

test('inside a trace of the app a direct call has its spans', async () => {
  const { guard } = await startedGuard()
  const core = guardedToolCore(refundTool(guard, new Bank()))
  await withTrace('app', async () => {
    await core?.call({ arguments: { invoiceId: 'INV-1', amountCents: 1 }, callId: 'c1' })
  })
  expect(guardSpans().map(({ data }) => data['boundary'])).toEqual(['tool', 'side_effect'])
})
