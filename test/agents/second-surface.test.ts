// What is gated asks for one surface. A second, different one is an error, never silently ignored.

import { handoff, run, shellTool, tool, type MCPServer } from '@openai/agents'
import { functionCall } from '@openai/agents/testing'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { guardAgent, guardTool, type Guard } from 'holdpoint'
import { EMAIL, SERVER, startedGuard } from '../fixtures/guard.ts'
import { computerOf, countingShell, patchOf, shellOf, type Ran } from './action-tools.ts'
import { done, scripted } from './helpers.ts'

function sending(ran: Ran = []) {
  const execute = () => (ran.push('send'), 'sent')
  return tool({ name: 'send', description: 'Send', parameters: z.object({}), execute })
}

const agentOn = (...tools: readonly unknown[]) => scripted(tools, [done]).agent
const misconfigured = (message: RegExp) =>
  expect.objectContaining({ code: 'GUARD_MISCONFIGURED', message: expect.stringMatching(message) })

describe('guardTool', () => {
  test('refuses a tool that is gated on another surface, and takes the same one again', async () => {
    const { guard } = await startedGuard()
    const send = guardTool(sending(), guard.surface('payments'))
    expect(() => guardTool(send, guard.surface('email'))).toThrow(
      misconfigured(
        /^Tool "send" asks for surface "payments" already, and cannot ask for "email" too\. Gate it on one surface: /,
      ),
    )
    guardTool(send, guard.surface('payments'))
    expect(send.inputGuardrails).toHaveLength(1)
  })

  test('refuses a tool that is gated on the surface of another guard, though it is called the same', async () => {
    const [{ guard }, other] = [await startedGuard(), await startedGuard()]
    const send = guardTool(sending(), guard.surface('payments'))
    expect(() => guardTool(send, other.guard.surface('payments'))).toThrow(
      misconfigured(/cannot ask for "payments" of another guard too/),
    )
  })

  test('refuses what guardAgent has gated on another surface', async () => {
    const { guard } = await startedGuard()
    const send = sending()
    guardAgent(agentOn(send), guard.surface('payments'))
    expect(() => guardTool(send, guard.surface('email'))).toThrow(
      misconfigured(/"send" asks for surface "payments"/),
    )
  })
})

const seats = [
  ['function tool', () => [sending()], 'Tool "send"'],
  ['shell', () => [shellOf([])], 'Tool "shell"'],
  ['editor', () => [patchOf([])], 'Tool "apply_patch"'],
  ['computer', () => [computerOf([])], 'Tool "computer_use_preview"'],
] as const

describe('guardAgent', () => {
  test.each(seats)(
    'refuses a %s that another guardAgent has gated on another surface',
    async (_, make, what) => {
      const { guard } = await startedGuard()
      const shared = make()
      guardAgent(agentOn(...shared), guard.surface('payments'))
      expect(() => guardAgent(agentOn(...shared), guard.surface('email'))).toThrow(
        misconfigured(new RegExp(`^${what} asks for surface "payments" already`)),
      )
      guardAgent(agentOn(...shared), () => guard.surface('payments'))
    },
  )

  test('refuses a handoff() that another guardAgent has gated on another surface', async () => {
    const { guard } = await startedGuard()
    const handoffs = [handoff(scripted([], [done], { name: 'billing' }).agent)]
    const { agent } = scripted([], [done], { handoffs })
    guardAgent(agent, guard.surface('payments'))
    expect(() => guardAgent(agent, guard.surface('email'))).toThrow(
      misconfigured(/^Handoff "transfer_to_billing" asks for surface "payments"/),
    )
  })

  test('changes nothing before it refuses', async () => {
    const { guard } = await startedGuard()
    const [fresh, shared] = [sending(), shellOf([])]
    guardAgent(agentOn(shared), guard.surface('payments'))
    expect(() => guardAgent(agentOn(fresh, shared), guard.surface('email'))).toThrow(misconfigured(/"shell"/))
    expect(fresh.inputGuardrails).toEqual([])
  })

  test('refuses one shell behind two tools that are wanted on two surfaces', async () => {
    const { guard } = await startedGuard()
    const shell = countingShell([])
    const own: unknown = Reflect.get(shell, 'run')
    const tools = ['one', 'two'].map((name) => shellTool({ name, shell }))
    expect(() =>
      guardAgent(agentOn(...tools), (name) => guard.surface(name === 'one' ? 'payments' : 'email')),
    ).toThrow(misconfigured(/^Tool "two" asks for surface "payments" already/))
    expect(Reflect.get(shell, 'run')).toBe(own)
  })

  test('leaves a gate of guardTool as it is: that surface stops the tool', async () => {
    const { guard, authority } = await startedGuard()
    const ran: Ran = []
    const send = guardTool(sending(ran), guard.surface('email'))
    const { agent } = scripted([send], [[functionCall('send', {}, { callId: 'c1' })], done])
    guardAgent(agent, guard.surface('payments'))
    authority.stop(EMAIL)
    await run(agent, 'go')
    expect(ran).toEqual([])
    expect(authority.questions.at(-1)?.deviceIds).toEqual([SERVER, EMAIL])
  })
})

describe('an MCP server', () => {
  const serverOf = () => ({ name: 'files', cacheToolsList: false }) as unknown as MCPServer
  const using = (server: MCPServer) => scripted([], [done], { mcpServers: [server] }).agent
  const gateBoth = async (first: Place, second: Place) => {
    const { guard } = await startedGuard()
    const server = serverOf()
    guardAgent(using(server), first(guard))
    const gates = server.toolInputGuardrails
    guardAgent(using(server), second(guard))
    expect(server.toolInputGuardrails).toEqual(gates)
  }
  type Place = (guard: Guard) => Parameters<typeof guardAgent>[1]
  const [payments, email]: Place[] = [(guard) => guard.surface('payments'), (guard) => guard.surface('email')]
  const byName: Place = (guard) => () => guard.surface('email')

  test('is refused on a second surface', async () => {
    await expect(gateBoth(payments as Place, email as Place)).rejects.toThrow(
      misconfigured(/^MCP server "files" asks for surface "payments" already/),
    )
  })

  test.each([
    ['the same surface', payments, payments],
    ['a function first', byName, payments],
    ['a function second', payments, byName],
  ])('keeps its first gate: %s', async (_, first, second) => {
    await gateBoth(first as Place, second as Place)
  })
})
