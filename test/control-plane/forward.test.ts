import { once } from 'node:events'
import { request, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, onTestFinished, test } from 'vitest'

import type { ApiContext } from '../../src/control-plane/api-route.ts'
import { apiRoutes } from '../../src/control-plane/api.ts'
import { createForward, createInnerListener, isStop, newLaneSecret } from '../../src/control-plane/forward.ts'
import { closeServer, createWebServer, listen } from '../../src/http.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { startTestControlPlane } from '../fixtures/control-plane.ts'

type Handle = (request: IncomingMessage, response: ServerResponse, peer: string | undefined) => void

/** A lane that hands everything on, and the main thread's end that `handle` answers for. */
async function startLane(handle: Handle, limits: { unreadMs?: number; maxHeldBytes?: number } = {}) {
  const secret = newLaneSecret()
  const inner = createWebServer({}, undefined, createInnerListener(secret, handle))
  const { port: innerPort, url: innerUrl } = await listen(inner, { host: '127.0.0.1', port: 0 })
  const errors: unknown[] = []
  const forward = createForward({
    port: innerPort,
    secret,
    ...limits,
    onError: (response, error) => {
      errors.push(error)
      response.writeHead(503).end('no answer')
    },
  })
  const outer = createWebServer({}, undefined, forward.listener)
  const { url, port } = await listen(outer, { host: '127.0.0.1', port: 0 })
  const closeInner = () => closeServer(inner, { graceMs: 0 })
  onTestFinished(async () => {
    await closeServer(outer, { graceMs: 0 })
    forward.close()
    await closeInner()
  })
  return { url, port, innerUrl, errors, closeInner }
}

/** What was heard of a request. */
const echo: Handle = (heard, response, peer) => {
  const chunks: Buffer[] = []
  heard.on('data', (chunk: Buffer) => chunks.push(chunk))
  heard.on('end', () => {
    const { method, url, headersDistinct } = heard
    const body = Buffer.concat(chunks).toString()
    response.setHeader('set-cookie', ['a=1', 'b=2'])
    response.writeHead(201, { 'content-type': 'application/json', 'x-answer': 'yes' })
    response.end(JSON.stringify({ method, url, headers: headersDistinct, body, peer }))
  })
}

async function raw(port: number, text: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  let answer = ''
  socket.setEncoding('latin1').on('data', (chunk) => (answer += chunk))
  socket.write(text, 'latin1')
  await once(socket, 'close')
  return answer
}

