import { createServer } from 'node:http'
import { MCPServerStreamableHttp, run } from '@openai/agents'
import { functionCall } from '@openai/agents/testing'
import { toNodeHandler } from '@modelcontextprotocol/node'
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server'
import express from 'express'
import { expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { guardAgent, guardTool, runAgent } from 'holdpoint'
import { hostAgents } from '../../src/agents/hosted/hosted-agent.ts'
import { closeServer, listen } from '../../src/http.ts'
import { EMAIL, PAYMENTS, startedGuard } from '../fixtures/guard.ts'
import { done, refusalIn, scripted } from './helpers.ts'

/** Somebody else's MCP server with two tools, on loopback, and the SDK's client of it. */
async function remoteFiles() {
  const ran: string[] = []
  const make = () => {
    const server = new McpServer({ name: 'files', version: '1.0.0' })
    for (const name of ['read_file', 'delete_file']) {
      server.registerTool(
        name,
        { description: name, inputSchema: z.object({ path: z.string() }) },
        async ({ path }) => {
          ran.push(`${name} ${path}`)
          return { content: [{ type: 'text', text: `${name} ok` }] }
        },
      )
    }
    return server
  }
  const app = express().use(express.json())
  const handle = toNodeHandler(createMcpHandler(make))
  app.all('/mcp', (req, res) => void handle(req, res, req.body))
  const http = createServer(app)
  const { url } = await listen(http, { host: '127.0.0.1', port: 0 })
  const files = new MCPServerStreamableHttp({ url: `${url}/mcp`, name: 'files' })
  await files.connect()
  onTestFinished(async () => {
    await files.close()
    await closeServer(http, { graceMs: 100 })
  })
  return { files, ran }
}

const calls = [
  functionCall('read_file', { path: 'a' }, { callId: 'r1' }),
  functionCall('delete_file', { path: 'b' }, { callId: 'd1' }),
]

test('tools of a real MCP server ask by their own names: the stopped one does not run, the other runs once', async () => {
  const { guard, authority } = await startedGuard()
  const { files, ran } = await remoteFiles()
  const { agent, model } = scripted([], [calls, done], { mcpServers: [files] })
  const surfaceOf = (name: string) => guard.surface(name === 'delete_file' ? 'email' : 'payments')
  guardAgent(agent, surfaceOf)
  guardAgent(agent, surfaceOf)
  authority.stop(EMAIL)
  await run(agent, 'go')
  expect(ran).toEqual(['read_file a'])
  expect(JSON.stringify(model.lastCall?.request.input)).toContain('read_file ok')
  expect(refusalIn(model, 'd1')).toMatchObject({ code: 'DEVICE_REVOKED', device_id: EMAIL, executed: false })
  expect(authority.questions.slice(1).map(({ tool }) => tool)).toEqual(['read_file', 'delete_file'])
})

test('an MCP server of a hosted agent runs nothing outside of a session, and in one it does', async () => {
  const { guard, authority } = await startedGuard()
  const { files, ran } = await remoteFiles()
  const { agent, model } = scripted([], [calls, done, calls, done], { mcpServers: [files] })
  guardAgent(agent, guard.surface('payments'))
  hostAgents(guard, [{ agent }])
  await run(agent, 'go')
  expect(ran).toEqual([])
  expect(refusalIn(model, 'r1')).toMatchObject({ code: 'NO_SESSION' })
  await runAgent(guard, agent, 'go')
  expect(ran).toEqual(['read_file a', 'delete_file b'])
  authority.stop(PAYMENTS)
})

test('an MCP tool of a hosted agent whose surface is on another guard does not run', async () => {
  const { guard } = await startedGuard()
  const other = await startedGuard()
  const { files, ran } = await remoteFiles()
  const { agent, model } = scripted([], [calls, done], { mcpServers: [files] })
  guardAgent(agent, () => other.guard.surface('payments'))
  hostAgents(guard, [{ agent }])
  await runAgent(guard, agent, 'go')
  expect(ran).toEqual([])
  expect(refusalIn(model, 'r1')).toMatchObject({ code: 'GUARD_MISCONFIGURED' })
  expect(other.authority.boundaries).toEqual(['startup'])
})

test('guardTool alone takes function tools only', async () => {
  const { guard } = await startedGuard()
  const shell = { type: 'shell', name: 'shell' }
  expect(() => guardTool(shell, guard.surface('payments'))).toThrow(
    /"shell" is a shell tool: .* guardAgent\(agent, surface\)/,
  )
})
