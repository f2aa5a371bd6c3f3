import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'

import { createStopped } from '../../src/cli/drill/undo.ts'
import { createHttp } from '../../src/cli/http.ts'
import { createOperatorClient } from '../../src/cli/operator-client.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { orgStop } from '../../src/cli/drill/stops.ts'

// What says no more than "not now" ends nothing that is under way.

async function serving(answers: readonly (readonly [status: number, type: string, body: string])[]) {
  let asked = 0
  const server = createServer((_request, response) => {
    const [status, type, body] = answers[asked++] ?? [404, 'text/plain', '']
    response.writeHead(status, { 'content-type': type }).end(body)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const http = createHttp({ caPem: undefined, signal: new AbortController().signal })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const key = { secret: 'k', kind: 'admin', from: 'a test', isPlatform: false }
  return {
    operator: createOperatorClient(http, url, key),
    asked: () => asked,
    [Symbol.asyncDispose]: async () => {
      await http.close()
      server.closeAllConnections()
      server.close()
    },
  }
}

const BAD_GATEWAY = [502, 'text/html', '<html>Bad Gateway</html>'] as const
const DEFECT = [
  500,
  'application/json',
  JSON.stringify({ code: 'INTERNAL', message: 'Something went wrong here.' }),
] as const
const event = (id: string) => [200, 'text/event-stream', `id: ${id}\ndata: {"n":"${id}"}\n\n`] as const

test('a stream of events goes on after a proxy answered for a control plane that started anew', async () => {
  await using control = await serving([event('a'), BAD_GATEWAY, DEFECT, event('b')])
  const ended = new AbortController()
  const ids: string[] = []
  for await (const { id } of control.operator.events(PATHS.feed, {}, ended.signal)) {
    ids.push(id ?? '')
    if (ids.length === 2) ended.abort()
  }
  expect(ids).toEqual(['a', 'b'])
})

test.each([
  ['a defect', DEFECT],
  ['a proxy that answers for it', BAD_GATEWAY],
])('what a drill has stopped is restored, whatever the first try meets: %s', async (_, trouble) => {
  const changed = { status: 'ok', handler: 'h', request_id: 'r', orgId: 'o', epoch: 5, orgEpoch: 5 }
  const ok = [200, 'application/json', JSON.stringify(changed)] as const
  const stopped = createStopped({ nowMs: () => performance.now(), tryForMs: 5000 })
  await using control = await serving([ok, trouble, ok])
  // Nobody else is there to look for.
  const stop = { ...orgStop(control.operator, 'drill'), look: async () => {} }
  await stopped.stop(stop)
  expect((await stopped.restore(stop)).epoch).toBe(5)
  expect(control.asked()).toBe(3)
})
