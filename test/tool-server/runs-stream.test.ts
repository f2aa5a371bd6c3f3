import type { ServerResponse } from 'node:http'
import { afterEach, describe, expect, test } from 'vitest'

import type { EventStreamClient } from '../fixtures/event-stream.ts'
import { startRunsWorld, starting, turn, type RunsWorld } from './runs-world.ts'
import type { TestToolServerOptions } from './start.ts'

const open: RunsWorld[] = []
afterEach(async () => {
  for (const world of open.splice(0)) await world[Symbol.asyncDispose]()
})

async function start(options: Partial<TestToolServerOptions> = {}): Promise<RunsWorld> {
  const world = await startRunsWorld(options)
  open.push(world)
  return world
}

const types = ({ events }: EventStreamClient) => events.map(({ event }) => event)
const waiting = (runId: string, more: object = {}) => starting(runId, [turn('wait', { name: runId })], more)

describe('a stream of a run', () => {
  test('tells every step in order, numbered, and ends with the run itself', async () => {
    const world = await start()
    const asked = starting('r1', [turn('fill', { bytes: 3 }), turn('pay_invoice', { invoiceId: 'INV-1' })])
    using stream = await world.stream('/runs', asked)
    await stream.closed
    expect(stream.headers).toMatchObject({
      'content-type': 'text/event-stream',
      'cache-control': 'no-store, no-transform',
      'x-accel-buffering': 'no',
    })
    expect(stream.events.map(({ id }) => Number(id))).toEqual(stream.events.map((_event, index) => index + 1))
    for (const { event, data } of stream.events) expect(data.type).toBe(event)
    const story = types(stream).filter((type) => type !== 'message')
    expect(story[0]).toBe('run_started')
    expect(story.at(-1)).toBe('run_ended')
    const fill = stream.events.filter(({ data }) => data.call_id === 'call_fill')
    expect(fill.map(({ event }) => event)).toEqual(['tool_called', 'held', 'allowed', 'tool_output'])
    expect(fill[2]?.data).toMatchObject({
      boundary: 'tool',
      code: 'ALLOW',
      request_id: expect.any(String),
      device_id: expect.any(String),
    })
    const [asking] = stream.events.filter(({ event }) => event === 'approval_asked')
    expect(asking?.data).toMatchObject({
      call_id: 'call_pay_invoice',
      arguments: { invoiceId: 'INV-1', currency: 'usd' },
    })
    expect(stream.events.at(-1)?.data.run).toMatchObject({ runId: 'r1', status: 'interrupted' })
  })

  test('tells the payment of a resumed run: asked twice, with a request id for each', async () => {
    const world = await start()
    await world.paused('r1', 'INV-1')
    await world.approveAll('r1')
    using stream = await world.stream('/runs/r1/resume', {})
    await stream.closed
    const allowed = stream.events.filter(({ event }) => event === 'allowed').map(({ data }) => data)
    expect(allowed.map(({ boundary }) => boundary)).toEqual(
      expect.arrayContaining(['resume', 'tool', 'side_effect']),
    )
    expect(new Set(allowed.map(({ request_id: id }) => id)).size).toBe(allowed.length)
    expect(stream.events.at(-1)?.data.run).toMatchObject({ status: 'completed' })
  })

  test('what is refused before the first step is a plain error with its status', async () => {
    const world = await start()
    for (const [path, body, status, code] of [
      ['/runs', { agent: 'nobody', input: 'x' }, 404, 'AGENT_NOT_FOUND'],
      ['/runs', { agent: 'clerk' }, 400, 'BAD_REQUEST'],
      ['/runs/nothing/resume', {}, 404, 'RUN_NOT_FOUND'],
      ['/runs/nothing', undefined, 404, 'RUN_NOT_FOUND'],
    ] as const) {
      using stream = await world.stream(path, body)
      await stream.closed
      expect([stream.status, stream.json()]).toMatchObject([status, { code }])
    }
  })

  test('whose token is taken away hears no more of a run that goes on', async () => {
    const world = await start()
    using stream = await world.stream('/runs', waiting('r1', { onDisconnect: 'continue' }))
    await expect.poll(() => types(stream)).toContain('tool_called')
    world.revokedTokens.add(world.tokens.user)
    world.desk.release.resolve()
    await stream.closed
    expect(types(stream)).not.toContain('tool_output')
    expect(types(stream)).not.toContain('run_ended')
    await expect.poll(async () => (await world.show('r1')).status).toBe('completed')
  })

  test('a denied resume is a plain 403 too', async () => {
    const world = await start()
    await world.paused('r1', 'INV-1')
    await world.server.authority.revoke(world.server.guard.serverDeviceId)
    using stream = await world.stream('/runs/r1/resume', {})
    await stream.closed
    const told = stream.status === 403 ? stream.json() : stream.events.at(-1)?.data
    expect(told).toMatchObject({ code: 'DEVICE_REVOKED', boundary: 'resume' })
  })

  test('a run that has ended is told at once', async () => {
    const world = await start()
    await world.post('/runs', starting('r1', [turn('fill', { bytes: 1 })]))
    using again = await world.stream('/runs', starting('r1', [turn('fill', { bytes: 1 })]))
    using followed = await world.stream('/runs/r1')
    for (const stream of [again, followed]) {
      await stream.closed
      expect(types(stream)).toEqual(['run_ended'])
      expect(stream.events[0]?.data.run.status).toBe('completed')
    }
  })

  test('somebody else may look on, from now to the end', async () => {
    const world = await start()
    const running = world.post('/runs', waiting('r1'))
    await expect.poll(() => world.desk.started).toEqual(['r1'])
    using stream = await world.stream('/runs/r1', undefined, world.tokens.approver)
    await expect.poll(() => stream.status).toBe(200)
    world.desk.release.resolve()
    await stream.closed
    expect(types(stream)).toEqual(expect.arrayContaining(['tool_output']))
    expect(types(stream).at(-1)).toBe('run_ended')
    expect((await running).body.status).toBe('completed')
  })

  test('a run in the background is followed from its queue to its end', async () => {
    const world = await start()
    using stream = await world.stream(
      '/runs',
      starting('r1', [turn('fill', { bytes: 1 })], { background: true }),
    )
    await stream.closed
    expect(types(stream).at(-1)).toBe('run_ended')
    expect(stream.events.at(-1)?.data.run.status).toBe('completed')
  })

  test('an idle one shows that it lives', async () => {
    const world = await start({ runs: { heartbeatMs: 20 } })
    using stream = await world.stream('/runs', waiting('r1'))
    await stream.line(': ')
    world.desk.release.resolve()
    await stream.closed
  })

  test('the last words arrive whole, however long they are', async () => {
    const world = await start()
    const asked = starting('r1', [turn('fill', { bytes: 900_000 })])
    using stream = await world.stream('/runs', asked)
    await stream.closed
    const [output] = stream.events.filter(({ event }) => event === 'tool_output')
    expect(output?.data.output).toHaveLength(900_000)
    expect(types(stream).at(-1)).toBe('run_ended')
  })
})

