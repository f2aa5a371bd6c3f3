import { expect, onTestFinished, test, vi } from 'vitest'

import { GuardMisconfiguredError } from '../../src/errors.ts'
import { MachineID } from '../../src/machineid/client.ts'
import { allow, ask, codeOf, serverAndClient } from './harness.ts'

const ENV = { MACHINEID_ORG_KEY: 'org_env', MACHINEID_BASE_URL: 'http://127.0.0.1:4100' }

function fromEnv(env: Record<string, string | undefined>): MachineID {
  const client = MachineID.fromEnv(env)
  onTestFinished(() => client.close())
  return client
}

test('reads process.env when it is given nothing', async () => {
  const { server } = await serverAndClient((request, socket) => socket.write(allow(request)))
  vi.stubEnv('MACHINEID_ORG_KEY', 'org_of_the_process')
  vi.stubEnv('MACHINEID_BASE_URL', server.url)
  onTestFinished(() => void vi.unstubAllEnvs())
  const client = MachineID.fromEnv()
  onTestFinished(() => client.close())
  expect(codeOf(await ask(client))).toBe('ALLOW')
  expect(server.requests[0]?.headers['x-org-key']).toBe('org_of_the_process')
})

test.each([
  ['https://machineid.io', 'machineid'],
  ['https://www.machineid.io/', 'machineid'],
  ['https://machineid.io.example.com', 'holdpoint'],
  ['https://notmachineid.io', 'holdpoint'],
  ['http://127.0.0.1:4100', 'holdpoint'],
])('the profile for %s is %s unless one is chosen', (url, profile) => {
  expect(fromEnv({ ...ENV, MACHINEID_BASE_URL: url }).profile).toBe(profile)
  expect(fromEnv({ ...ENV, MACHINEID_BASE_URL: url, MACHINEID_PROFILE: 'holdpoint' }).profile).toBe(
    'holdpoint',
  )
  expect(fromEnv({ ...ENV, MACHINEID_BASE_URL: url, MACHINEID_PROFILE: 'machineid' }).profile).toBe(
    'machineid',
  )
})

test.each<[string, Record<string, string | undefined>]>([
  ['no key', { MACHINEID_ORG_KEY: undefined }],
  ['an empty key', { MACHINEID_ORG_KEY: '' }],
  ['a key and a key file', { MACHINEID_ORG_KEY_FILE: '/etc/hostname' }],
  ['no base URL', { MACHINEID_BASE_URL: '' }],
  ['an unknown profile', { MACHINEID_PROFILE: 'lenient' }],
  ['a budget with a unit', { VALIDATE_TIMEOUT_MS: '2s' }],
  ['a budget out of range', { VALIDATE_TIMEOUT_MS: '5000' }],
  ['a hexadecimal budget', { VALIDATE_TIMEOUT_MS: '0x3e8' }],
  ['a CA file that is not there', { MACHINEID_CA_FILE: '/nonexistent/ca.pem' }],
  ['TLS checks switched off', { NODE_TLS_REJECT_UNAUTHORIZED: '0' }],
])('%s is GUARD_MISCONFIGURED', (_, env) => {
  expect(() => fromEnv({ ...ENV, ...env })).toThrow(GuardMisconfiguredError)
})

test('overrides go before the environment', () => {
  const client = MachineID.fromEnv(ENV, { profile: 'machineid' })
  onTestFinished(() => client.close())
  expect(client.profile).toBe('machineid')
})

test('VALIDATE_TIMEOUT_MS is the budget of calls that name none', async () => {
  const { server } = await serverAndClient(() => {})
  const client = fromEnv({ ...ENV, MACHINEID_BASE_URL: server.url, VALIDATE_TIMEOUT_MS: '120' })
  const result = await client.validate('agent:1')
  expect(result).toMatchObject({ allowed: false, code: 'AUTHORITY_TIMEOUT' })
  expect(result.latencyMs).toBeLessThan(400)
})
