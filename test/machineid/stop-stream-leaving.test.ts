// Whoever says that it leaves is waited for by no later stop: so nobody says it while something still runs (DESIGN 8).

import { expect, test, vi } from 'vitest'

import { MachineID } from '../../src/machineid/client.ts'
import { ORG_KEY } from './harness.ts'
import { ack, ORG, SERVER, streamTo } from './stop-stream-harness.ts'

test('a stream does not say that we leave while something still runs here, and delivers what waits all the same', async () => {
  const { stream, up, presences, acks, server } = await streamTo()
  await up()
  stream.acknowledge(ack())
  await stream.close({ leaving: false })
  expect(acks()).toHaveLength(1)
  expect(presences().filter(({ leaving }) => leaving === true)).toEqual([])
  await vi.waitFor(() => expect(server.openCount).toBe(0))
})

test('a client that is closed under a stream cannot know what still runs, and does not say that we leave', async () => {
  const { server } = await streamTo()
  const client = new MachineID({ orgKey: ORG_KEY, baseUrl: server.url, orgId: ORG, replica: 'pod-7' })
  const stream = client.openStops?.({
    deviceIds: [SERVER],
    afterEpoch: 1,
    onStop: () => {},
    presence: () => ({ devices: [], timeoutMs: 1, latencyMs: undefined }),
  })
  await vi.waitFor(() => expect(stream?.state.up).toBe(true))
  await client.close()
  const bodies = server.requests.map(({ json }) => json as Record<string, unknown> | undefined)
  expect(bodies.filter((body) => body?.['replica'] === 'pod-7' && body['leaving'] === true)).toEqual([])
})
