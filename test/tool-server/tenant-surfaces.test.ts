// A tool whose surface is chosen from its arguments, over every transport, on a real control plane.

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { RunContext } from '@openai/agents'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'

import { remoteTools } from '../../src/tool-server/remote-tools.ts'
import { exportTool, TENANT, TENANTS } from '../agents/tenants.ts'
import { SERVER, startTestToolServer, type TestToolServer } from './start.ts'

const exported: string[] = []
let server: TestToolServer
let mcp: Client

beforeAll(async () => {
  server = await startTestToolServer({
    surfaces: TENANTS,
    tools: (guard) => [
      exportTool(guard, ({ tenant, report }) => {
        exported.push(`${tenant}:${report}`)
        return 'exported'
      }),
    ],
  })
  mcp = new Client({ name: 'test', version: '1.0.0' })
  const headers = { authorization: `Bearer ${server.token}` }
  await mcp.connect(
    new StreamableHTTPClientTransport(new URL(`${server.url}/mcp`), { requestInit: { headers } }),
  )
})
beforeEach(() => void exported.splice(0))
afterAll(async () => {
  await mcp?.close()
  await server?.close()
})

let ids = 0
type Call = (tenant: string) => Promise<string>
const newArgs = (tenant: string) => ({ tenant, report: `r${(ids += 1)}` })
const transports: [string, Call][] = [
  [
    'POST /tools, arguments as an object',
    async (tenant) => {
      const body = { call_id: `call_${(ids += 1)}`, arguments: newArgs(tenant) }
      return (await server.call('export_report', body)).body.output
    },
  ],
  [
    'POST /tools, arguments as the text of the Responses API',
    async (tenant) => {
      const body = { call_id: `call_${(ids += 1)}`, arguments: JSON.stringify(newArgs(tenant)) }
      return (await server.call('export_report', body)).body.output
    },
  ],
  [
    'MCP',
    async (tenant) => {
      const { content } = await mcp.callTool({ name: 'export_report', arguments: newArgs(tenant) })
      return (content as { text: string }[])[0]?.text ?? ''
    },
  ],
  [
    'remoteTools',
    async (tenant) => {
      const [tool] = await remoteTools(server.url, server.token)
      return String(await tool?.invoke(new RunContext(), JSON.stringify(newArgs(tenant))))
    },
  ],
]

const denial = (code: string, deviceId: string) =>
  expect.stringMatching(new RegExp(`"code":"${code}".*"device_id":"${deviceId}".*"executed":false`))

describe.each(transports)('over %s', (_name, call) => {
  test('of two tenants the revoked one is denied and the other goes on, also at once (G1)', async () => {
    await server.authority.revoke(TENANT('a'))
    // The schema lowers the name: what is stopped is what would run.
    const answers = await Promise.all(['a', 'b', 'A', 'B'].map(call))
    await server.authority.restore(TENANT('a'))
    const revoked = denial('DEVICE_REVOKED', TENANT('a'))
    expect(answers).toEqual([revoked, 'exported', revoked, 'exported'])
    expect(exported.map((one) => one[0])).toEqual(['b', 'b'])
    expect(await call('a')).toBe('exported')
  })

  test('a lock on the surfaces of all tenants stops both', async () => {
    const { authority } = server
    const { body } = await authority.post(
      '/api/v1/locks',
      { pattern: '*:*:tenant:*', reason: 'test' },
      authority.keys.stop,
    )
    expect(await call('a')).toEqual(denial('DEVICE_LOCKED', TENANT('a')))
    expect(await call('b')).toEqual(denial('DEVICE_LOCKED', TENANT('b')))
    expect(exported).toEqual([])
    const release = await authority.post(
      `/api/v1/locks/${body.lockId}/release`,
      { ifEpoch: body.epoch },
      authority.keys.operator,
    )
    expect(release.status).toBe(200)
    expect(await call('a')).toBe('exported')
  })

  test('an unknown tenant is denied, and nothing is run', async () => {
    expect(await call('c')).toEqual(denial('GUARD_MISCONFIGURED', SERVER))
    expect(await call('tool-server')).toEqual(denial('GUARD_MISCONFIGURED', SERVER))
    expect(exported).toEqual([])
  })
})

test('GET /inspect lists every surface that it may choose', async () => {
  const { body } = await server.get('/inspect')
  const surfaces = ['tenant-a', 'tenant-b']
  expect(body.tools).toMatchObject([{ name: 'export_report', surfaces, effects: [{ surfaces }] }])
})
