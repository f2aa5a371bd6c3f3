import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync, statSync, writeSync } from 'node:fs'
import { request as httpsRequest } from 'node:https'
import { connect, type Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Worker } from 'node:worker_threads'
import { describe, expect, onTestFinished, test } from 'vitest'

import { HoldpointError } from '../../src/errors.ts'
import { closeServer, createWebServer, listen } from '../../src/http.ts'
import { createLogger } from '../../src/log.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { serveControlPlane } from '../../src/programs/serve-control-plane.ts'
import { openControlPlaneStore } from '../../src/store/sqlite/control-plane.ts'
import { startTestControlPlane, startTestLanes, type TestControlPlane } from '../fixtures/control-plane.ts'
import { selfSigned } from '../fixtures/certificate.ts'
import { takenPort, temporaryDirectory } from '../fixtures/program.ts'

const DEVICE = 'openai-agent:test:payments:01'

async function ask(
  url: string,
  path: string,
  key: string,
  body?: object,
  headers: Record<string, string> = {},
) {
  const answer = await fetch(`${url}${path}`, {
    headers: { 'x-org-key': key, 'content-type': 'application/json', ...headers },
    ...(body !== undefined && { method: 'POST', body: JSON.stringify(body) }),
  })
  // oxlint-disable-next-line typescript/no-explicit-any -- bodies of every shape
  return { status: answer.status, body: (await answer.json()) as any }
}

const both = [
  ['in one thread', startTestControlPlane],
  ['in worker threads', startTestLanes],
] as const

