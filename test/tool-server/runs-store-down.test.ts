import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, describe, expect, test } from 'vitest'

import { createSqliteToolStore } from '../../src/store/sqlite/tool-store.ts'
import { startRunsWorld, starting, turn, type RunsWorld } from './runs-world.ts'

const open: RunsWorld[] = []
afterEach(async () => {
  for (const world of open.splice(0)) await world[Symbol.asyncDispose]()
})

async function start(): Promise<RunsWorld> {
  const world = await startRunsWorld()
  open.push(world)
  return world
}

const DOWN = {
  status: 503,
  body: {
    code: 'STORE_UNAVAILABLE',
    message: expect.stringContaining('GET /runs/:id'),
    request_id: expect.any(String),
  },
}

/** The runs as the next process finds them, an hour later. */
async function later(world: RunsWorld) {
  const file = join(world.server.dir, 'journal.sqlite')
  const store = createSqliteToolStore({ file, nowMs: () => Date.now() + 3_600_000 })
  await store.runs.sweepLost()
  const runs = await store.runs.list({ limit: 10 })
  await store.close()
  return runs.map(({ runId, status, problem }) => ({ runId, status, code: problem?.code }))
}

describe('the store is down: 503, a logged request_id, and nothing half done', () => {
  test('on every route', async () => {
    const world = await start()
    await world.paused('r1', 'INV-1')
    const { digest } = (await world.show('r1')).approvals[0] ?? {}
    const { approver } = world.tokens
    await world.server.store.close()
    const decisions = [{ callId: 'call_INV-1', digest, approve: true }]
    const answers = [
      await world.paused('r2', 'INV-2'),
      await world.get('/runs'),
      await world.get('/runs?outcome=unknown'),
      await world.get('/runs/r1'),
      await world.post('/runs/r1/resume', {}),
      await world.post('/runs/r1/cancel', {}),
      await world.get('/approvals', approver),
      await world.post('/runs/r1/decisions', { decisions }, approver),
      await world.post('/effects/hp_x/settle', { outcome: 'done', reason: 'x' }, approver),
    ]
    for (const answer of answers) expect(answer).toMatchObject(DOWN)
    const logged = world.server.lines.filter(({ msg }) => msg === 'the store of runs failed')
    expect(logged.map(({ request_id: id }) => id)).toEqual(answers.map(({ body }) => body.request_id))
    expect(await later(world)).toEqual([{ runId: 'r1', status: 'interrupted', code: undefined }])
    expect(world.desk.paid).toEqual([])
  })

  test('a stream says so before it begins, or as its last event', async () => {
    const world = await start()
    using running = await world.stream('/runs', starting('r1', [turn('wait', { name: 'one' })]))
    await expect.poll(() => world.desk.started).toEqual(['one'])
    await world.server.store.close()
    world.desk.release.resolve()
    await running.closed
    expect(running.events.at(-1)).toMatchObject({ event: 'error', data: DOWN.body })
    using refused = await world.stream('/runs', starting('r2', [turn('fill', { bytes: 1 })]))
    await refused.closed
    expect([refused.status, refused.json()]).toMatchObject([503, DOWN.body])
    expect(await later(world)).toEqual([{ runId: 'r1', status: 'failed', code: 'RUN_LOST' }])
  })

  test('while another program holds the file: refused after a wait, and usable again afterwards', async () => {
    const world = await start()
    await world.paused('r1', 'INV-1')
    const holder = new DatabaseSync(join(world.server.dir, 'journal.sqlite'))
    holder.exec('BEGIN IMMEDIATE')
    expect(await world.paused('r2', 'INV-2')).toMatchObject(DOWN)
    holder.exec('ROLLBACK')
    holder.close()
    expect((await world.get('/runs/r2')).status).toBe(404)
    await world.approveAll('r1')
    expect((await world.post('/runs/r1/resume', {})).body.status).toBe('completed')
  }, 30_000)

  test('GET /readyz still answers, and says that it cannot tell', async () => {
    const world = await start()
    await world.server.store.close()
    expect(await world.get('/readyz', '')).toMatchObject({
      status: 200,
      body: { status: 'degraded', runs: null, unknown_outcomes: null },
    })
    expect((await world.get('/readyz?strict', '')).status).toBe(503)
  })
})