describe('a lane hands on', () => {
  test('method, path, query, headers and body, and the answer back with its status and headers', async () => {
    const { url } = await startLane(echo)
    const answer = await fetch(`${url}/api/v1/x%2Fy?a=1&a=2`, {
      method: 'POST',
      headers: { 'x-org-key': 'org_key', 'content-type': 'application/json' },
      body: '{"é":1}',
    })
    expect(answer.status).toBe(201)
    expect(answer.headers.get('x-answer')).toBe('yes')
    expect(answer.headers.getSetCookie()).toEqual(['a=1', 'b=2'])
    expect(await answer.json()).toMatchObject({
      method: 'POST',
      url: '/api/v1/x%2Fy?a=1&a=2',
      headers: { 'x-org-key': ['org_key'], host: [new URL(url).host] },
      body: '{"é":1}',
      peer: '127.0.0.1',
    })
  })

  test('a body in chunks as one body, whatever the method, so that it cannot pass for a second request', async () => {
    const { port } = await startLane(echo)
    const smuggled = 'GET /secret HTTP/1.1\r\nhost: h\r\n\r\n'
    for (const method of ['POST', 'GET', 'DELETE']) {
      const answer = await raw(
        port,
        `${method} /x HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n` +
          `${smuggled.length.toString(16)}\r\n${smuggled}\r\n0\r\n\r\n`,
      )
      expect(answer.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 201'])
      expect(answer).toContain(`"method":"${method}"`)
      expect(answer).toContain('GET /secret')
    }
  })

  test('a header that is there twice twice, and never one that names the peer or the lane itself', async () => {
    const { port } = await startLane(echo)
    const answer = await raw(
      port,
      'GET /x HTTP/1.1\r\nhost: h\r\nx-org-key: a\r\nx-org-key: b\r\nx-holdpoint-peer: 6.6.6.6\r\n' +
        'x-holdpoint-lane: guess\r\nx-forwarded-for: 9.9.9.9\r\nconnection: close, x-org-key\r\n\r\n',
    )
    expect(answer).toContain('"x-org-key":["a","b"]')
    expect(answer).toContain('"x-forwarded-for":["9.9.9.9"]')
    expect(answer).toContain('"peer":"127.0.0.1"')
    expect(answer).not.toContain('6.6.6.6')
    expect(answer).not.toContain('guess')
  })

  test('what the answer to HEAD is, and one without a body', async () => {
    const { url } = await startLane((_, response) => response.writeHead(204, { 'x-empty': '1' }).end())
    for (const method of ['HEAD', 'DELETE']) {
      const answer = await fetch(url, { method })
      expect([answer.status, answer.headers.get('x-empty'), await answer.text()]).toEqual([204, '1', ''])
    }
  })

  test('each part of a stream when it is sent, its headers before the first', async () => {
    let say: (text: string) => void = () => {}
    const { url } = await startLane((_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.flushHeaders()
      say = (text) => void response.write(text)
    })
    const answer = await fetch(url)
    expect(answer.headers.get('content-type')).toBe('text/event-stream')
    const reader = (answer.body as ReadableStream<Uint8Array>).getReader()
    for (const text of ['data: 1\n\n', 'data: 2\n\n']) {
      say(text)
      const { value } = await reader.read()
      expect(new TextDecoder().decode(value)).toBe(text)
    }
    await reader.cancel()
  })

  test('a hang-up of the caller', async () => {
    const closed = Promise.withResolvers<void>()
    const { url } = await startLane((_, response) => {
      response.on('close', () => closed.resolve())
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write('first')
    })
    const abort = new AbortController()
    const answer = await fetch(url, { signal: abort.signal })
    expect(answer.status).toBe(200)
    abort.abort()
    await closed.promise
  })

  test('a hang-up of the caller before there is an answer', async () => {
    const asked = Promise.withResolvers<void>()
    const closed = Promise.withResolvers<void>()
    const { url } = await startLane((_, response) => {
      asked.resolve()
      response.on('close', () => closed.resolve())
    })
    const abort = new AbortController()
    const answer = fetch(url, { signal: abort.signal })
    await asked.promise
    abort.abort()
    await expect(answer).rejects.toThrow('aborted')
    await closed.promise
  })

  test('a hang-up of the main thread in the middle of an answer: no half answer passes for a whole one', async () => {
    const { url } = await startLane((heard, response) => {
      const streams = heard.url === PATHS.feed && { 'content-type': 'text/event-stream' }
      response.writeHead(200, { 'content-length': 100, ...streams }).write('half')
      setTimeout(() => response.destroy(), 20)
    })
    const answer = await fetch(url)
    expect([answer.status, await answer.text()]).toEqual([503, 'no answer'])
    const stream = await fetch(`${url}${PATHS.feed}`)
    await expect(stream.text()).rejects.toThrow()
  })
})

describe('a flood of calls', () => {
  test('reaches the main thread 16 at a time, streams beside them', async () => {
    const held: ServerResponse[] = []
    let inAll = 0
    const { url } = await startLane((heard, response) => {
      if (heard.url?.startsWith('/api/v1/feed') === true) {
        response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
        return
      }
      inAll++
      held.push(response)
    })
    const abort = new AbortController()
    const { signal } = abort
    const streams = Array.from({ length: 100 }, () => fetch(`${url}/api/v1/feed?types=change`, { signal }))
    expect((await Promise.all(streams)).map(({ status }) => status)).toEqual(streams.map(() => 200))
    const answers = Promise.all(Array.from({ length: 50 }, () => fetch(`${url}/api/v1/usage`)))
    for (const most of [16, 16, 16, 2]) {
      await expect.poll(() => held.length).toBe(most)
      await delay(50)
      expect(held.length).toBe(most)
      for (const response of held.splice(0)) response.end()
    }
    expect((await answers).length).toBe(inAll)
    abort.abort()
  })
})

const STOPS = [
  PATHS.revoke,
  PATHS.revokeBatch,
  PATHS.remove,
  PATHS.locks,
  PATHS.orgDisable,
  PATHS.keyBurn.replace(':id', 'abc'),
]

describe('G1: a stop on the agent lane waits for no', () => {
  const stop = async (url: string) => {
    for (const path of STOPS) {
      const signal = AbortSignal.timeout(2000)
      const answer = await fetch(`${url}${path}`, { method: 'POST', body: '{}', signal })
      expect([path, answer.status]).toEqual([path, 201])
      await answer.text()
    }
  }

  test('call but a stop: all that the API calls stops are, and nothing else', async () => {
    await using authority = await startTestControlPlane()
    // The table is only looked at: nothing in it is called.
    for (const { method, path, stop: stops } of apiRoutes({
      ...authority.controlPlane,
    } as unknown as ApiContext)) {
      const asked = { method: method.toUpperCase(), url: `${path.replace(':id', 'abc')}?preview=false` }
      expect([asked, isStop(asked as IncomingMessage)]).toEqual([asked, stops === true])
    }
  })

  test('body that is sent slowly, of a stop or of any other call', async () => {
    const { url, port } = await startLane(echo)
    const slow = Array.from({ length: 200 }, (_, index) => {
      const path = index % 2 === 0 ? PATHS.revoke : PATHS.register
      const socket = connect(port, '127.0.0.1').on('error', () => {})
      socket.write(`POST ${path} HTTP/1.1\r\nhost: h\r\ncontent-length: 1000\r\n\r\n{`)
      return socket
    })
    await delay(100)
    await stop(url)
    expect((await fetch(`${url}${PATHS.usage}`, { signal: AbortSignal.timeout(2000) })).status).toBe(201)
    for (const socket of slow) socket.destroy()
  })

  test('other call, however long that takes', async () => {
    const { url } = await startLane((heard, response, peer) => {
      if (heard.url !== '/slow') echo(heard, response, peer)
    })
    const abort = new AbortController()
    const held = Array.from({ length: 50 }, () => fetch(`${url}/slow`, { signal: abort.signal }))
    await delay(100)
    await stop(url)
    abort.abort()
    await Promise.allSettled(held)
  })

  test.each([PATHS.auditVerify, PATHS.audit, PATHS.decisions, PATHS.feed])(
    'long answer, which keeps no other call waiting either: %s',
    async (path) => {
      const { url } = await startLane((heard, response, peer) => {
        if (heard.url !== path) echo(heard, response, peer)
      })
      const abort = new AbortController()
      const held = Array.from({ length: 50 }, () => fetch(`${url}${path}`, { signal: abort.signal }))
      await delay(100)
      await stop(url)
      expect((await fetch(`${url}${PATHS.usage}`, { signal: AbortSignal.timeout(2000) })).status).toBe(201)
      abort.abort()
      await Promise.allSettled(held)
    },
  )

  test('answer that nobody reads: its place is free at once, and its connection is cut', async () => {
    const large = 'x'.repeat(8_000_000)
    let inAll = 0
    const { url, port } = await startLane(
      (heard, response, peer) => {
        if (heard.url !== '/large') return echo(heard, response, peer)
        inAll++
        response.end(large)
      },
      { unreadMs: 600 },
    )
    const deaf = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const socket = connect(port, '127.0.0.1').on('error', () => {})
        await once(socket, 'connect')
        // Pipelined: an answer that is behind another takes no place and no memory either.
        socket.pause().write('GET /large HTTP/1.1\r\nhost: h\r\n\r\n'.repeat(40))
        return socket
      }),
    )
    await delay(200)
    await stop(url)
    expect((await fetch(`${url}${PATHS.usage}`, { signal: AbortSignal.timeout(2000) })).status).toBe(201)
    await delay(1500)
    expect(inAll).toBe(20)
    for (const socket of deaf) {
      let got = 0
      socket.on('data', ({ length }) => (got += length)).resume()
      if (!socket.closed) await once(socket, 'close')
      expect(got).toBeLessThan(large.length)
    }
  })
})

