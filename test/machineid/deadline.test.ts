import type { Socket } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'

import { systemClock } from '../../src/clock.ts'
import { Deadline } from '../../src/machineid/deadline.ts'
import { Transport } from '../../src/machineid/transport.ts'
import type { RawRequest } from '../fixtures/raw-server.ts'
import { ManualClock } from '../fixtures/scripted-authority.ts'
import { allow, ask, codeOf, DEVICE, serverAndClient } from './harness.ts'

/** A server that answers nothing until told to. */
async function holdingServer(options = {}) {
  const held: [RawRequest, Socket][] = []
  const made = await serverAndClient((request, socket) => void held.push([request, socket]), options)
  const release = (): void => {
    for (const [request, socket] of held.splice(0)) socket.write(allow(request))
  }
  return { ...made, held, release }
}

describe('G4: one deadline over the whole question', () => {
  test.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY, 3001, undefined, null, '500'])(
    'a budget of %s is GUARD_MISCONFIGURED, and nothing is sent',
    async (timeoutMs) => {
      const { server, client } = await holdingServer()
      expect(codeOf(await ask(client, { timeoutMs: timeoutMs as number }))).toBe('GUARD_MISCONFIGURED')
      const registration = await client.registerDevice(DEVICE, { timeoutMs: timeoutMs as number })
      expect(registration).toMatchObject({ answered: false, code: 'GUARD_MISCONFIGURED' })
      expect(server.connectionCount).toBe(0)
    },
  )

  test('a late answer is dropped, and its connection is closed', async () => {
    const { server, client, held, release } = await holdingServer()
    expect(codeOf(await ask(client, { timeoutMs: 100 }))).toBe('AUTHORITY_TIMEOUT')
    await expect.poll(() => server.openCount).toBe(0)
    release()
    expect(held).toEqual([])
    const next = ask(client)
    await expect.poll(() => held.length).toBe(1)
    release()
    expect(codeOf(await next)).toBe('ALLOW')
  })

  test('a question that waits for a connection ends in time, and is not sent afterwards', async () => {
    const { server, client, release } = await holdingServer()
    const many = Array.from({ length: 128 }, () => ask(client, { timeoutMs: 3000 }))
    await expect.poll(() => server.requests.length).toBe(128)
    const startMs = performance.now()
    expect(codeOf(await ask(client, { timeoutMs: 100 }))).toBe('AUTHORITY_TIMEOUT')
    expect(performance.now() - startMs).toBeLessThan(300)
    release()
    expect((await Promise.all(many)).map(codeOf)).toEqual(many.map(() => 'ALLOW'))
    // The next one is sent over a connection that became free; the one that was given up is not.
    const after = ask(client)
    await expect.poll(() => server.requests.length).toBe(129)
    release()
    expect(codeOf(await after)).toBe('ALLOW')
    expect(server.requests).toHaveLength(129)
  })

  test('the event loop was blocked past the deadline, so that no timer fired: the answer does not count', async () => {
    const clock = new ManualClock()
    const { client } = await serverAndClient(
      (request, socket) => {
        clock.advance(501)
        socket.write(allow(request))
      },
      { clock },
    )
    expect(codeOf(await ask(client, { timeoutMs: 500 }))).toBe('AUTHORITY_TIMEOUT')
  })

  test('exactly at the deadline it still counts', async () => {
    const clock = new ManualClock()
    const { client } = await serverAndClient(
      (request, socket) => {
        clock.advance(500)
        socket.write(allow(request))
      },
      { clock },
    )
    expect(codeOf(await ask(client, { timeoutMs: 500 }))).toBe('ALLOW')
  })

  test.each([60_000, -1])(
    'the wall clock moved by %i ms under the question: AUTHORITY_TIMEOUT',
    async (ms) => {
      const clock = new ManualClock()
      const { client } = await serverAndClient(
        (request, socket) => {
          clock.advanceWall(ms)
          socket.write(allow(request))
        },
        { clock },
      )
      expect(codeOf(await ask(client))).toBe('AUTHORITY_TIMEOUT')
    },
  )

  test('G3: sentAt is when the question left, not when it was answered', async () => {
    const clock = new ManualClock()
    const askedAt = clock.now()
    const { client } = await serverAndClient(
      (request, socket) => {
        clock.advance(400)
        socket.write(allow(request))
      },
      { clock },
    )
    expect(await ask(client)).toMatchObject({ answered: true, sentAt: askedAt })
  })
})

test('once a question is settled nothing more is sent for it, not even a retry that was about to begin', async () => {
  const { server } = await holdingServer()
  const transport = new Transport({
    origin: server.url,
    caPem: undefined,
    keepAlive: true,
    connectTimeoutMs: 500,
    clock: systemClock,
  })
  onTestFinished(() => transport.close())
  const deadline = new Deadline(500, undefined, systemClock)
  deadline.close()
  const outgoing = { method: 'GET', path: '/', headers: [], body: null, maxAnswerBytes: 10 } as const
  const sent = transport.send(() => ({ ...outgoing, headers: [], headProblem: () => undefined }), deadline, {
    retry: true,
  })
  await expect(sent).rejects.toMatchObject({ code: 'CALL_ABORTED' })
  expect(server.connectionCount).toBe(0)
})

describe('the caller gives up', () => {
  test('before the question: CALL_ABORTED, and nothing is sent', async () => {
    const { server, client } = await holdingServer()
    expect(codeOf(await ask(client, { signal: AbortSignal.abort() }))).toBe('CALL_ABORTED')
    expect(server.connectionCount).toBe(0)
  })

  test('while it waits: CALL_ABORTED at once, and the connection is closed', async () => {
    const { server, client, held } = await holdingServer()
    const caller = new AbortController()
    const question = ask(client, { signal: caller.signal, timeoutMs: 3000 })
    await expect.poll(() => held.length).toBe(1)
    caller.abort()
    expect(codeOf(await question)).toBe('CALL_ABORTED')
    await expect.poll(() => server.openCount).toBe(0)
  })

  test('after the answer: nothing more happens', async () => {
    const caller = new AbortController()
    const { client } = await serverAndClient((request, socket) => socket.write(allow(request)))
    expect(codeOf(await ask(client, { signal: caller.signal }))).toBe('ALLOW')
    caller.abort()
    expect(codeOf(await ask(client))).toBe('ALLOW')
  })
})

describe('close', () => {
  test.each(['holdpoint', 'machineid'] as const)(
    'denies what waits and what comes later, GUARD_SHUTTING_DOWN (%s)',
    async (profile) => {
      const { server, client, held } = await holdingServer({ profile })
      const question = ask(client, { timeoutMs: 3000 })
      await expect.poll(() => held.length).toBe(1)
      await client.close()
      expect(codeOf(await question)).toBe('GUARD_SHUTTING_DOWN')
      expect(codeOf(await ask(client))).toBe('GUARD_SHUTTING_DOWN')
      expect(server.requests).toHaveLength(1)
      await expect.poll(() => server.openCount).toBe(0)
    },
  )
})
