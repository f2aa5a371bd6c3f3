// How the desk and the run reports are asked: as every other call is, over connections of their own.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'

import { createLogger } from '../../src/log.ts'
import type { ApprovalsClient } from '../../src/machineid/approvals-client.ts'
import { MachineID } from '../../src/machineid/client.ts'
import { createAuthorityDesk } from '../../src/tool-server/authority-desk.ts'
import { selfSigned } from '../fixtures/certificate.ts'
import { httpAnswer, startRawServer, type RawHandler, type RawServerOptions } from '../fixtures/raw-server.ts'
import { ManualClock } from '../fixtures/scripted-authority.ts'

const log = createLogger({ level: 'silent' })
const EMPTY = JSON.stringify({
  status: 'ok',
  handler: 'approvals/list',
  request_id: 'r1',
  orgId: 'o_1',
  orgEpoch: 1,
  approvals: [],
  waiting: 0,
  nextCursor: null,
})

async function served(handler: RawHandler, options: RawServerOptions = {}) {
  const server = await startRawServer(handler, options)
  onTestFinished(() => server.close())
  return server
}

function newClient(options: ConstructorParameters<typeof MachineID>[0]): MachineID {
  const client = new MachineID(options)
  onTestFinished(() => client.close())
  return client
}

test('over TLS with the CA that was named, and with the key that is in the file now', async () => {
  const tls = selfSigned()
  const { url: baseUrl, requests } = await served((_, socket) => socket.write(httpAnswer(EMPTY)), { tls })
  const dir = mkdtempSync(join(tmpdir(), 'holdpoint-desk-key-'))
  onTestFinished(() => rmSync(dir, { recursive: true }))
  const orgKeyFile = join(dir, 'key')
  writeFileSync(orgKeyFile, 'org_first')
  const clock = new ManualClock()
  const { approvals } = newClient({ orgKeyFile, baseUrl, caPem: tls.cert, clock })
  expect(await approvals?.list({ ids: ['apr_1', 'apr_2'] })).toMatchObject({ ok: true })
  writeFileSync(orgKeyFile, 'org_second_one')
  clock.advance(1000)
  expect(await approvals?.list({ state: 'waiting' })).toMatchObject({ ok: true })
  expect(requests.map(({ path, headers }) => [path, headers['x-org-key']])).toEqual([
    ['/api/v1/approvals?limit=20&ids=apr_1%2Capr_2', 'org_first'],
    ['/api/v1/approvals?limit=20&state=waiting', 'org_second_one'],
  ])
  const stranger = newClient({ orgKey: 'org_first', baseUrl })
  expect(await stranger.approvals?.list({})).toMatchObject({ ok: false, code: 'AUTHORITY_TLS' })
  expect(requests).toHaveLength(2)
})

test('a desk that does not answer is given up in time, and keeps no question waiting', async () => {
  const { url: baseUrl } = await served(({ path }, socket) => {
    if (path === '/api/v1/usage') socket.write(httpAnswer('{}', { status: '404 Not Found' }))
  })
  const client = newClient({ orgKey: 'org_test', baseUrl, timeoutMs: 300 })
  const startedMs = performance.now()
  // As many as there are connections.
  const { approvals } = client as { approvals: ApprovalsClient }
  const hanging = Array.from({ length: 140 }, () => approvals.list({}))
  expect(await client.usage()).toMatchObject({ ok: false, code: 'AUTHORITY_BAD_STATUS' })
  for (const result of await Promise.all(hanging)) expect(result).toMatchObject({ code: 'AUTHORITY_TIMEOUT' })
  expect(performance.now() - startedMs).toBeLessThan(2000)
})

test('hosted MachineID has neither desk nor reports, and a desk on it is refused where it is made', () => {
  const client = newClient({ orgKey: 'org_test', baseUrl: 'https://machineid.io' })
  expect([client.approvals, client.runReports]).toEqual([undefined, undefined])
  expect(() => createAuthorityDesk(client, { log })).toThrow('Hosted MachineID has no approvals desk')
})
