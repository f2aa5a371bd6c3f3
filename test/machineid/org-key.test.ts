import { mkdtempSync, rmSync, writeFileSync, renameSync, unlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { describe, expect, onTestFinished, test } from 'vitest'

import { MachineID } from '../../src/machineid/client.ts'
import { httpAnswer, type RawServer } from '../fixtures/raw-server.ts'
import { ManualClock } from '../fixtures/scripted-authority.ts'
import { allow, ask, codeOf, DEVICE, ORG_KEY, serverAndClient } from './harness.ts'

function keyFile(content: string): string {
  const dir = mkdtempSync(join(tmpdir(), 'holdpoint-key-'))
  onTestFinished(() => rmSync(dir, { recursive: true }))
  const file = join(dir, 'key')
  writeFileSync(file, content)
  return file
}

function keysOf(server: RawServer): (string | undefined)[] {
  return server.requests.map(({ headers }) => headers['x-org-key'])
}

async function fileClient(content: string) {
  const orgKeyFile = keyFile(content)
  const clock = new ManualClock()
  const made = await serverAndClient((request, socket) => socket.write(allow(request)), { orgKeyFile, clock })
  return { ...made, orgKeyFile, clock }
}

describe('a key from a file', () => {
  test.each([
    ['the key alone', 'org_from_file\n'],
    ['JSON with the key under runtime', '{"orgId":"o_1","runtime":"org_from_file","callerToken":"hpc_x"}'],
  ])('%s', async (_, content) => {
    const { client, server } = await fileClient(content)
    expect(codeOf(await ask(client))).toBe('ALLOW')
    expect(keysOf(server)).toEqual(['org_from_file'])
  })

  test('a rotated key is used within a second, without a restart', async () => {
    const { client, server, orgKeyFile, clock } = await fileClient('org_old')
    await ask(client)
    writeFileSync(`${orgKeyFile}.new`, 'org_new')
    renameSync(`${orgKeyFile}.new`, orgKeyFile)
    clock.advance(1000)
    await ask(client)
    expect(keysOf(server)).toEqual(['org_old', 'org_new'])
  })

  test.each<[string, (client: MachineID) => Promise<unknown>]>([
    ['question', ask],
    ['management call', (client) => client.revoke(DEVICE)],
  ])('a key that was refused to a %s is read again before the next question', async (_, refusedCall) => {
    const orgKeyFile = keyFile('org_old')
    const { client, server } = await serverAndClient(
      (request, socket) =>
        socket.write(
          request.headers['x-org-key'] === 'org_new'
            ? allow(request)
            : httpAnswer('{}', { status: '401 Unauthorized' }),
        ),
      { orgKeyFile, clock: new ManualClock() },
    )
    writeFileSync(orgKeyFile, 'org_new')
    await refusedCall(client)
    expect(codeOf(await ask(client))).toBe('ALLOW')
    expect(keysOf(server)).toEqual(['org_old', 'org_new'])
  })

  test.each([
    ['gone', (file: string) => unlinkSync(file)],
    ['empty', (file: string) => writeFileSync(file, '')],
    ['half written', (file: string) => writeFileSync(file, '{"runtime":"org_ne')],
  ])('a file that is %s for a moment keeps the last key, and is looked at again', async (_, spoil) => {
    const { client, server, orgKeyFile, clock } = await fileClient('org_old')
    spoil(orgKeyFile)
    clock.advance(1000)
    await ask(client)
    writeFileSync(orgKeyFile, '{"runtime":"org_new"}')
    clock.advance(1000)
    await ask(client)
    expect(keysOf(server)).toEqual(['org_old', 'org_new'])
  })

  test.each([
    ['missing', undefined],
    ['empty', ''],
    ['JSON without runtime', '{"orgId":"o_1"}'],
    ['not JSON', '{"runtime":"org_secret_value'],
    ['two lines', 'org_secret_value\norg_secret_value'],
  ])('a file that is %s at the start is GUARD_MISCONFIGURED, and not quoted', (_, content) => {
    const orgKeyFile = content === undefined ? '/nonexistent/key' : keyFile(content)
    let thrown: unknown
    try {
      new MachineID({ orgKeyFile, baseUrl: 'http://127.0.0.1:1' })
    } catch (error) {
      thrown = error
    }
    expect(thrown).toMatchObject({ code: 'GUARD_MISCONFIGURED' })
    expect(inspect(thrown, { depth: 10 })).not.toContain('org_secret_value')
  })
})

describe('the key is never shown', () => {
  const SEEN_AS: [string, (client: MachineID) => string][] = [
    ['inspect', (client) => inspect(client, { depth: 20, showHidden: true })],
    ['JSON', (client) => JSON.stringify(client)],
    ['String', (client) => `${client as unknown as string}`],
    ['its keys', (client) => Reflect.ownKeys(client).map(String).join()],
  ]

  test.each(SEEN_AS)('by %s', async (_, show) => {
    const { client, server } = await serverAndClient((request, socket) => socket.write(allow(request)))
    await ask(client)
    expect(server.requests[0]?.headers['x-org-key']).toBe(ORG_KEY)
    expect(show(client)).not.toContain(ORG_KEY)
  })

  test.each([
    ['a server that echoes the request as an error', '500 Internal Server Error'],
    ['a server that echoes the request as the answer', '200 OK'],
    ['a server that echoes the request as something that is not HTTP', undefined],
  ])('by what a call gives back: %s', async (_, status) => {
    const { client } = await serverAndClient((request, socket) => {
      const echo = JSON.stringify({ error: `unknown key ${request.headers['x-org-key']}`, message: ORG_KEY })
      socket.end(status === undefined ? `ICMP ${ORG_KEY}\r\n\r\n` : httpAnswer(echo, { status }))
    })
    const results = [
      await ask(client),
      await client.validate(DEVICE),
      await client.register(DEVICE),
      await client.revoke(DEVICE),
      await client.listDevices(),
      await client.usage(),
    ]
    expect(inspect(results, { depth: 20, showHidden: true })).not.toMatch(new RegExp(ORG_KEY, 'i'))
  })

  test('it goes in one header, never in the path or the body', async () => {
    const { client, server } = await serverAndClient((_, socket) => socket.write(httpAnswer('{}')))
    await ask(client)
    await client.revoke(DEVICE)
    await client.listDevices()
    for (const { text } of server.requests) expect(text.split(ORG_KEY)).toHaveLength(2)
    expect(server.requests.map(({ headers }) => headers['x-org-key'])).toEqual([ORG_KEY, ORG_KEY, ORG_KEY])
  })
})