test('what is kept for slow callers is bounded: whoever has kept the lane waiting longest is cut', async () => {
  const { url, port } = await startLane(echo, { maxHeldBytes: 100_000 })
  const slow = []
  for (let index = 0; index < 3; index++) {
    const socket = connect(port, '127.0.0.1').on('error', () => {})
    socket.write(`POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: 90000\r\n\r\n${'y'.repeat(40_000)}`)
    slow.push(socket)
    await delay(50)
  }
  if (slow[0]?.closed === false) await once(slow[0], 'close')
  expect(slow.map(({ closed }) => closed)).toEqual([true, false, false])
  expect((await fetch(url, { method: 'POST', body: 'z' })).status).toBe(201)
  for (const socket of slow) socket.destroy()
})

test('a body over 256 KiB is refused in the lane', async () => {
  const { url, errors } = await startLane(echo)
  const large = await fetch(url, { method: 'POST', body: 'x'.repeat(256 * 1024 + 1) })
  expect([large.status, errors]).toMatchObject([503, [{ code: 'BODY_TOO_LARGE' }]])
  const most = await fetch(url, { method: 'POST', body: 'x'.repeat(256 * 1024) })
  expect(most.status).toBe(201)
})

describe('when the main thread does not answer', () => {
  test('G4: the caller is told so, once', async () => {
    const { url, errors, closeInner } = await startLane(echo)
    await closeInner()
    const answer = await fetch(url, { method: 'POST', body: 'x' })
    expect([answer.status, await answer.text()]).toEqual([503, 'no answer'])
    expect(errors).toMatchObject([{ code: 'ECONNREFUSED' }])
  })

  test('nor when it hangs up instead', async () => {
    const { url } = await startLane((heard) => heard.socket.destroy())
    expect((await fetch(url)).status).toBe(503)
  })
})

