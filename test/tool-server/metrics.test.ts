// GET /metrics: what it counts, who may look, and that strangers cannot make it grow.

import { networkInterfaces } from 'node:os'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { guardedTool } from '../../src/agents/guarded-tool.ts'
import { createMemoryJournal } from '../../src/guard/memory-journal.ts'
import { createToolServer } from '../../src/tool-server/tool-server.ts'
import { callersOf } from '../../src/tool-server/callers.ts'
import { PAYMENTS, SERVER, startedGuard } from '../fixtures/guard.ts'
import { scriptedServer } from './scripted.ts'
import { tokenWith } from './start.ts'

const metricsToken = 'm'.repeat(32)

/** The samples of one metric: labels as text → value. */
function samples(text: string, name: string): Record<string, number> {
  const lines = text.split('\n').filter((line) => new RegExp(`^${name}[{ ]`).test(line))
  return Object.fromEntries(
    lines.map((line) => {
      const at = line.lastIndexOf(' ')
      return [line.slice(name.length, at), Number(line.slice(at + 1))]
    }),
  )
}

test('decisions by boundary and code, their latency, and what runs', async () => {
  const { post, text, authority } = await scriptedServer()
  await post('/canary/payments', { holdMs: 0 })
  authority.stop(PAYMENTS)
  await post('/canary/payments', { holdMs: 0 })
  const waiting = post('/canary/email', { boundary: 'tool', holdMs: 300 })
  await expect.poll(async () => samples(await text('/metrics'), 'holdpoint_in_flight')).toEqual({ '': 1 })
  const found = await text('/metrics')
  expect(samples(found, 'holdpoint_decisions_total')).toEqual({
    '{boundary="tool",allowed="true",code="ALLOW"}': 2,
    '{boundary="side_effect",allowed="true",code="ALLOW"}': 1,
    '{boundary="tool",allowed="false",code="DEVICE_REVOKED"}': 1,
  })
  expect(samples(found, 'holdpoint_authority_latency_seconds_count')).toEqual({ '': 4 })
  expect(samples(found, 'holdpoint_authority_latency_seconds_bucket')).toMatchObject({ '{le="3"}': 4 })
  expect(samples(found, 'holdpoint_unknown_outcomes')).toEqual({ '': 0 })
  expect(samples(found, 'holdpoint_stop_stream_up')).toEqual({ '': 1 })
  expect(samples(found, 'process_cpu_seconds_total')).toEqual({ '': expect.any(Number) })
  await waiting
})

test('codes that nobody knows are counted as one: an authority cannot make it grow', async () => {
  const { post, text, authority } = await scriptedServer()
  for (let one = 0; one < 20; one += 1) {
    authority.stop(PAYMENTS, `OWN_CODE_${one}`)
    await post('/canary/payments', { holdMs: 0 })
  }
  expect(samples(await text('/metrics'), 'holdpoint_decisions_total')).toEqual({
    '{boundary="tool",allowed="false",code="other"}': 20,
  })
})

test('no device, tool, run or caller is in it', async () => {
  const { post, text } = await scriptedServer()
  await post('/canary/payments', { holdMs: 0 })
  const found = await text('/metrics')
  for (const secret of [SERVER, PAYMENTS, 'canary', 'local']) expect(found).not.toContain(secret)
})

test('what nobody can tell has no sample: the stream where there is none, outcomes of a journal that fails', async () => {
  const journal = createMemoryJournal()
  journal.countUnknown = () => Promise.reject(new Error('disk'))
  const { text } = await scriptedServer({
    prepare: (authority) => (authority.openStops = undefined),
    guardOptions: { journal },
  })
  const found = await text('/metrics')
  expect(samples(found, 'holdpoint_stop_stream_up')).toEqual({})
  expect(samples(found, 'holdpoint_unknown_outcomes')).toEqual({})
  expect(samples(found, 'holdpoint_in_flight')).toEqual({ '': 0 })
})

test('a stream that is lost is 0', async () => {
  const { text, authority } = await scriptedServer()
  await authority.stream?.close({ leaving: false })
  expect(samples(await text('/metrics'), 'holdpoint_stop_stream_up')).toEqual({ '': 0 })
})

