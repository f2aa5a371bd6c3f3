import { hash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

import { keyIdOf } from '../../src/control-plane/keys.ts'
import { createLogger } from '../../src/log.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import type { TestControlPlane } from '../fixtures/control-plane.ts'
import { startTestRecovery } from '../fixtures/recovery.ts'
import { burnPath, rotatePath } from './key-calls.ts'
import { CALLS, createWorld, DEVICE, drillsInNoTime, dump, ready } from './key-matrix.ts'
import { cookieOf, signIn } from './sessions/browser.ts'

const PLATFORM = 'platform-token-7c1f0a52b8'
/** Much shorter than a secret: no part of one may be there either. */
const PART = 12

test('nothing but digests at rest: after use of every call no file and no log line holds a key, a token or a part of one', async () => {
  let logged = ''
  const log = createLogger({ level: 'trace', destination: { write: (line) => void (logged += line) } })
  const drillRunner = drillsInNoTime((key) => keys.add(key))
  await using recovery = await startTestRecovery({
    drillRunner,
    platformToken: PLATFORM,
    plan: 'max',
    recordAllows: true,
    log,
  })
  const { authority } = recovery
  drillRunner.orgId = authority.orgId
  const keys = new Set(Object.values(authority.keys))
  await authority.register(DEVICE)
  const tokens = [await recovery.newToken(), await recovery.newToken()]
  keys.add((await recovery.confirm(tokens[0] ?? '')).body.key)
  const person = await signIn(authority, { key: authority.keys.admin })
  const refreshed = person.as(cookieOf(await person.post(PATHS.sessionRefresh)))
  tokens.push(...[person, refreshed].flatMap(({ cookie }) => cookie.split('_').slice(-2)))
  tokens.push(person.session.csrfToken)
  await useEveryCall(authority, keys)
  await quoteKeys(authority, keys)
  await authority.service.decisions.flush()
  expect(keys.size).toBeGreaterThan(CALLS.length / 5)

  const digests = new RegExp([...keys].map((key) => hash('sha256', key, 'hex')).join('|'))
  expect(JSON.stringify(dump(authority.file)['keys'])).toMatch(digests)
  const parts = new Set([...[...keys].map(secretOf), ...tokens].flatMap(partsOf))
  const look = () => {
    for (const [name, bytes] of filesOf(authority)) {
      expect({ name, found: [...parts].filter((part) => bytes.includes(part)) }).toEqual({ name, found: [] })
      expect({ name, platform: bytes.includes(PLATFORM) }).toEqual({ name, platform: false })
    }
  }
  // With the WAL, and once it has been copied into the database.
  expect(filesOf(authority).find(([name]) => name.endsWith('-wal'))?.[1].length).toBeGreaterThan(0)
  look()
  await authority.kill(1000)
  look()
  // What a look would find: the digests are there, and so are the ids.
  const database = filesOf(authority).find(([name]) => name === 'control-plane.db')?.[1] ?? ''
  for (const key of keys) expect(database).toContain(keyIdOf(key))
  for (const row of dump(authority.file)['audit'] ?? []) expect(row).not.toMatch(digests)
  expect(database).toContain('pasted org_[redacted] by mistake')

  expect(logged).toContain('key burned')
  expect([...parts].filter((part) => logged.includes(part))).toEqual([])
  expect(logged).not.toContain(PLATFORM)
})

async function useEveryCall(authority: TestControlPlane, keys: Set<string>): Promise<void> {
  const world = createWorld(authority)
  for (const call of CALLS) {
    const send = await ready(world, call)
    const kind = Array.isArray(call.access) ? call.access.at(-1) : undefined
    const headers =
      kind === undefined
        ? { authorization: `Bearer ${PLATFORM}` }
        : { 'x-org-key': authority.keys[kind as keyof typeof authority.keys] }
    const { status, body } = await send(authority.url, headers)
    expect({ of: call.name, status }).toEqual({ of: call.name, status: call.status ?? 200 })
    for (const key of keysIn(JSON.stringify(body ?? ''))) keys.add(key)
  }
}

/** Where people put keys by mistake: into the reason of a burn first of all. */
async function quoteKeys(
  { post, get, keys, service, orgId }: TestControlPlane,
  known: Set<string>,
): Promise<void> {
  const { key, keyId } = await service.issueKey({ orgId, kind: 'viewer' })
  known.add(key)
  const reason = `pasted ${key} by mistake`
  const rotated = await post(rotatePath(keyId), { reason }, keys.admin)
  known.add(rotated.body.key)
  const quoted = [
    await post(burnPath(keyId), { reason }, keys.admin),
    await post(PATHS.revoke, { deviceId: DEVICE, reason }, keys.stop),
    await post(PATHS.locks, { pattern: 'quoted:*', reason }, keys.stop),
    await post(PATHS.orgDisable, { reason }, keys.stop),
    await post(PATHS.keys, { kind: 'viewer', name: key }, keys.admin),
  ]
  expect(quoted.map(({ status }) => status)).toEqual(quoted.map(() => 200))
  for (const text of keysIn(JSON.stringify(quoted))) known.add(text)
  const refused = [
    await get(`${PATHS.usage}?key=${key}`),
    await get(`/api/v1/${key}`),
    await get(PATHS.usage, `${key}x`),
    await post(burnPath(key), {}, keys.admin),
    await post(PATHS.register, { deviceId: `a:${key}` }, keys.full),
    await post(PATHS.validate, { deviceId: key }, keys.full),
    await post(PATHS.locks, { pattern: `${key}:*`, reason: 'x' }, keys.stop),
  ]
  for (const { status, body } of refused) {
    expect(status).toBeGreaterThanOrEqual(400)
    expect(JSON.stringify(body)).not.toContain(key.slice(-51, -30))
  }
}

function keysIn(text: string): string[] {
  return text.match(/org_[a-z]+_[a-z2-7]{16}_[0-9A-Za-z]{51}/g) ?? []
}

function secretOf(key: string): string {
  return key.slice(-51, -8)
}

function partsOf(secret: string): string[] {
  return Array.from({ length: secret.length - PART + 1 }, (_, at) => secret.slice(at, at + PART))
}

function filesOf({ dir }: TestControlPlane): (readonly [name: string, bytes: string])[] {
  return readdirSync(dir).map((name) => [name, readFileSync(join(dir, name), 'latin1')] as const)
}