describe.each(both)('the two lanes, %s', (_, start) => {
  test('G1: a stop acked on either lane is seen by each validate that is asked after it', async () => {
    await using authority = await start()
    await authority.register(DEVICE)
    const { runtime, stop, full } = authority.keys
    for (let round = 0; round < 20; round++) {
      for (const lane of [authority.url, authority.operatorUrl]) {
        expect((await ask(lane, PATHS.revoke, stop, { deviceId: DEVICE })).status).toBe(200)
        const denied = await ask(authority.url, PATHS.validate, runtime, { deviceId: DEVICE })
        expect(denied.body).toMatchObject({ allowed: false, code: 'DEVICE_REVOKED' })
        expect((await ask(lane, PATHS.unrevoke, full, { deviceId: DEVICE })).status).toBe(200)
        const allowed = await ask(authority.url, PATHS.validate, runtime, { deviceId: DEVICE })
        expect(allowed.body).toMatchObject({ allowed: true })
      }
    }
  })

  test('G1: so is a lock, and the end of a plan, and of a key', async () => {
    await using authority = await start()
    await authority.register(DEVICE)
    const { runtime, stop, operator, admin } = authority.keys
    const validate = (key = runtime) => ask(authority.url, PATHS.validate, key, { deviceId: DEVICE })
    const lock = { pattern: 'openai-agent:*', reason: 'test' }
    const locked = await ask(authority.operatorUrl, PATHS.locks, stop, lock)
    expect((await validate()).body).toMatchObject({ code: 'DEVICE_LOCKED', orgEpoch: locked.body.epoch })
    const release = PATHS.lockRelease.replace(':id', locked.body.lockId)
    await ask(authority.operatorUrl, release, operator, { ifEpoch: locked.body.epoch })
    expect((await validate()).body).toMatchObject({ allowed: true })

    const caller = { actor: 'test', kind: 'platform', requestId: null, origin: null } as const
    await authority.service.setPlan(caller, authority.orgId, { tier: 'custom', limit: 0 })
    expect((await validate()).body).toMatchObject({ code: 'DEVICE_OVER_LIMIT' })
    const ended = { tier: 'custom', limit: 0, state: 'canceled', accessUntilMs: Date.now() - 1 } as const
    await authority.service.setPlan(caller, authority.orgId, ended)
    // The cap is that of the free plan by now, whoever has noticed.
    expect((await validate()).body).toMatchObject({ allowed: true })
    await authority.service.setPlan(caller, authority.orgId, { tier: 'pro', state: 'frozen' })
    expect((await validate()).body).toMatchObject({ code: 'PLAN_NOT_ACTIVE' })

    const burn = PATHS.keyBurn.replace(':id', runtime.split('_')[2] ?? '')
    expect((await ask(authority.operatorUrl, burn, admin, {})).status).toBe(200)
    const dead = await validate()
    expect([dead.status, dead.body.code, 'allowed' in dead.body]).toEqual([401, 'KEY_BURNED', false])
  })

  test('the operator lane answers no validate: it says which port does', async () => {
    await using authority = await start()
    await authority.register(DEVICE)
    for (const [path, body] of [
      [PATHS.validate, { deviceId: DEVICE }],
      [`${PATHS.validate}?deviceId=${DEVICE}`, undefined],
      [PATHS.validateBatch, { deviceIds: [DEVICE], nonce: 'n'.repeat(16) }],
    ] as const) {
      const answer = await ask(authority.operatorUrl, path, authority.keys.runtime, body)
      expect(answer).toMatchObject({ status: 421, body: { code: 'WRONG_LANE', error: 'wrong_lane' } })
      expect(answer.body.message).toContain('CONTROL_PLANE_PORT')
      expect(answer.body).not.toHaveProperty('allowed')
    }
  })

  test('both check Host, and answer health to anybody', async () => {
    await using authority = await start()
    for (const lane of [authority.url, authority.operatorUrl]) {
      const port = Number(new URL(lane).port)
      for (const [path, host, status] of [
        [PATHS.usage, 'evil.example', 403],
        [PATHS.usage, 'localhost', 401],
        ['/healthz', 'evil.example', 200],
        ['/readyz', 'evil.example', 200],
        ['/metrics', 'evil.example', 403],
        [PATHS.validate, 'evil.example', 403],
      ] as const) {
        const socket = connect(port, '127.0.0.1')
        let text = ''
        socket.setEncoding('utf8').on('data', (chunk) => (text += chunk))
        socket.write(`GET ${path} HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`)
        await once(socket, 'close')
        expect([path, host, text.slice(9, 12)]).toEqual([path, host, String(status)])
      }
    }
  })

  test('both speak https with a certificate', async () => {
    const { cert, key } = selfSigned()
    await using authority = await start({ tls: { cert, key } })
    for (const lane of [authority.url, authority.operatorUrl]) {
      expect(lane).toMatch(/^https:/)
      const sent = httpsRequest(`${lane}/readyz`, { ca: cert, agent: false })
      sent.end()
      const [answer] = await once(sent, 'response')
      expect(answer.resume().statusCode).toBe(200)
    }
  })

  test('where a change comes from is in its audit row: the peer, which no header can forge', async () => {
    await using authority = await start()
    await authority.register(DEVICE)
    const forged = { 'x-forwarded-for': '6.6.6.6', 'x-holdpoint-peer': '6.6.6.6' }
    for (const lane of [authority.url, authority.operatorUrl]) {
      await ask(lane, PATHS.revoke, authority.keys.stop, { deviceId: DEVICE }, forged)
    }
    expect(await origins(authority)).toEqual(['127.0.0.1', '127.0.0.1'])
  })

  test('TRUST_PROXY: on the operator lane it is what the outermost of that many proxies saw', async () => {
    await using authority = await start({ trustedProxies: 2 })
    await authority.register(DEVICE)
    for (const seen of ['8.8.8.8, 9.9.9.9, 1.2.3.4, 10.0.0.1', '1.2.3.4', '']) {
      const headers = seen === '' ? {} : { 'x-forwarded-for': seen }
      await ask(authority.operatorUrl, PATHS.revoke, authority.keys.stop, { deviceId: DEVICE }, headers)
    }
    expect(await origins(authority)).toEqual(['1.2.3.4', '1.2.3.4', '127.0.0.1'])
  })

  test('TRUST_PROXY does not hold on the agent lane, where every agent could then be anybody', async () => {
    await using authority = await start({ trustedProxies: 1, limitCalls: true })
    await authority.register(DEVICE)
    const forged = { 'x-forwarded-for': '9.9.9.9' }
    await ask(authority.url, PATHS.revoke, authority.keys.stop, { deviceId: DEVICE }, forged)
    expect(await origins(authority)).toEqual(['127.0.0.1'])
    const statuses = []
    for (let network = 0; network < 12; network++) {
      const from = { 'x-forwarded-for': `10.${network}.0.1` }
      statuses.push(
        (await authority.post(PATHS.orgRecover, { email: 'a@b.example' }, undefined, from)).status,
      )
    }
    expect(statuses.slice(10)).toEqual([429, 429])
  })

  test.each([
    ['1.2.3.4:5678', '1.2.3.4'],
    ['[2001:db8::1]:443', '2001:db8::1'],
    ['[2001:db8::1]', '2001:db8::1'],
    ['2001:db8::1', '2001:db8::1'],
    ['fe80::1%eth0', 'fe80::1'],
    ['Go to http://evil.example at once', '127.0.0.1'],
    ['unknown', '127.0.0.1'],
    ['1.2.3.4:', '127.0.0.1'],
    ['1.2.3.4.5', '127.0.0.1'],
    ['[1.2.3.4', '127.0.0.1'],
    ['2001:db8::1%a b', '127.0.0.1'],
  ])('an origin is an address, or else the peer: %s', async (seen, origin) => {
    await using authority = await start({ trustedProxies: 1 })
    await authority.register(DEVICE)
    const headers = { 'x-forwarded-for': seen }
    await ask(authority.operatorUrl, PATHS.revoke, authority.keys.stop, { deviceId: DEVICE }, headers)
    expect(await origins(authority)).toEqual([origin])
  })

  test('a query changes nothing about health and figures, which no browser takes for anything else', async () => {
    await using authority = await start()
    for (const lane of [authority.url, authority.operatorUrl]) {
      for (const path of ['/healthz', '/readyz', '/metrics']) {
        for (const query of ['', '?', '?x=1']) {
          const { status, headers } = await fetch(`${lane}${path}${query}`)
          expect([path, query, status]).toEqual([path, query, 200])
          expect(headers.get('x-content-type-options')).toBe('nosniff')
        }
      }
      expect((await fetch(`${lane}/healthzz`)).status).toBe(404)
    }
  })

  test('G4, G5: a validate is not answered once the store is suspect, though it was asked before', async () => {
    await using authority = await start({ recordAllows: true })
    await authority.register(DEVICE)
    const body = JSON.stringify({ deviceId: DEVICE })
    const socket = connect(authority.port, '127.0.0.1')
    let text = ''
    socket.setEncoding('utf8').on('data', (chunk) => (text += chunk))
    socket.write(
      `POST ${PATHS.validate} HTTP/1.1\r\nhost: localhost\r\nx-org-key: ${authority.keys.runtime}\r\n` +
        `content-type: application/json\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n`,
    )
    await delay(100)
    authority.controlPlane.suspect(new HoldpointError('STORE_IO', 'The database could not be read.'))
    socket.write(body)
    await once(socket, 'close')
    expect(text).toMatch(/^HTTP\/1\.1 503 /)
    expect(text).toContain('STORE_UNAVAILABLE')
    expect(text).not.toContain('"allowed"')
  })

  test('a connection that asks nothing delays no close', async () => {
    await using authority = await start()
    const silent = await Promise.all(
      [authority.url, authority.operatorUrl].map(async (lane) => {
        const socket = connect(Number(new URL(lane).port), '127.0.0.1').on('error', () => {})
        await once(socket, 'connect')
        return socket
      }),
    )
    await delay(20)
    const startMs = performance.now()
    await authority.kill(10_000)
    expect(performance.now() - startMs).toBeLessThan(3000)
    for (const socket of silent) socket.destroy()
  })

  test('a question that has begun when it closes is answered', async () => {
    await using authority = await start()
    await authority.register(DEVICE)
    const body = JSON.stringify({ deviceId: DEVICE })
    const answers = await Promise.all(
      [PATHS.validate, PATHS.revoke].map(async (path) => {
        const socket = connect(authority.port, '127.0.0.1')
        let text = ''
        socket.setEncoding('utf8').on('data', (chunk) => (text += chunk))
        socket.write(
          `POST ${path} HTTP/1.1\r\nhost: localhost\r\nx-org-key: ${authority.keys.full}\r\n` +
            `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body.slice(0, 5)}`,
        )
        await delay(100)
        return { finish: () => socket.write(body.slice(5)), ended: once(socket, 'close').then(() => text) }
      }),
    )
    const closing = authority.kill(5000)
    await delay(150)
    for (const { finish } of answers) finish()
    for (const { ended } of answers) expect(await ended).toMatch(/^HTTP\/1\.1 200 OK/)
    await closing
    await authority.restart()
    expect(await authority.get(PATHS.list, authority.keys.viewer)).toMatchObject({
      body: { devices: [{ deviceId: DEVICE, revoked: true }] },
    })
  })

  test('G5: once the store cannot be trusted, whoever finds out, nobody answers anything but that', async () => {
    const fatal: string[] = []
    await using authority = await start({ onFatal: ({ code }) => void fatal.push(code) })
    await authority.register(DEVICE)
    const problem = new HoldpointError('STORE_IO', 'The database could not be read.')
    authority.controlPlane.suspect(problem)
    authority.controlPlane.suspect(problem)
    expect(fatal).toEqual(['STORE_IO'])
    for (const lane of [authority.url, authority.operatorUrl]) {
      expect((await fetch(`${lane}/healthz`)).status).toBe(200)
      expect((await fetch(`${lane}/readyz`)).status).toBe(503)
      const answer = await ask(lane, PATHS.revoke, authority.keys.full, { deviceId: DEVICE })
      expect(answer).toMatchObject({ status: 503, body: { code: 'STORE_UNAVAILABLE' } })
    }
    const validate = await ask(authority.url, PATHS.validate, authority.keys.full, { deviceId: DEVICE })
    expect(validate).toMatchObject({ status: 503, body: { code: 'STORE_UNAVAILABLE' } })
    expect(validate.body).not.toHaveProperty('allowed')
  })
})