test('two servers in one process count for themselves, and both tell of the process', async () => {
  const one = await scriptedServer()
  const two = await scriptedServer()
  await one.post('/canary/payments', { boundary: 'tool', holdMs: 0 })
  expect(samples(await two.text('/metrics'), 'holdpoint_decisions_total')).toEqual({})
  for (const server of [one, two])
    expect(samples(await server.text('/metrics'), 'process_resident_memory_bytes')).toHaveProperty([''])
})

test('from this machine no token is needed, but a request that was relayed is from elsewhere', async () => {
  const { url } = await scriptedServer({ metricsToken })
  expect((await fetch(`${url}/metrics`)).status).toBe(200)
  const relayed = { 'x-forwarded-for': '203.0.113.9' }
  const refused = await fetch(`${url}/metrics`, { headers: relayed })
  expect([refused.status, await refused.json()]).toMatchObject([403, { code: 'INSUFFICIENT_SCOPE' }])
  const authorization = `Bearer ${metricsToken}`
  const found = await fetch(`${url}/metrics`, { headers: { ...relayed, authorization } })
  expect([found.status, found.headers.get('content-type')]).toEqual([
    200,
    'text/plain; version=0.0.4; charset=utf-8',
  ])
  expect(found.headers.get('cache-control')).toBe('no-store')
})

test('behind a public URL a request from this machine may be anybody’s, with or without word of a proxy: it takes the token', async () => {
  const approver = tokenWith(['runs:approve'])
  const callers = callersOf([approver.record])
  const { url } = await scriptedServer({ callers, metricsToken, publicUrl: 'https://tools.example.com' })
  const status = async (headers: Record<string, string>) =>
    (await fetch(`${url}/metrics`, { headers })).status
  expect(await status({})).toBe(403)
  expect(await status({ authorization: `Bearer ${approver.token}` })).toBe(403)
  expect(await status({ authorization: `Bearer ${metricsToken}` })).toBe(200)
})

test('who may read the figures may do nothing else', async () => {
  const { url } = await scriptedServer({ callers: callersOf([]), metricsToken })
  const headers = { authorization: `Bearer ${metricsToken}` }
  for (const path of ['/inspect', '/tools', '/runs', '/approvals'])
    expect((await fetch(`${url}${path}`, { headers })).status).toBe(401)
})

const outside = Object.values(networkInterfaces())
  .flat()
  .find((one) => one?.family === 'IPv4' && !one.internal)?.address

test.skipIf(outside === undefined)(
  'from another address: 403 without the token and with that of a caller, 200 with it',
  async () => {
    const { guard } = await startedGuard()
    const caller = tokenWith(['tools:call', 'runs:start', 'runs:resume'])
    const callers = callersOf([caller.record])
    const host = outside as string
    const server = createToolServer({ guard, tools: [], callers, metricsToken, allowedHosts: [host] })
    const { port } = new URL((await server.listen({ host, port: 0 })).url)
    const status = async (headers: Record<string, string>) =>
      (await fetch(`http://${host}:${port}/metrics`, { headers })).status
    expect(await status({})).toBe(403)
    expect(await status({ authorization: `Bearer ${caller.token}` })).toBe(403)
    expect(await status({ authorization: `Bearer ${metricsToken}` })).toBe(200)
    await server.close()
    await guard.close()
  },
)

test('an outcome that nobody knows is counted', async () => {
  const { guard } = await startedGuard()
  const lost = guardedTool(guard.surface('payments'), {
    name: 'lost',
    description: 'Lost',
    parameters: z.object({}),
    effect: 'payment',
    key: () => 'lost',
    commit: () => {
      throw new Error('connection reset')
    },
  })
  const server = createToolServer({ guard, tools: [lost] })
  const { url } = await server.listen({ port: 0 })
  const call = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"arguments":{}}' }
  expect((await fetch(`${url}/tools/lost`, call)).status).toBe(409)
  const found = await (await fetch(`${url}/metrics`)).text()
  expect(samples(found, 'holdpoint_unknown_outcomes')).toEqual({ '': 1 })
  await server.close()
  await guard.close()
})
