import { crc32 } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import type { ApiContext } from '../../src/control-plane/api-route.ts'
import { apiRoutes } from '../../src/control-plane/api.ts'
import { keyIdOf, mintKey } from '../../src/control-plane/keys.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { ErrorResponse, KEY_KINDS, type KeyKind } from '../../src/machineid/wire.ts'
import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'
import {
  CALLS,
  createWorld,
  DEVICE,
  drillsInNoTime,
  dump,
  KEY_CALLS,
  ready,
  TESTER,
  type World,
} from './key-matrix.ts'

const PLATFORM = 'platform-token'
/** What is noted of a caller who is let in, some time after the answer. */
const SEEN = ['keys_seen', 'devices_seen', 'decisions', 'replicas', 'stop_acks']
/** A runtime key may register, and is noted, before it may not restore. */
const UNSEEN = { without: ['keys_seen'] }

let nowMs = Date.UTC(2026, 10, 22)
const clock = { now: () => ({ monotonicMs: nowMs, wallMs: nowMs }) }

/** Asked only what it refuses, so that nothing but a refused call can change a row of it. */
let refusing: TestControlPlane
let authority: TestControlPlane
let worlds: { readonly refusing: World; readonly authority: World }
beforeAll(async () => {
  const options = { platformToken: PLATFORM, plan: 'max', clock } as const
  refusing = await startTestControlPlane(options)
  const drillRunner = drillsInNoTime()
  authority = await startTestControlPlane({ ...options, drillRunner })
  drillRunner.orgId = authority.orgId
  worlds = { refusing: createWorld(refusing), authority: createWorld(authority) }
  for (const { service, orgId } of [refusing, authority]) {
    await service.register(TESTER, orgId, { deviceId: DEVICE })
  }
})
afterAll(async () => {
  await refusing.close()
  await authority.close()
})

const withKey = (key: string) => ({ 'x-org-key': key })
const previews = ({ previews: offered }: { readonly previews?: true }) => (offered ? ['', PREVIEW] : [''])
const PREVIEW = 'preview=true'

describe('the matrix', () => {
  // The table is only looked at: nothing in it is called.
  const table = () => apiRoutes({ ...authority.controlPlane } as unknown as ApiContext)
  const rows = [...new Set(CALLS.map(({ method, path }) => `${method} ${path}`))]

  test('has every call of the API: a new one belongs into it', () => {
    const routes = table().map(({ method, path }) => `${method.toUpperCase()} ${path}`)
    expect(routes.filter((route) => !rows.includes(route))).toEqual([])
    expect(Object.values(PATHS).filter((path) => !CALLS.some((call) => call.path === path))).toEqual([])
    // Validates and the stream of stops are not in the API's own table: the lane answers them.
    const missing = rows.filter((row) => row.includes('/api/') && !routes.includes(row))
    const validates = [`POST ${PATHS.validate}`, `GET ${PATHS.validate}`, `POST ${PATHS.validateBatch}`]
    validates.push(`GET ${PATHS.stops}`)
    expect(missing.filter((row) => !validates.includes(row))).toEqual([])
  })

  test('says what the API says of itself', () => {
    for (const { method, path, access, hasPreview, stop } of table()) {
      const row = CALLS.find((call) => call.path === path && call.method === method.toUpperCase())
      const said = { access: access === 'open' ? 'platform' : access, hasPreview, stop }
      expect({ method, path, ...said }).toEqual({
        method,
        path,
        access: row?.access,
        hasPreview: row?.previews ?? false,
        stop: row?.stops,
      })
    }
  })
})