describe('whoever started a run hangs up', () => {
  test.each([
    ['on a stream', (world: RunsWorld, body: object) => world.stream('/runs', body)],
    [
      'on a plain answer',
      async (world: RunsWorld, body: object) => {
        const abort = new AbortController()
        const headers = {
          authorization: `Bearer ${world.tokens.user}`,
          'content-type': 'application/json',
        }
        const init = { method: 'POST', headers, body: JSON.stringify(body), signal: abort.signal }
        fetch(`${world.server.url}/runs`, init).catch(() => undefined)
        return { [Symbol.dispose]: () => abort.abort() }
      },
    ],
  ])('%s: the run is cancelled and its body aborted', async (_name, ask) => {
    const world = await start()
    const client = await ask(world, waiting('r1'))
    await expect.poll(() => world.desk.started).toEqual(['r1'])
    client[Symbol.dispose]()
    await expect.poll(() => world.desk.aborted).toEqual(['r1'])
    await expect.poll(async () => (await world.show('r1')).status).toBe('cancelled')
  })

  test('with onDisconnect "continue" the run goes on to its end', async () => {
    const world = await start()
    const client = await world.stream('/runs', waiting('r1', { onDisconnect: 'continue' }))
    await expect.poll(() => world.desk.started).toEqual(['r1'])
    client[Symbol.dispose]()
    await expect.poll(async () => (await world.show('r1')).status).toBe('running')
    world.desk.release.resolve()
    await expect.poll(async () => (await world.show('r1')).status).toBe('completed')
    expect(world.desk.aborted).toEqual([])
  })

  test('who only looks on ends nothing', async () => {
    const world = await start()
    const running = world.post('/runs', waiting('r1'))
    await expect.poll(() => world.desk.started).toEqual(['r1'])
    const looking = await world.stream('/runs/r1')
    looking[Symbol.dispose]()
    world.desk.release.resolve()
    expect((await running).body.status).toBe('completed')
  })
})

test('whoever does not read is cut, and the run goes on when it was to', async () => {
  const world = await start()
  const cut = new Promise<boolean>((resolve) => {
    world.server.toolServer.server.once('request', (_request, response: ServerResponse) => {
      response.once('close', () => resolve(!response.writableEnded))
    })
  })
  // More than the buffers of both sockets hold.
  const turns = Array.from({ length: 8 }, (_one, index) =>
    turn('fill', { bytes: 3_000_000 }, `call_${index}`),
  )
  using stream = await world.stream('/runs', starting('r1', turns, { onDisconnect: 'continue' }))
  stream.stopReading()
  expect(await cut).toBe(true)
  await expect.poll(async () => (await world.show('r1')).status, { timeout: 20_000 }).toBe('completed')
}, 25_000)

describe('how many streams', () => {
  test('a caller may have 20 open, and another has its own; who closes one makes room', async () => {
    const world = await start()
    void world.post('/runs', waiting('r1', { onDisconnect: 'continue' })).catch(() => undefined)
    await expect.poll(() => world.desk.started).toEqual(['r1'])
    const look = () => world.stream('/runs/r1')
    const streams = await Promise.all(Array.from({ length: 20 }, look))
    expect(streams.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 200))

    const one = await look()
    await one.closed
    expect([one.status, one.json()]).toMatchObject([429, { code: 'TOO_MANY_STREAMS' }])
    const refused = await world.stream('/runs', waiting('r2'))
    await refused.closed
    expect([refused.status, (await world.get('/runs/r2')).status]).toEqual([429, 404])
    using approver = await world.stream('/runs/r1', undefined, world.tokens.approver)
    expect(approver.status).toBe(200)

    streams[0]?.[Symbol.dispose]()
    await expect
      .poll(async () => {
        using stream = await look()
        return stream.status
      })
      .toBe(200)
    world.desk.release.resolve()
    for (const stream of streams) stream[Symbol.dispose]()
  })
})

test('a server that closes ends the streams of those who look on', async () => {
  const world = await start()
  await world.post('/runs', starting('r1', [turn('fill', { bytes: 1 })], { delayMs: 60_000 }))
  using stream = await world.stream('/runs/r1')
  expect(stream.status).toBe(200)
  await world.server.close()
  await stream.closed
  expect(types(stream)).toEqual([])
})
