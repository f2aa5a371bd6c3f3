import { Agent } from 'undici'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { PATHS } from '../../../src/machineid/paths.ts'
import { startTestControlPlane, type TestControlPlane } from '../../fixtures/control-plane.ts'
import { selfSigned } from '../../fixtures/certificate.ts'
import { cookieOf, send, signIn, startSession, type SignedIn } from './browser.ts'

const CONSOLE_URL = 'https://ops.example.com/holdpoint'
const OWN_HOST = 'ops.example.com'

let authority: TestControlPlane
let person: SignedIn
beforeAll(async () => {
  authority = await startTestControlPlane({
    consoleUrl: CONSOLE_URL,
    hosts: [OWN_HOST],
    trustedProxies: 1,
    limitCalls: true,
  })
  person = await signIn(authority, { key: authority.keys.admin })
})
afterAll(() => authority.close())

describe('which page a call with the cookie comes from', () => {
  const CSRF = {
    right: () => person.session.csrfToken,
    wrong: () => `hpx_${'a'.repeat(43)}`,
    none: () => undefined,
  }
  const ORIGINS = {
    own: () => authority.operatorUrl,
    CONSOLE_URL: () => `https://${OWN_HOST}`,
    foreign: () => 'https://evil.example',
    'another port': () => 'http://127.0.0.1:1',
    null: () => 'null',
    none: () => undefined,
  }
  const SITES = ['same-origin', 'same-site', 'cross-site', 'none', undefined]
  const OWN = new Set(['own', 'CONSOLE_URL', 'none'])

  const rows = Object.keys(CSRF).flatMap((csrf) =>
    Object.keys(ORIGINS).flatMap((origin) => SITES.map((site) => ({ csrf, origin, site }))),
  ) as { csrf: keyof typeof CSRF; origin: keyof typeof ORIGINS; site: string | undefined }[]

  test('each of csrf token × origin × sec-fetch-site, for a POST', async () => {
    for (const { csrf, origin, site } of rows) {
      const [token, from] = [CSRF[csrf](), ORIGINS[origin]()]
      const answer = await send(`${authority.operatorUrl}${PATHS.sessionRefresh}`, {
        body: {},
        headers: {
          cookie: person.cookie,
          ...(token && { 'x-csrf-token': token }),
          ...(from && { origin: from }),
          ...(site && { 'sec-fetch-site': site }),
        },
      })
      const isOwn = OWN.has(origin) && (site === undefined || site === 'same-origin')
      const expected = !isOwn ? 'ORIGIN_NOT_ALLOWED' : csrf === 'right' ? undefined : 'CSRF_REFUSED'
      expect([csrf, origin, site, answer.body.code]).toEqual([csrf, origin, site, expected])
    }
  })

  test('and for a GET, which needs no token, but may not be set off by another site', async () => {
    for (const { origin, site } of rows.filter(({ csrf }) => csrf === 'none')) {
      const from = ORIGINS[origin]()
      const answer = await person.get(PATHS.list, {
        ...(from && { origin: from }),
        ...(site && { 'sec-fetch-site': site }),
      })
      const isOwn = OWN.has(origin) && site !== 'same-site' && site !== 'cross-site'
      expect([origin, site, answer.status]).toEqual([origin, site, isOwn ? 200 : 403])
    }
  })

  test('a sign-in is refused to other pages too: nobody is signed in as somebody else', async () => {
    for (const headers of [{ origin: 'https://evil.example' }, { 'sec-fetch-site': 'cross-site' }]) {
      const answer = await startSession(authority, { key: authority.keys.admin }, headers)
      expect([answer.status, answer.body.code]).toEqual([403, 'ORIGIN_NOT_ALLOWED'])
    }
  })
})