describe.each(KEY_CALLS)('$name', (call) => {
  const others = KEY_KINDS.filter((kind) => !call.access.includes(kind))

  test.each(others)('a %s key may not: 403, and no row changes', async (kind) => {
    const send = await ready(worlds.refusing, call)
    const before = dump(refusing.file, UNSEEN)
    for (const query of previews(call)) {
      const { status, body } = await send(refusing.url, withKey(refusing.keys[kind]), query)
      expect({ status, code: body.code }).toEqual({ status: 403, code: 'INSUFFICIENT_SCOPE' })
      expect(ErrorResponse.parse(body)).toMatchObject({ status: 'error', error: 'insufficient_scope' })
    }
    expect(dump(refusing.file, UNSEEN)).toEqual(before)
  })

  test('with no key, or one that is no good: 401 with its code, and no row changes', async () => {
    const kind = call.access[0] as KeyKind
    const bad = await badKeys(kind)
    const send = await ready(worlds.refusing, call)
    const before = dump(refusing.file, UNSEEN)
    for (const { code, headers, query } of bad) {
      for (const preview of previews(call)) {
        const asked = [query, preview].filter(Boolean).join('&')
        const { status, body } = await send(refusing.url, headers, asked)
        expect({ status, code: body.code, headers }).toEqual({ status: 401, code, headers })
        ErrorResponse.parse(body)
        expect(JSON.stringify(body)).not.toContain(refusing.keys[kind].slice(-51))
      }
    }
    expect(dump(refusing.file, UNSEEN)).toEqual(before)
  })

  test.each(call.access)('a %s key may', async (kind) => {
    const send = await ready(worlds.authority, call)
    const { status, body } = await send(authority.url, withKey(authority.keys[kind]))
    expect({ status, body }).toMatchObject({ status: call.status ?? 200 })
  })

  test.each(call.previews ? call.access : [])('a %s key may look first, and no row changes', async (kind) => {
    const send = await ready(worlds.authority, call)
    const before = dump(authority.file, { without: SEEN })
    const { status, body } = await send(authority.url, withKey(authority.keys[kind]), PREVIEW)
    expect({ status, body }).toMatchObject({ status: 200, body: { preview: true, orgId: authority.orgId } })
    expect(dump(authority.file, { without: SEEN })).toEqual(before)
  })

  test("another org's key reaches nothing of this one", async () => {
    const other = await authority.service.createOrg({ kinds: KEY_KINDS })
    const send = await ready(worlds.authority, call)
    const options = { orgId: authority.orgId, without: SEEN }
    const before = dump(authority.file, options)
    const mine = [authority.orgId, ...Object.values(authority.keys).map(keyIdOf)]
    for (const kind of call.access) {
      for (const query of previews(call)) {
        const { status, body } = await send(authority.url, withKey(other.keys[kind] ?? ''), query)
        expect([200, 400, 404, 409, call.status]).toContain(status)
        expect(mine.filter((text) => JSON.stringify(body ?? '').includes(String(text)))).toEqual([])
      }
    }
    expect(dump(authority.file, options)).toEqual(before)
  })
})

/** Keys that are no good, each with what it is refused with. */
async function badKeys(kind: KeyKind) {
  const { service, orgId, keys } = refusing
  const issue = () => service.issueKey({ orgId, kind, caller: TESTER })
  const burned = await issue()
  await service.burnKey(TESTER, orgId, { keyId: burned.keyId })
  const rotatedAtOnce = await issue()
  await service.rotateKey(TESTER, orgId, { keyId: rotatedAtOnce.keyId, overlapSeconds: 0 })
  const expired = await issue()
  await service.rotateKey(TESTER, orgId, { keyId: expired.keyId, overlapSeconds: 60 })
  nowMs += 60_000
  await service.endKeys()
  const good = keys[kind]
  const row = (code: string, headers: Record<string, string> = {}, query = '') => ({ code, headers, query })
  return [
    row('KEY_MISSING'),
    row('KEY_MISSING', withKey('')),
    row('KEY_MISSING', {}, `x-org-key=${good}`),
    row('KEY_MISSING', {}, `key=${good}`),
    row('KEY_MISSING', { authorization: `Bearer ${good}` }),
    row('KEY_MISSING', { authorization: `Bearer ${PLATFORM}` }),
    row('KEY_INVALID', withKey('org_nonsense')),
    row('KEY_INVALID', withKey(PLATFORM)),
    row('KEY_INVALID', withKey(mintKey(kind).key)),
    row('KEY_INVALID', withKey(sameIdOtherSecret(good))),
    row('KEY_INVALID', withKey(good.slice(0, -1) + (good.endsWith('0') ? '1' : '0'))),
    row('KEY_INVALID', withKey(good.replace(kind, kind === 'full' ? 'admin' : 'full'))),
    row('KEY_BURNED', withKey(burned.key)),
    row('KEY_BURNED', withKey(rotatedAtOnce.key)),
    row('KEY_EXPIRED', withKey(expired.key)),
  ]
}

