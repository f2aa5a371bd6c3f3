import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'
import { send } from './sessions/browser.ts'

const SCRIPT = 'export const console = "x".repeat(1)\n'.repeat(50)
const page = (name: string) =>
  `<html><head><meta property="csp-nonce" nonce="__CSP_NONCE__"><script nonce="__CSP_NONCE__" src="/console/assets/a.js"></script></head><body>${name}</body></html>`

let dir: string
let authority: TestControlPlane
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'holdpoint-console-'))
  await mkdir(join(dir, 'console/assets'), { recursive: true })
  await writeFile(join(dir, 'secret.txt'), 'SECRET')
  await writeFile(join(dir, 'console/index.html'), page('app'))
  await writeFile(join(dir, 'console/stop.html'), page('stop'))
  await writeFile(join(dir, 'console/icon.svg'), '<svg/>')
  await writeFile(join(dir, 'console/.hidden.txt'), 'SECRET')
  await writeFile(join(dir, 'console/assets/index-B1x_-9.js'), SCRIPT)
  await writeFile(join(dir, 'console/assets/font.woff2'), 'font')
  authority = await startTestControlPlane({ consoleDir: pathToFileURL(`${join(dir, 'console')}/`) })
})
afterAll(async () => {
  await authority.close()
  await rm(dir, { recursive: true })
})

const get = (path: string, exchange?: Parameters<typeof send>[1]) =>
  send(`${authority.operatorUrl}${path}`, exchange)
const nonceIn = (text: string) => /nonce="([^"]+)"/.exec(text)?.[1] ?? ''

describe('a page of the console', () => {
  test('is one for every path that is no file: the page itself knows what to show', async () => {
    for (const path of [
      '/console',
      '/console/',
      '/console/devices',
      '/console/runs/a.b%2F..%2Fc',
      '/console/?x=1',
    ]) {
      const answer = await get(path)
      expect([path, answer.status, answer.text.includes('<body>app')]).toEqual([path, 200, true])
      expect(answer.headers.get('content-type')).toBe('text/html; charset=utf-8')
      expect(answer.headers.get('cache-control')).toBe('no-store')
    }
    for (const path of ['/console/stop', '/console/stop/', '/console/stop.html']) {
      expect((await get(path)).text).toContain('<body>stop')
    }
    expect((await get('/console/index.html')).text).not.toContain('__CSP_NONCE__')
    expect((await get('/consolex')).status).toBe(404)
  })

  test('takes nothing from elsewhere, runs nothing inline, is in nobody’s frame', async () => {
    const { headers, text } = await get('/console')
    expect(headers.get('content-security-policy')).toBe(
      "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-" +
        `${nonceIn(text)}'; img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; ` +
        "form-action 'none'; frame-ancestors 'none'",
    )
    expect(Object.fromEntries(headers)).toMatchObject({
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
    })
  })

  test('has a nonce of its own each time, everywhere in it', async () => {
    const pages = await Promise.all(Array.from({ length: 20 }, () => get('/console')))
    for (const { text } of pages) {
      expect(text).not.toContain('__CSP_NONCE__')
      expect(text.split(`nonce="${nonceIn(text)}"`)).toHaveLength(3)
      expect(Buffer.from(nonceIn(text), 'base64')).toHaveLength(16)
    }
    expect(new Set(pages.map(({ text }) => nonceIn(text))).size).toBe(20)
  })

  test('is there on the lane of operators only, and under its own names', async () => {
    expect((await send(`${authority.url}/console`)).status).toBe(404)
    expect((await send(`${authority.url}/console/assets/index-B1x_-9.js`)).status).toBe(404)
    expect((await get('/console', { headers: { host: 'evil.example' } })).status).toBe(403)
  })

  test('is only looked at', async () => {
    const head = await get('/console', { method: 'HEAD' })
    const whole = await get('/console')
    expect([head.status, head.text]).toEqual([200, ''])
    expect(head.headers.get('content-length')).toBe(whole.headers.get('content-length'))
    for (const exchange of [{ method: 'PUT' }, { body: {} }] as const) {
      const answer = await get('/console/devices', exchange)
      expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'GET, HEAD'])
    }
  })
})

describe('a file of the console', () => {
  test('with a hashed name is kept for good, and zipped for who takes that', async () => {
    const path = '/console/assets/index-B1x_-9.js'
    const plain = await get(path)
    expect(plain.text).toBe(SCRIPT)
    const { headers } = plain
    expect(headers.get('content-type')).toBe('text/javascript; charset=utf-8')
    expect(headers.get('cache-control')).toBe('public, max-age=31536000, immutable')
    expect([headers.get('vary'), headers.get('x-content-type-options')]).toEqual([
      'accept-encoding',
      'nosniff',
    ])
    for (let times = 0; times < 2; times++) {
      const zipped = await fetch(`${authority.operatorUrl}${path}`, {
        headers: { 'accept-encoding': 'gzip' },
      })
      expect(zipped.headers.get('content-encoding')).toBe('gzip')
      expect(Number(zipped.headers.get('content-length'))).toBeLessThan(SCRIPT.length)
      expect(await zipped.text()).toBe(SCRIPT)
    }
    expect((await get('/console/assets/font.woff2')).headers.get('content-type')).toBe('font/woff2')
  })

  test('without one is asked for again', async () => {
    const { headers, text } = await get('/console/icon.svg')
    expect([text, headers.get('content-type'), headers.get('cache-control')]).toEqual([
      '<svg/>',
      'image/svg+xml',
      'no-cache',
    ])
  })

  test('that is gone is told, and is no page: a script must not get HTML', async () => {
    const { status, text } = await get('/console/assets/old-123.js')
    expect([status, text]).toEqual([404, expect.stringContaining('Load the page again')])
  })

  test('is in its folder: no path leads out of it', async () => {
    const paths = [
      '/console/../secret.txt',
      '/console/assets/../../secret.txt',
      '/console/assets/..%2f..%2fsecret.txt',
      '/console/%2e%2e/secret.txt',
      '/console/..\\secret.txt',
      '/console//etc/passwd',
      '/console/.hidden.txt',
      '/console/assets/',
      '/console/assets/.',
      '/console/secret.txt%00.js',
    ]
    for (const path of paths) {
      const answer = await raw(path)
      expect(answer).toMatch(/^HTTP\/1\.1 (?:200|400|404) /)
      expect(answer).not.toContain('SECRET')
      expect(answer).not.toContain('root:')
    }
  })

  /** As it is, which a client that knows URLs would not send. */
  const raw = (path: string) =>
    new Promise<string>((resolve, reject) => {
      const { port, host } = new URL(authority.operatorUrl)
      let text = ''
      const socket = connect(Number(port), '127.0.0.1', () => {
        socket.write(`GET ${path} HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`)
      })
      socket.setEncoding('utf8')
      socket.on('data', (chunk: string) => void (text += chunk))
      socket.on('end', () => resolve(text)).on('error', reject)
    })
})

test('a console that is not built says how to build it, and the API works without', async () => {
  await using unbuilt = await startTestControlPlane({ consoleDir: pathToFileURL(`${join(dir, 'none')}/`) })
  for (const path of ['/console', '/console/stop', '/console/devices']) {
    const answer = await send(`${unbuilt.operatorUrl}${path}`)
    expect(answer.status).toBe(503)
    expect(answer.headers.get('content-type')).toBe('text/plain; charset=utf-8')
    expect(answer.text).toContain('npm run build:console')
  }
  expect((await unbuilt.get('/openapi.json')).status).toBe(200)
})
