import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'

import { closeServer, createWebServer, listen } from '../../src/http.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { selfSigned } from '../fixtures/certificate.ts'
import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'

const DEVICE = 'openai-agent:test:payments:01'

async function open(port: number): Promise<{ socket: Socket; text: () => string }> {
  const socket = connect(port, '127.0.0.1')
  let text = ''
  socket.setEncoding('utf8').on('data', (chunk) => (text += chunk))
  await once(socket, 'connect')
  return { socket, text: () => text }
}

async function halfARevoke({ port, keys }: TestControlPlane) {
  const body = JSON.stringify({ deviceId: DEVICE })
  const { socket, text } = await open(port)
  socket.write(
    `POST ${PATHS.revoke} HTTP/1.1\r\nhost: localhost\r\nx-org-key: ${keys.stop}\r\n` +
      `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body.slice(0, 5)}`,
  )
  // Until the server has seen the headers this connection would count as one without a request.
  await delay(50)
  return { text, ended: once(socket, 'close'), sendTheRest: () => socket.write(body.slice(5)) }
}

describe('closing', () => {
  test('a change that was only half sent is not done, and not acked', async () => {
    await using authority = await startTestControlPlane()
    await authority.register(DEVICE)
    const half = await halfARevoke(authority)
    await authority.kill()
    await half.ended
    expect(half.text()).toBe('')
    await authority.restart()
    const { body } = await authority.post(PATHS.validate, { deviceId: DEVICE }, authority.keys.runtime)
    expect(body).toMatchObject({ allowed: true, orgEpoch: 0 })
  })

  test('G5: a change that arrives while closing is done, durable and acked', async () => {
    await using authority = await startTestControlPlane()
    await authority.register(DEVICE)
    const half = await halfARevoke(authority)
    const closing = authority.kill(5000)
    half.sendTheRest()
    await closing
    await half.ended
    expect(half.text()).toMatch(/^HTTP\/1\.1 200 OK/)
    await authority.restart()
    const { body } = await authority.post(PATHS.validate, { deviceId: DEVICE }, authority.keys.runtime)
    expect(body).toMatchObject({ allowed: false, orgEpoch: 1 })
  })

  test('politely lets a slow request have its answer, then closes its connection', async () => {
    let finish = () => {}
    const server = createServer((request, response) => {
      if (request.url === '/quick') response.end('quick')
      else finish = () => response.end('done')
    })
    const { port, url } = await listen(server, { host: '127.0.0.1', port: 0 })
    const idle = await open(port)
    idle.socket.write('GET /quick HTTP/1.1\r\nhost: localhost\r\n\r\n')
    await once(idle.socket, 'data')
    const busy = await open(port)
    busy.socket.write('GET / HTTP/1.1\r\nhost: localhost\r\n\r\n')
    await once(server, 'request')
    const closing = closeServer(server, { graceMs: 15_000 })
    await once(idle.socket, 'close')
    await expect(fetch(url)).rejects.toThrow()
    const ended = once(busy.socket, 'close')
    finish()
    await closing
    await ended
    expect(busy.text()).toMatch(/done$/)
    await closeServer(server)
  })

  test.each([
    ['has asked nothing', undefined],
    ['has not finished its TLS handshake', selfSigned()],
  ])('does not wait for a connection that %s', async (_, tls) => {
    const server = createWebServer({}, tls, (_request, response) => response.end('done'))
    const { port } = await listen(server, { host: '127.0.0.1', port: 0 })
    const { socket } = await open(port)
    socket.on('error', () => {})
    await delay(20)
    const cut = once(socket, 'close')
    const startMs = performance.now()
    await closeServer(server, { graceMs: 10_000 })
    await cut
    expect(performance.now() - startMs).toBeLessThan(2000)
  })

  test('is soon done with connections that always have a next question', async () => {
    const server = createWebServer({}, undefined, (_request, response) => {
      setTimeout(() => response.end('done'), 50)
    })
    const { port } = await listen(server, { host: '127.0.0.1', port: 0 })
    for (let index = 0; index < 50; index++) {
      const { socket } = await open(port)
      const ask = () => socket.write('GET / HTTP/1.1\r\nhost: localhost\r\n\r\n')
      socket.on('data', ask).on('error', () => {})
      ask()
      await delay(2)
    }
    await delay(100)
    const startMs = performance.now()
    await closeServer(server, { graceMs: 10_000 })
    expect(performance.now() - startMs).toBeLessThan(500)
  })

  test('lets a connection that is about to ask do so', async () => {
    const server = createWebServer({}, undefined, (_request, response) => response.end('done'))
    const { port } = await listen(server, { host: '127.0.0.1', port: 0 })
    const { socket, text } = await open(port)
    await delay(20)
    const closing = closeServer(server, { graceMs: 10_000 })
    socket.write('GET / HTTP/1.1\r\nhost: localhost\r\n\r\n')
    await once(socket, 'close')
    await closing
    expect(text()).toMatch(/done$/)
  })

  test('cuts what does not finish within its grace', async () => {
    const server = createServer(() => {})
    const { port } = await listen(server, { host: '127.0.0.1', port: 0 })
    const { socket } = await open(port)
    socket.on('error', () => {}).write('GET / HTTP/1.1\r\nhost: localhost\r\n\r\n')
    await once(server, 'request')
    const cut = once(socket, 'close')
    await closeServer(server, { graceMs: 20 })
    await cut
  })

  test('a control plane may be closed twice, and started again on its file', async () => {
    const authority = await startTestControlPlane()
    await authority.register(DEVICE)
    await authority.kill()
    await authority.kill()
    await authority.restart()
    expect((await authority.get(PATHS.usage, authority.keys.viewer)).body.devicesUsed).toBe(1)
    await authority.close()
    await authority.close()
  })
})

describe('listening', () => {
  test('on a port that is taken is one clear error', async () => {
    await using authority = await startTestControlPlane()
    const attempt = listen(createServer(), { host: '127.0.0.1', port: authority.port })
    await expect(attempt).rejects.toMatchObject({ code: 'LISTEN_FAILED' })
    await expect(attempt).rejects.toThrow(`127.0.0.1:${authority.port}. Another program has it`)
  })
})

describe('health', () => {
  test('both are answered without a key, under any Host, and tell nothing else', async () => {
    await using authority = await startTestControlPlane()
    for (const path of ['/healthz', '/readyz']) {
      const { socket, text } = await open(authority.port)
      socket.write(`GET ${path} HTTP/1.1\r\nhost: 10.0.0.7:4100\r\nconnection: close\r\n\r\n`)
      await once(socket, 'close')
      expect(text()).toMatch(/^HTTP\/1\.1 200 /)
      expect(text()).toMatch(/\{"status":"ok"\}$/)
    }
  })
})

test('off loopback Host is checked against the configured names only, and not at all without them', async () => {
  const ask = async (hosts: readonly string[], host: string) => {
    await using authority = await startTestControlPlane({ loopback: false, hosts })
    const { socket, text } = await open(authority.port)
    socket.write(`GET ${PATHS.usage} HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`)
    await once(socket, 'close')
    return text().slice(9, 12)
  }
  expect(await ask([], 'authority.internal')).toBe('401')
  expect(await ask(['authority.internal'], 'Authority.internal:443')).toBe('401')
  expect(await ask(['authority.internal'], 'other.internal')).toBe('403')
})