describe('several workers', () => {
  test.skipIf(process.platform !== 'linux')('share one port and see each stop', async () => {
    await using authority = await startTestLanes({ workers: 3 })
    await authority.register(DEVICE)
    const lanes = new Set<string>()
    for (let round = 0; round < 20; round++) {
      await authority.revoke(DEVICE)
      // A connection each, so that the kernel spreads them.
      const answers = await Promise.all(
        Array.from({ length: 10 }, () =>
          ask(
            authority.url,
            PATHS.validate,
            authority.keys.runtime,
            { deviceId: DEVICE },
            { connection: 'close' },
          ),
        ),
      )
      expect(answers.map(({ body }) => body.code)).toEqual(answers.map(() => 'DEVICE_REVOKED'))
      await authority.restore(DEVICE)
    }
    await delay(1200)
    for (const [, lane] of (await figures(authority.operatorUrl)).matchAll(
      /connections\{lane="(agent-\d)"\}/g,
    )) {
      lanes.add(lane ?? '')
    }
    expect([...lanes].sort()).toEqual(['agent-1', 'agent-2', 'agent-3'])
  })

  test('where threads cannot share a port are one clear error', async () => {
    const { platform } = process
    onTestFinished(() => void Object.defineProperty(process, 'platform', { value: platform }))
    Object.defineProperty(process, 'platform', { value: 'darwin' })
    const starting = startTestLanes({ workers: 2 })
    await expect(starting).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
    await expect(starting).rejects.toThrow(/VALIDATE_WORKERS=2: .* only on Linux, and this is darwin/)
  })

  test.skipIf(process.platform !== 'linux')('do not take a port that somebody else has', async () => {
    for (const reusePort of [false, true]) {
      const other = createWebServer({}, undefined, () => {})
      const { port } = await listen(other, { host: '127.0.0.1', port: 0, reusePort })
      await expect(startTestLanes({ workers: 2, port })).rejects.toThrow(
        /Another program has it.*CONTROL_PLANE_PORT/,
      )
      await closeServer(other)
    }
  })
})