describe('the inner listener', () => {
  test.each([
    ['no secret', {}],
    ['another secret', { 'x-holdpoint-lane': newLaneSecret() }],
    ['a peer of its choice', { 'x-holdpoint-peer': '127.0.0.1' }],
  ])('answers nobody else: %s', async (_, headers) => {
    let handled = 0
    const { innerUrl } = await startLane(() => void handled++)
    const answer = await fetch(`${innerUrl}/api/v1/usage`, { headers })
    expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([403, 'INNER_LISTENER'])
    expect(handled).toBe(0)
  })

  test('takes many at once', async () => {
    const { url } = await startLane(echo)
    const answers = await Promise.all(
      Array.from({ length: 200 }, async (_, index) => {
        const answer = await fetch(url, { method: 'POST', body: `body ${index}` })
        return ((await answer.json()) as { body: string }).body
      }),
    )
    expect(answers).toEqual(Array.from({ length: 200 }, (_, index) => `body ${index}`))
  })
})

test('a request that node:http would not send again is refused, and the lane goes on', async () => {
  const { url, port, errors } = await startLane(echo)
  await raw(port, 'GET /\xe9 HTTP/1.1\r\nhost: h\r\nx-a: \xe9\r\nconnection: close\r\n\r\n')
  await raw(port, 'GET / HTTP/1.0\r\n\r\n')
  const sent = request(url, { method: 'GET', headers: { 'x-b': 'y'.repeat(10_000) } })
  sent.end()
  const [answer] = (await once(sent, 'response')) as [IncomingMessage]
  expect(answer.resume().statusCode).toBe(201)
  expect(errors).toEqual([])
})
