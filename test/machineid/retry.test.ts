import { describe, expect, test } from 'vitest'

import { httpAnswer } from '../fixtures/raw-server.ts'
import { allow, ask, codeOf, DEVICE, noncesOf, serverAndClient } from './harness.ts'

const CHANGE = {
  status: 'ok',
  handler: 'devices/change',
  orgId: 'o_bad_answers',
  epoch: 8,
  orgEpoch: 8,
  request_id: 'r-1',
}

describe('G2, G4: one retry, only where no byte of an answer arrived', () => {
  test('a reset before any byte: asked once more, with a new nonce and on a new connection', async () => {
    const { server, client } = await serverAndClient((request, socket, index) => {
      if (index === 0) socket.resetAndDestroy()
      else socket.write(allow(request))
    })
    expect(codeOf(await ask(client))).toBe('ALLOW')
    expect(new Set(noncesOf(server)).size).toBe(2)
    expect(server.requests.map(({ connection }) => connection)).toEqual([0, 1])
  })

  test('the retry has a connection of its own, which is closed after it', async () => {
    const { server, client } = await serverAndClient((request, socket, index) => {
      if (index === 1) socket.resetAndDestroy()
      else socket.write(allow(request))
    })
    await ask(client)
    expect(codeOf(await ask(client))).toBe('ALLOW')
    expect(server.requests[2]?.headers['connection']).toBe('close')
  })

  test('a server that closes the idle connection under the question: asked once more, and allowed', async () => {
    const { server, client } = await serverAndClient((request, socket, index) => {
      if (index === 1) socket.destroy()
      else socket.write(allow(request))
    })
    await ask(client)
    expect(codeOf(await ask(client))).toBe('ALLOW')
    expect(server.requests).toHaveLength(3)
  })

  test('no second retry', async () => {
    const { server, client } = await serverAndClient((request, socket, index) => {
      if (index < 2) socket.resetAndDestroy()
      else socket.write(allow(request))
    })
    expect(codeOf(await ask(client))).toBe('AUTHORITY_UNREACHABLE')
    expect(server.requests).toHaveLength(2)
  })

  test.each(['H', 'HTTP/1.1 200 OK\r\n', 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n'])(
    'a reset after %j: a byte arrived, so it is not asked again',
    async (text) => {
      const { server, client } = await serverAndClient((_, socket) => {
        socket.write(text)
        setTimeout(() => socket.resetAndDestroy(), 30)
      })
      expect(codeOf(await ask(client))).toMatch(/^AUTHORITY_(?:UNREACHABLE|TRUNCATED|BAD_CONTENT_TYPE)$/)
      expect(server.requests).toHaveLength(1)
    },
  )

  test.each(['500 Internal Server Error', '503 Service Unavailable', '429 Too Many Requests'])(
    'no retry after %s: that would be shopping for another answer',
    async (status) => {
      const { server, client } = await serverAndClient((request, socket, index) =>
        socket.write(index === 0 ? httpAnswer('{}', { status }) : allow(request)),
      )
      expect(codeOf(await ask(client))).not.toBe('ALLOW')
      expect(server.requests).toHaveLength(1)
    },
  )

  test('no retry after a denial', async () => {
    const decision = { deviceId: DEVICE, allowed: false, code: 'DEVICE_REVOKED', epoch: 3 }
    const { server, client } = await serverAndClient((request, socket) =>
      socket.write(allow(request, { decisions: [decision] })),
    )
    expect(codeOf(await ask(client))).toBe('DEVICE_REVOKED')
    expect(server.requests).toHaveLength(1)
  })

  test('both attempts share one budget', async () => {
    const { server, client } = await serverAndClient((_, socket, index) => {
      if (index === 0) setTimeout(() => socket.resetAndDestroy(), 150)
    })
    const startMs = performance.now()
    expect(codeOf(await ask(client, { timeoutMs: 250 }))).toBe('AUTHORITY_TIMEOUT')
    expect(performance.now() - startMs).toBeLessThan(390)
    expect(server.requests).toHaveLength(2)
  })

  test('a refused connection is AUTHORITY_UNREACHABLE, and says where', async () => {
    const { server, client } = await serverAndClient(() => {})
    await server.close()
    const answer = await ask(client)
    expect(answer).toMatchObject({ answered: false, code: 'AUTHORITY_UNREACHABLE' })
    expect(String(answer.answered || answer.cause)).toContain(server.url)
  })
})

describe('G6: what could turn a no into a yes is never sent twice by itself', () => {
  test.each([
    ['unrevoke', 1],
    ['enableOrg', 1],
    ['remove', 1],
    ['revoke', 2],
    ['disableOrg', 2],
    ['register', 2],
    ['listDevices', 2],
    ['usage', 2],
  ] as const)('%s meets a reset: sent %i time(s)', async (name, count) => {
    const { server, client } = await serverAndClient((_, socket) => socket.resetAndDestroy())
    const calls = {
      unrevoke: () => client.unrevoke(DEVICE, { ifEpoch: 7 }),
      enableOrg: () => client.enableOrg({ ifEpoch: 7 }),
      remove: () => client.remove(DEVICE),
      revoke: () => client.revoke(DEVICE),
      disableOrg: () => client.disableOrg(),
      register: () => client.register(DEVICE),
      listDevices: () => client.listDevices(),
      usage: () => client.usage(),
    }
    expect(await calls[name]()).toMatchObject({ ok: false, answered: false, code: 'AUTHORITY_UNREACHABLE' })
    expect(server.requests).toHaveLength(count)
  })

  test('a revoke whose connection broke is sent once more, and acked', async () => {
    const { client } = await serverAndClient((_, socket, index) => {
      if (index === 0) socket.resetAndDestroy()
      else socket.write(httpAnswer(JSON.stringify({ ...CHANGE, deviceId: DEVICE })))
    })
    expect(await client.revoke(DEVICE)).toMatchObject({ ok: true, value: { epoch: 8 } })
  })
})