describe('a lane in a thread', () => {
  test.each([
    ['fails', (worker: Worker) => worker.postMessage(null), /^TypeError/],
    ['ends', (worker: Worker) => void worker.terminate(), /thread of agent-1 ended with 1/],
  ])('that %s by itself is told: the process cannot go on without it', async (_, kill, told) => {
    const started = once(process, 'worker') as Promise<[Worker]>
    const died = Promise.withResolvers<unknown>()
    await using authority = await startTestLanes({ onDied: died.resolve })
    const [worker] = await started
    kill(worker)
    expect(String(await died.promise)).toMatch(told)
    // The other lane is there until the process ends.
    expect((await fetch(`${authority.operatorUrl}/healthz`)).status).toBe(200)
  })

  test('that is closed is not told, and leaves no thread behind', async () => {
    const started = once(process, 'worker') as Promise<[Worker]>
    const died: unknown[] = []
    await using authority = await startTestLanes({ onDied: (error) => died.push(error) })
    const [worker] = await started
    await authority.kill(1000)
    expect([worker.threadId, died]).toEqual([-1, []])
  })

  test('makes no WebAssembly code that threads share: Node 24 can free it while another thread takes it up', async () => {
    await using dir = await temporaryDirectory()
    const file = `${dir.path}/control-plane.db`
    await openControlPlaneStore({ file }).close()
    const log = `${dir.path}/v8.log`
    const flags = [
      '--conditions=holdpoint-source',
      '--log-code',
      `--logfile=${log}`,
      '--no-logfile-per-isolate',
    ]
    const program = join(import.meta.dirname, 'child-lane.ts')
    await promisify(execFile)(process.execPath, [...flags, program, file])
    const logged = readFileSync(log, 'latin1')
    const made = new Set([...logged.matchAll(/^code-creation,.*,(wasm-[a-z-]+)/gm)].map(([, what]) => what))
    expect(logged).toContain('validate-worker.ts')
    expect(made).toContain('wasm-function')
    expect(made).not.toContain('wasm-to-js')
  })

  test('G4, G5: that reads what is damaged gives no decision, and from then on nobody does', async () => {
    const fatal = Promise.withResolvers<string>()
    await using authority = await startTestLanes({ onFatal: ({ code }) => fatal.resolve(code) })
    await authority.register(DEVICE)
    await authority.restart()
    const { size } = statSync(authority.file)
    const handle = openSync(authority.file, 'r+')
    writeSync(handle, Buffer.alloc(size - 4096, 0xff), 0, size - 4096, 4096)
    closeSync(handle)
    const answer = await ask(authority.url, PATHS.validate, authority.keys.runtime, { deviceId: DEVICE })
    expect(answer).toMatchObject({ status: 503, body: { code: 'STORE_UNAVAILABLE' } })
    expect(await fatal.promise).toBe('STORE_CORRUPT')
    for (const lane of [authority.url, authority.operatorUrl]) {
      expect((await fetch(`${lane}/readyz`)).status).toBe(503)
    }
    const stop = await ask(authority.operatorUrl, PATHS.revoke, authority.keys.stop, { deviceId: DEVICE })
    expect(stop.status).toBe(503)
  })

  test('G4, G5: that reads what is damaged tells every other thread itself, however busy the main one is', async () => {
    await using authority = await startTestLanes()
    await authority.register(DEVICE)
    await authority.restart()
    const asking = await connected(authority.port)
    const looking = await connected(authority.port)
    const { size } = statSync(authority.file)
    const handle = openSync(authority.file, 'r+')
    writeSync(handle, Buffer.alloc(size - 4096, 0xff), 0, size - 4096, 4096)
    closeSync(handle)
    asking.write(
      `GET ${PATHS.validate}?deviceId=${DEVICE} HTTP/1.1\r\nhost: localhost\r\nx-org-key: ${authority.keys.runtime}\r\n\r\n`,
    )
    blockMs(300)
    looking.write('GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n')
    blockMs(300)
    const [answer] = (await once(looking.setEncoding('utf8'), 'data')) as [string]
    expect(answer).toMatch(/^HTTP\/1\.1 503 /)
    asking.destroy()
    looking.destroy()
  })

  test('that cannot listen is one clear error, and nothing stays open', async () => {
    await using taken = await takenPort()
    const starting = startTestLanes({ port: taken.port })
    await expect(starting).rejects.toMatchObject({ code: 'LISTEN_FAILED' })
    await expect(starting).rejects.toThrow(`127.0.0.1:${taken.port}. Another program has it`)
  })
})

