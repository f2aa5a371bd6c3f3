import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'

import { run } from './run.ts'

// Hosted MachineID has the same calls, and no preview: there a stop that is only to be looked at would be made.

const NOT_FOUND = [
  ['as HTML', '<html>Not found</html>'],
  ['as JSON', '{"code":"NOT_FOUND","message":"There is no such call."}'],
] as const
const posted: string[] = []
let notFound: string = ''
const server = createServer((request, response) => {
  response.setHeader('content-type', 'application/json')
  if (request.method === 'GET') return void response.writeHead(404).end(notFound)
  posted.push(`${request.method} ${request.url}`)
  response.end('{"status":"ok","handler":"revoke"}')
})
let env: Record<string, string>
beforeAll(async () => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  env = { CONSOLE_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, HOLDPOINT_KEY: 'org_x' }
})
afterAll(() => void server.close())

test.each(
  NOT_FOUND.flatMap(([how, body]) =>
    [
      ['devices', 'revoke', 'a:b:c:1', '--dry-run'],
      ['devices', 'revoke', 'a:b:c:1', 'a:b:c:2'],
      ['panic', '--dry-run'],
    ].map((args) => [args.join(' '), how, body, args] as const),
  ),
)('%s where there is no preview (%s) changes nothing', async (_, _how, body, args) => {
  notFound = body
  const { status, stderr } = await run(args, { env, answer: 'n' })
  expect({ status, posted }).toEqual({ status: 1, posted: [] })
  expect(stderr).toContain('NO_PREVIEW')
})
