import type { TlsOptions } from 'node:tls'

import { describe, expect, onTestFinished, test, vi } from 'vitest'

import { selfSigned } from '../fixtures/certificate.ts'
import { allow, ask, codeOf, ORG_KEY, serverAndClient } from './harness.ts'

const GOOD = selfSigned()
const DAY_MS = 86_400_000
const HOUR_AGO = new Date(Date.now() - 3_600_000)
const IN_A_DAY = new Date(Date.now() + DAY_MS)

const OLD = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const

async function askOverTls(tls: TlsOptions, options: object) {
  const made = await serverAndClient((request, socket) => socket.write(allow(request)), options, { tls })
  return { ...made, answer: await ask(made.client, { timeoutMs: 2000 }) }
}

describe('the authority must prove who it is', () => {
  test('a private CA that is named: allowed', async () => {
    const { answer } = await askOverTls(GOOD, { caPem: GOOD.cert })
    expect(codeOf(answer)).toBe('ALLOW')
  })

  const expired = selfSigned({ notBefore: new Date(Date.now() - DAY_MS), notAfter: HOUR_AGO })
  const early = selfSigned({ notBefore: IN_A_DAY, notAfter: new Date(Date.now() + 2 * DAY_MS) })
  const wrongHost = selfSigned({ ip: '127.0.0.2' })
  test.each<[string, TlsOptions, object]>([
    ['147: an expired certificate', expired, { caPem: expired.cert }],
    ['148: a certificate that is not valid yet', early, { caPem: early.cert }],
    ['149: a certificate for another host', wrongHost, { caPem: wrongHost.cert }],
    ['150: a self-signed certificate', GOOD, {}],
    ['150: a certificate of another CA', GOOD, { caPem: selfSigned().cert }],
    ['151: TLS 1.1 only', { ...GOOD, ...OLD }, { caPem: GOOD.cert }],
  ])('%s is AUTHORITY_TLS, and the key is not sent', async (_, tls, options) => {
    const { answer, server } = await askOverTls(tls, options)
    expect(answer).toMatchObject({ answered: false, code: 'AUTHORITY_TLS' })
    expect(server.requests).toHaveLength(0)
    // Another attempt would end the same way.
    expect(server.connectionCount).toBe(1)
  })

  test('152: NODE_TLS_REJECT_UNAUTHORIZED=0 that is set later changes nothing', async () => {
    const made = await serverAndClient((request, socket) => socket.write(allow(request)), {}, { tls: GOOD })
    vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0')
    onTestFinished(() => void vi.unstubAllEnvs())
    expect(codeOf(await ask(made.client))).toBe('AUTHORITY_TLS')
    expect(made.server.requests).toHaveLength(0)
  })

  test('https to a port that speaks plain http: AUTHORITY_TLS, and the key is not sent', async () => {
    let received = ''
    const { server } = await serverAndClient(
      () => {},
      {},
      {
        onConnection: (socket) => {
          socket.on('data', (chunk) => (received += chunk.toString('latin1')))
          socket.write('HTTP/1.1 400 Bad Request\r\n\r\n')
          return true
        },
      },
    )
    const { client } = await serverAndClient(() => {}, { baseUrl: server.url.replace('http:', 'https:') })
    expect(codeOf(await ask(client))).toBe('AUTHORITY_TLS')
    expect(received).not.toContain(ORG_KEY)
  })

  test('a TLS handshake that never ends is within the deadline', async () => {
    const { server } = await serverAndClient(() => {}, {}, { onConnection: () => true })
    const { client } = await serverAndClient(() => {}, { baseUrl: server.url.replace('http:', 'https:') })
    const startMs = performance.now()
    expect(codeOf(await ask(client, { timeoutMs: 150 }))).toBe('AUTHORITY_TIMEOUT')
    expect(performance.now() - startMs).toBeLessThan(400)
  })
})