describe('figures', () => {
  test('count decisions by code, changes by action, quotas and connections, of both lanes', async () => {
    for (const start of [startTestControlPlane, startTestLanes]) {
      await using authority = await start({ limits: { perKeyPerSecond: 3, perOrgPerSecond: 0 } })
      await authority.register(DEVICE)
      const { full, runtime } = authority.keys
      for (let turn = 0; turn < 2; turn++)
        await ask(authority.url, PATHS.validate, full, { deviceId: DEVICE })
      await authority.revoke(DEVICE)
      await ask(authority.url, PATHS.validate, full, { deviceId: DEVICE })
      for (let turn = 0; turn < 5; turn++)
        await ask(authority.url, PATHS.validate, runtime, { deviceId: DEVICE })
      await delay(2200)
      const text = await figures(authority.operatorUrl)
      expect(text).toContain('holdpoint_authority_decisions_total{code="ALLOW"} 2')
      expect(text).toMatch(/holdpoint_authority_decisions_total\{code="DEVICE_REVOKED"\} [45]/)
      expect(text).toContain('holdpoint_authority_changes_total{action="device.revoke"} 1')
      expect(text).toMatch(/holdpoint_authority_rate_limited_total\{scope="key"\} [12]/)
      expect(text).toMatch(/holdpoint_authority_event_loop_lag_seconds\{lane="agent.*"\} \d/)
      expect(text).toMatch(/holdpoint_authority_connections\{lane="operator"\} \d/)
      expect(await figures(authority.url)).toContain('holdpoint_authority_shed_total 0')
    }
  })

  test.each([0, 1])(
    'are for this machine, and for the token for them from elsewhere, with TRUST_PROXY=%s',
    async (trustedProxies) => {
      const tokens = { platformToken: 'p'.repeat(32), metricsToken: 'm'.repeat(32) }
      await using authority = await startTestLanes({ ...tokens, trustedProxies })
      for (const lane of [authority.url, authority.operatorUrl]) {
        const from = async (headers: Record<string, string>) =>
          (await fetch(`${lane}/metrics`, { headers })).status
        expect(await from({})).toBe(200)
        for (const relayed of [
          { 'x-forwarded-for': '9.9.9.9' },
          { 'x-forwarded-for': '127.0.0.1' },
          { forwarded: 'for=127.0.0.1' },
          { 'x-real-ip': '127.0.0.1' },
        ]) {
          expect(await from(relayed)).toBe(403)
          expect(await from({ ...relayed, authorization: `Bearer ${'q'.repeat(32)}` })).toBe(403)
          expect(await from({ ...relayed, authorization: `Bearer ${'p'.repeat(32)}` })).toBe(403)
          expect(await from({ ...relayed, authorization: `Bearer ${'m'.repeat(32)}` })).toBe(200)
        }
      }
    },
  )

  const outside = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .find(({ internal, family }) => !internal && family === 'IPv4')?.address
  test.skipIf(outside === undefined)('are for nobody who only says that he is on this machine', async () => {
    await using dir = await temporaryDirectory()
    const file = `${dir.path}/control-plane.db`
    const served = await serveControlPlane({
      store: openControlPlaneStore({ file }),
      source: { kind: 'sqlite', file },
      log: createLogger({ level: 'silent' }),
      host: outside ?? '',
      port: 0,
      operatorPort: 0,
      loopback: false,
      trustedProxies: 1,
      onDied: () => {},
    })
    onTestFinished(() => served.close({ graceMs: 0 }))
    for (const lane of [served.url, served.operatorUrl]) {
      for (const headers of [{}, { 'x-forwarded-for': '127.0.0.1' }]) {
        expect((await fetch(`${lane}/metrics`, { headers })).status).toBe(403)
      }
    }
  })
})

async function connected(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  return socket
}

function blockMs(ms: number): void {
  const untilMs = performance.now() + ms
  while (performance.now() < untilMs);
}

async function figures(url: string): Promise<string> {
  const answer = await fetch(`${url}/metrics`)
  expect(answer.headers.get('content-type')).toContain('text/plain')
  return answer.text()
}

async function origins(authority: TestControlPlane): Promise<unknown[]> {
  const { body } = await authority.get(PATHS.audit, authority.keys.admin)
  const rows = body.rows as { action: string; origin: string }[]
  return rows.filter(({ action }) => action === 'device.revoke').map(({ origin }) => origin)
}