describe('the cookie', () => {
  const HTTPS = /^__Host-holdpoint-session=hps_[\w-]+; Path=\/; HttpOnly; SameSite=Strict; Secure$/
  const body = () => ({ key: authority.keys.viewer })

  test('behind a trusted proxy that says https, or at an https CONSOLE_URL, it is for HTTPS only', async () => {
    for (const headers of [{ 'x-forwarded-proto': 'https' }, { host: OWN_HOST }]) {
      const answer = await startSession(authority, body(), headers)
      expect(answer.headers.get('set-cookie')).toMatch(HTTPS)
      const cookie = cookieOf(answer)
      const list = `${authority.operatorUrl}${PATHS.list}`
      expect((await send(list, { headers: { ...headers, cookie } })).status).toBe(200)
      // The plain name could have been set by anybody on the way.
      const plain = cookie.replace('__Host-', '')
      expect((await send(list, { headers: { ...headers, cookie: plain } })).body.code).toBe('KEY_MISSING')
      const out = await send(`${authority.operatorUrl}${PATHS.sessionEnd}`, {
        body: {},
        headers: { ...headers, cookie, 'x-csrf-token': answer.body.csrfToken },
      })
      expect(out.headers.get('set-cookie')).toMatch(/^__Host-holdpoint-session=; .*; Secure; Max-Age=0$/)
    }
  })

  test('behind a proxy of this machine that puts its own name in the place of Host, it is for HTTPS only too', async () => {
    // As nginx does by default. That it was HTTPS says the page, whose address is that of CONSOLE_URL.
    const page = { origin: `https://${OWN_HOST}`, 'sec-fetch-site': 'same-origin' }
    const answer = await startSession(authority, body(), page)
    expect(answer.headers.get('set-cookie')).toMatch(HTTPS)
    const cookie = cookieOf(answer)
    const proof = { ...page, 'x-csrf-token': answer.body.csrfToken }
    const get = (headers: Record<string, string>) =>
      send(`${authority.operatorUrl}${PATHS.session}`, { headers })
    expect((await get({ cookie })).status).toBe(200)
    // Another host of the same domain can set the plain name: it counts for less.
    const planted = await signIn(authority, { key: authority.keys.stop })
    expect((await get({ cookie: `${planted.cookie}; ${cookie}` })).body.sessionId).toBe(answer.body.sessionId)
    for (const path of [PATHS.sessionRefresh, PATHS.sessionEnd]) {
      const done = await send(`${authority.operatorUrl}${path}`, { body: {}, headers: { ...proof, cookie } })
      expect([done.status, done.headers.get('set-cookie')]).toEqual([
        200,
        expect.stringMatching(/^__Host-holdpoint-session=.*; Secure/),
      ])
    }
  })

  test('what a client says of itself counts for nothing where no proxy is trusted', async () => {
    await using direct = await startTestControlPlane()
    const answer = await startSession(direct, { key: direct.keys.viewer }, { 'x-forwarded-proto': 'https' })
    expect(answer.headers.get('set-cookie')).toMatch(
      /^holdpoint-session=hps_[^;]*; Path=\/; HttpOnly; SameSite=Strict$/,
    )
  })

  test('over TLS of our own it is for HTTPS only, and everything works with it', async () => {
    const { key, cert } = selfSigned()
    await using secure = await startTestControlPlane({ tls: { key, cert } })
    const dispatcher = new Agent({ connect: { ca: cert } })
    const started = await send(`${secure.operatorUrl}${PATHS.session}`, {
      body: { key: secure.keys.operator },
      headers: { origin: secure.operatorUrl, 'sec-fetch-site': 'same-origin' },
      dispatcher,
    })
    expect(started.headers.get('set-cookie')).toMatch(HTTPS)
    const headers = {
      cookie: cookieOf(started),
      'x-csrf-token': started.body.csrfToken,
      origin: secure.operatorUrl,
    }
    const refreshed = await send(`${secure.operatorUrl}${PATHS.sessionRefresh}`, {
      body: {},
      headers,
      dispatcher,
    })
    expect(refreshed.status).toBe(200)
    expect(refreshed.headers.get('set-cookie')).toMatch(HTTPS)
    await dispatcher.close()
  })

  test('over plain HTTP from elsewhere there is none: the sign-in says what to do', async () => {
    await using remote = await startTestControlPlane({ loopback: false })
    const answer = await startSession(remote, { key: remote.keys.admin }, { host: 'control-plane.example' })
    expect([answer.status, answer.body.code]).toEqual([403, 'HTTPS_REQUIRED'])
    expect(answer.body.message).toContain('CONSOLE_URL')
    const local = await signIn(remote, { key: remote.keys.admin })
    const elsewhere = { host: 'control-plane.example' }
    expect((await local.get(PATHS.list, elsewhere)).body.code).toBe('KEY_MISSING')
  })
})

test('ten sign-ins that fail from one network are enough; a genuine key gets in all the same', async () => {
  const from = (address: string) => ({ 'x-forwarded-for': address })
  const fail = () => startSession(authority, { key: 'org_nothing' }, from('203.0.113.7'))
  const codes = []
  for (let tries = 0; tries < 11; tries++) codes.push((await fail()).body.code)
  expect(codes).toEqual([...Array.from({ length: 10 }, () => 'KEY_INVALID'), 'RATE_LIMITED'])
  const limited = await fail()
  expect(limited.status).toBe(429)
  expect(Number(limited.headers.get('retry-after'))).toBeGreaterThan(0)
  // Nobody can keep an operator away from the stop button.
  expect((await startSession(authority, { key: authority.keys.stop }, from('203.0.113.7'))).status).toBe(200)
  expect((await startSession(authority, { key: 'org_nothing' }, from('203.0.113.8'))).body.code).toBe(
    'KEY_INVALID',
  )
})
