import { describe, expect, onTestFinished, test, vi } from 'vitest'

import { GuardMisconfiguredError } from '../../../src/errors.ts'
import { MachineID } from '../../../src/machineid/client.ts'
import { ask, codeOf, DEVICE, serverAndClient } from '../harness.ts'

const GOOD = { orgKey: 'org_abc', baseUrl: 'http://127.0.0.1:4100' }

function built(options: Record<string, unknown>): MachineID {
  const client = new MachineID({ ...GOOD, ...options })
  onTestFinished(() => client.close())
  return client
}

function problemOf(options: Record<string, unknown>): GuardMisconfiguredError {
  try {
    built(options)
  } catch (error) {
    if (error instanceof GuardMisconfiguredError) return error
    throw error
  }
  throw new Error('The client was built.')
}

describe('GUARD_MISCONFIGURED when the client is built', () => {
  test.each<[string, Record<string, unknown>]>([
    ['153: plain http to another machine', { baseUrl: 'http://authority.example.com' }],
    ['153: plain http to a private address', { baseUrl: 'http://10.0.0.5:4100' }],
    ['153: plain http to all addresses', { baseUrl: 'http://0.0.0.0:4100' }],
    ['153: plain http to a name that only begins like loopback', { baseUrl: 'http://127.0.0.1.example.com' }],
    ['153: plain http to a name that only ends like loopback', { baseUrl: 'http://localhost.example.com' }],
    ['153: another protocol', { baseUrl: 'ftp://127.0.0.1' }],
    ['153: no URL', { baseUrl: '127.0.0.1:4100' }],
    ['153: no base URL', { baseUrl: undefined }],
    ['154: an empty key', { orgKey: '' }],
    ['154: no key', { orgKey: undefined }],
    ['154: a key with a line break', { orgKey: 'org_abc\n' }],
    ['154: a key that would add a header', { orgKey: 'org_abc\r\nx-other: 1' }],
    ['154: a key with a space', { orgKey: 'org_abc def' }],
    ['154: a key with a character that no header can carry', { orgKey: 'org_✓' }],
    ['154: a key and a key file', { orgKey: 'org_abc', orgKeyFile: '/etc/hostname' }],
    ['157: a budget of 0', { timeoutMs: 0 }],
    ['157: a negative budget', { timeoutMs: -1 }],
    ['157: a budget of 99 ms', { timeoutMs: 99 }],
    ['157: a budget that is NaN', { timeoutMs: Number.NaN }],
    ['157: a budget over 3 s', { timeoutMs: 3001 }],
    ['157: an endless budget', { timeoutMs: Number.POSITIVE_INFINITY }],
    ['157: a budget that is text', { timeoutMs: '2000' }],
    ['158: a base URL with credentials', { baseUrl: 'https://user:secret@authority.example.com' }],
    ['158: a base URL with a user', { baseUrl: 'https://user@authority.example.com' }],
    ['158: a base URL with a query', { baseUrl: 'https://authority.example.com/?key=org_abc' }],
    ['158: a base URL with an empty query', { baseUrl: 'https://authority.example.com/?' }],
    ['158: a base URL with a hash', { baseUrl: 'https://authority.example.com/#org_abc' }],
    ['159: an unknown profile', { profile: 'lenient' }],
    ['159: an empty profile', { profile: '' }],
    ['a CA that is no certificate', { caPem: 'hello' }],
    ['an org pinned where no answer names one', { profile: 'machineid', orgId: 'o_1' }],
    ['an empty org', { orgId: '' }],
  ])('%s', (_, options) => {
    const problem = problemOf(options)
    expect(problem.code).toBe('GUARD_MISCONFIGURED')
    // It says what to do, and repeats no secret.
    expect(problem.message).toMatch(/\.$|-----$/)
    expect(problem.message).not.toMatch(/secret|org_abc/)
  })

  test('152: NODE_TLS_REJECT_UNAUTHORIZED=0 in the environment', () => {
    vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0')
    onTestFinished(() => void vi.unstubAllEnvs())
    expect(problemOf({}).message).toContain('MACHINEID_CA_FILE')
  })

  test.each([
    'http://localhost:4100',
    'http://127.0.0.1',
    'http://127.8.9.10:1',
    'http://[::1]:4100',
    'https://10.0.0.5',
    'https://authority.example.com/prefix/',
  ])('%s is fine', (baseUrl) => {
    expect(built({ baseUrl }).profile).toBe('holdpoint')
  })
})

describe('GUARD_MISCONFIGURED when it is reached at a call, and nothing is sent', () => {
  test.each<[string, unknown]>([
    ['155: an empty device ID', ''],
    ['155: a device ID of 129 characters', 'a'.repeat(129)],
    ['155: no device ID', undefined],
    ['156: a control character', 'openai-agent:prod:pay\nments:01'],
    ['156: a NUL', 'openai-agent:prod:payments:01\0'],
    ['156: white space around it', ' openai-agent:prod:payments:01'],
    ['156: a letter beyond ASCII', 'openai-agent:prod:pаyments:01'],
    ['an ID that holds a key', 'openai-agent:prod:org_1234567890abcdef:01'],
  ])('%s', async (_, deviceId) => {
    const { server, client } = await serverAndClient(() => {})
    const id = deviceId as string
    expect(codeOf(await ask(client, { deviceIds: [id] }))).toBe('GUARD_MISCONFIGURED')
    expect(codeOf(await ask(client, { deviceIds: [DEVICE, id] }))).toBe('GUARD_MISCONFIGURED')
    expect(await client.validate(id)).toMatchObject({ allowed: false, code: 'GUARD_MISCONFIGURED' })
    for (const call of ['register', 'revoke', 'unrevoke', 'restore', 'remove'] as const) {
      expect(await client[call](id)).toMatchObject({
        ok: false,
        answered: false,
        code: 'GUARD_MISCONFIGURED',
      })
    }
    const registration = await client.registerDevice(id, { timeoutMs: 500 })
    expect(registration).toMatchObject({ answered: false, code: 'GUARD_MISCONFIGURED' })
    expect(server.connectionCount).toBe(0)
  })

  test.each([0, 17])('a question about %i devices', async (count) => {
    const { server, client } = await serverAndClient(() => {})
    const deviceIds = Array.from({ length: count }, (_, index) => `agent:${index}`)
    expect(codeOf(await ask(client, { deviceIds }))).toBe('GUARD_MISCONFIGURED')
    expect(server.connectionCount).toBe(0)
  })

  test.each([0, Number.NaN, 3001])('157: a budget of %s in a management call', async (timeoutMs) => {
    const { server, client } = await serverAndClient(() => {})
    expect(await client.revoke(DEVICE, { timeoutMs })).toMatchObject({
      ok: false,
      code: 'GUARD_MISCONFIGURED',
    })
    expect(server.connectionCount).toBe(0)
  })
})