/** With a checksum that fits: only the digest tells. */
function sameIdOtherSecret(key: string): string {
  const body = key.slice(0, -51) + mintKey('full').key.slice(-51, -8)
  return body + crc32(body).toString(16).padStart(8, '0')
}

describe.each(CALLS.filter(({ access }) => access === 'platform'))('$name', (call) => {
  test.each(KEY_KINDS)('a %s key may not: it takes the platform token, and no row changes', async (kind) => {
    const send = await ready(worlds.refusing, call)
    const key = refusing.keys[kind]
    const before = dump(refusing.file, UNSEEN)
    for (const headers of [{}, withKey(key), { authorization: `Bearer ${key}` }, withKey(PLATFORM)]) {
      for (const preview of previews(call)) {
        const { status, body } = await send(refusing.url, headers, preview)
        expect({ status, code: body.code }).toEqual({ status: 401, code: 'PLATFORM_TOKEN_INVALID' })
      }
    }
    expect(dump(refusing.file, UNSEEN)).toEqual(before)
  })

  test('the platform token may', async () => {
    const send = await ready(worlds.authority, call)
    for (const preview of previews(call)) {
      const headers = { authorization: `Bearer ${PLATFORM}` }
      expect(await send(authority.url, headers, preview)).toMatchObject({ status: 200 })
    }
  })
})

describe.each(CALLS.filter(({ access }) => access === 'none'))('$name', (call) => {
  test('is answered to anybody, with a key or without one', async () => {
    const send = await ready(worlds.authority, call)
    const some = [{}, withKey(authority.keys.runtime), withKey(authority.keys.admin), withKey('org_x')]
    for (const headers of some) {
      expect(await send(authority.url, headers)).toMatchObject({ status: call.status ?? 200 })
    }
  })
})

describe.each(KEY_CALLS.filter(({ method }) => method === 'POST'))('$name', ({ path, access }) => {
  test('the key is judged before the body, so that a stranger learns nothing from his mistakes', async () => {
    const nonsense = { deviceId: 7, deviceIds: 7, pattern: 7, kind: 7 }
    const at = path.replace(':id', 'x')
    expect((await refusing.post(at, nonsense, mintKey('full').key)).body.code).toBe('KEY_INVALID')
    for (const kind of KEY_KINDS.filter((other) => !access.includes(other))) {
      expect((await refusing.post(at, nonsense, refusing.keys[kind])).body.code).toMatch(
        path === PATHS.register ? /^(?:INSUFFICIENT_SCOPE|DEVICE_ID_INVALID)$/ : /^INSUFFICIENT_SCOPE$/,
      )
    }
  })
})

test('a key that was refused was not used, and a device that it asked about was told nothing', async () => {
  await refusing.kill(1000)
  const { keys_seen, devices_seen, decisions } = dump(refusing.file)
  expect({ devices_seen, decisions }).toEqual({ devices_seen: [], decisions: [] })
  expect(keys_seen).toEqual([expect.stringContaining(keyIdOf(refusing.keys.runtime) ?? '')])
})
