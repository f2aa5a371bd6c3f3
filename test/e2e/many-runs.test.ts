import { expect, test } from 'vitest'

import type { RunView } from '../../src/agents/hosted/run-types.ts'
import { pay } from '../fixtures/hosted-cashiers.ts'
import { startHostedWorld } from '../fixtures/hosted-runs.ts'

const RUNS = 60
/** A tool's output, which stands in the state twice. One run in twenty has one. */
const LARGE_BYTES = 1_050_000

test('many paused runs, some of them with states of 2 MB: the list pages through each once, and each, resumed three times at once, pays once', async () => {
  await using world = await startHostedWorld()
  const runIds = Array.from({ length: RUNS }, (_, run) => `run_${run}`)
  for (const [run, runId] of runIds.entries()) {
    const bytes = run % 20 === 0 ? LARGE_BYTES : 1000
    const fill = { tool: 'fill', args: { bytes }, callId: 'fill' }
    await world.start(runId, [[fill], [pay('call_1', `INV-${run}`)]])
  }
  const [stored] = world.rows('SELECT max(length(state)) AS largest FROM run_states')
  expect(stored?.['largest']).toBeGreaterThan(2_000_000)

  const listed: string[] = []
  for (let path: string | undefined = '/runs?status=interrupted&limit=25'; path !== undefined;) {
    const { status, body } = await world.get(path)
    expect(status).toBe(200)
    const { runs, next } = body as { runs: RunView[]; next?: string | null }
    listed.push(...runs.map(({ runId }) => runId))
    path = typeof next === 'string' ? `/runs?status=interrupted&limit=25&before=${next}` : undefined
  }
  expect(listed).toEqual(runIds.toReversed())

  for (const runId of runIds) await world.decide(runId, true)
  const statuses: number[] = []
  for (const runId of runIds) {
    const answers = await Promise.all([world.resume(runId), world.resume(runId), world.resume(runId)])
    statuses.push(...answers.map(({ status }) => status))
  }
  expect([statuses.filter((status) => status === 200), statuses.filter((status) => status === 409)]).toEqual([
    Array.from({ length: RUNS }, () => 200),
    Array.from({ length: 2 * RUNS }, () => 409),
  ])
  const paid = world.ran.filter(({ what }) => what === 'paid').map(({ subject }) => subject)
  expect(paid).toEqual(runIds.map((_, run) => `INV-${run}`))
  expect(world.journal()).toEqual({ done: RUNS })
}, 120_000)
