import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { PATHS } from '../../src/machineid/paths.ts'
import { backUp } from '../../src/store/sqlite/backup.ts'
import { restoreBackup } from '../../src/store/sqlite/restore-backup.ts'
import { startTestLanes, type TestControlPlane } from '../fixtures/control-plane.ts'
import { randomFrom, seedFrom } from '../fixtures/random.ts'
import { dump } from './dump.ts'
import { createWorld, DEVICES, restoresOf, type World } from './g6-world.ts'

// A backup that is put back does not know the stops since it was made (ABA): whatever anybody filled in on an earlier
// day must not fit again, and nothing is allowed until somebody has looked.

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'holdpoint-backup-'))
})
afterEach(() => rm(dir, { recursive: true }))

const [FIRST, SECOND, , FOURTH] = DEVICES

/** Every restore for what is to be seen now, sent with an admin's key and a full one, and held up. */
async function sendForms(world: World): Promise<Buffer[]> {
  const forms = restoresOf(await world.look())
  const sent = world
    .liveKeys('admin', 'full')
    .flatMap((by) => forms.map((form) => world.capture({ method: 'POST', by, ...form })))
  return Promise.all(sent)
}

/** Two of each, in any order, over both lanes. */
async function arrive(world: World, forms: readonly Buffer[]) {
  const before = await world.look()
  const answers = await Promise.all(world.random.shuffled([...forms, ...forms]).map(world.deliver))
  for (const { statusCode, body } of answers) {
    const code = body.code ?? body.results?.[0]?.code ?? body.status
    expect(`${statusCode} ${code}`).toMatch(
      /^(?:409 EPOCH_STALE|200 EPOCH_STALE|200 exists|403 DEVICE_REVOKED|404 LOCK_NOT_FOUND)$/,
    )
  }
  expect(await world.look()).toEqual(before)
  return answers.length
}

/** With the keys that it has, so that only epochs are left to hold what was sent with them. */
async function putBack(authority: TestControlPlane, world: World, backup: string) {
  await authority.kill()
  await restoreBackup({ backup, file: authority.file, keepKeys: true })
  await authority.restart()
  await world.reconnect()
}

const codesOf = async (world: World) => {
  const { decisions } = await world.look()
  return DEVICES.map((deviceId) => decisions[deviceId]?.code)
}
const ALL_DISABLED = DEVICES.map(() => 'ORG_DISABLED')

describe('G6: a backup that was put back', () => {
  test('denies everybody until the org is enabled with its new epoch, and no form of an earlier day fits', async () => {
    const seed = seedFrom('G6_SEED')
    console.log(`G6: G6_SEED=${seed}`)
    await using authority = await startTestLanes()
    await using world = await createWorld(authority, randomFrom(seed))
    const backup = join(dir, 'backup.db')

    // Before the backup: one device revoked, one removed, a lock, and the org disabled and enabled again.
    await world.act(PATHS.revoke, { deviceId: FIRST })
    await world.act(PATHS.remove, { deviceId: SECOND })
    const lock = await world.act(PATHS.locks, { pattern: 'agent:test:mail:1', reason: 'drill' })
    const { epoch } = (await world.act(PATHS.orgDisable, {})).body
    const old = await sendForms(world)
    await world.act(PATHS.orgEnable, { ifEpoch: epoch })
    old.push(...(await sendForms(world)))
    const saved = await world.look()
    await backUp({ from: authority.file, to: backup })

    // Between the backup and the loss: stops that the backup does not know, and restores of those it knows.
    await world.act(PATHS.unrevoke, { deviceId: FIRST, ifEpoch: saved.decisions[FIRST]?.epoch })
    await world.act(PATHS.revoke, { deviceId: FOURTH })
    await world.act(PATHS.lockRelease.replace(':id', lock.body.lockId), { ifEpoch: lock.body.epoch })
    await world.act(PATHS.locks, { pattern: 'agent:test:pay:*', reason: 'incident' })
    old.push(...(await sendForms(world)))
    await world.act(PATHS.orgDisable, {})
    old.push(...(await sendForms(world)))
    const lost = await world.look()

    await putBack(authority, world, backup)
    expect(await codesOf(world)).toEqual(ALL_DISABLED)
    const back = await world.look()
    expect(back.orgEpoch).toBeGreaterThan(lost.orgEpoch)
    expect(await arrive(world, old)).toBeGreaterThan(100)
    expect(await codesOf(world)).toEqual(ALL_DISABLED)

    // Somebody has looked: the new epoch fits, once, and everything is as the backup has it.
    await world.act(PATHS.orgEnable, { ifEpoch: back.org.epoch })
    expect(await codesOf(world)).toEqual(['DEVICE_REVOKED', 'DEVICE_REMOVED', 'DEVICE_LOCKED', 'ALLOW'])
    await arrive(world, old)

    // As many changes as there were between backup and loss: were epochs counted on from the file, they would fit now.
    for (let times = 0; times < 6; times++) {
      await world.act(PATHS.revoke, { deviceId: FOURTH })
      await world.act(PATHS.locks, { pattern: 'agent:test:pay:*', reason: 'incident' })
      await world.act(PATHS.orgDisable, {})
      await arrive(world, old)
    }
  })

  test('that is put back twice: no form of the time between the two fits', async () => {
    await using authority = await startTestLanes()
    await using world = await createWorld(authority, randomFrom(2))
    const backup = join(dir, 'backup.db')
    await world.act(PATHS.revoke, { deviceId: FIRST })
    await backUp({ from: authority.file, to: backup })
    await putBack(authority, world, backup)
    const between = await sendForms(world)
    const once = await world.look()
    await putBack(authority, world, backup)
    expect((await world.look()).orgEpoch).toBeGreaterThan(once.orgEpoch)
    await arrive(world, between)
    expect(await codesOf(world)).toEqual(ALL_DISABLED)
    await world.act(PATHS.orgEnable, { ifEpoch: (await world.look()).org.epoch })
    expect(await codesOf(world)).toEqual(['DEVICE_REVOKED', 'ALLOW', 'ALLOW', 'ALLOW'])
  })

  test('disables every org of the store, each with its own epoch, and says so in each chain', async () => {
    await using authority = await startTestLanes()
    await using world = await createWorld(authority, randomFrom(3))
    const orgs = await Promise.all([1, 2, 3].map(() => authority.service.createOrg({ kinds: ['full'] })))
    const backup = join(dir, 'backup.db')
    await backUp({ from: authority.file, to: backup })
    await putBack(authority, world, backup)
    for (const { keys } of orgs) {
      const { body } = await authority.get(PATHS.usage, keys.full)
      expect(body.org).toMatchObject({
        disabled: true,
        by: 'local',
        reason: expect.stringContaining('backup'),
      })
      for (const ifEpoch of [0, body.org.epoch - 1, body.org.epoch + 1]) {
        expect((await authority.post(PATHS.orgEnable, { ifEpoch }, keys.full)).body.code).toBe('EPOCH_STALE')
      }
      expect((await authority.post(PATHS.orgEnable, { ifEpoch: body.org.epoch }, keys.full)).status).toBe(200)
    }
    // Enabling one enabled no other.
    expect(await codesOf(world)).toEqual(ALL_DISABLED)
  })

  test('ends every key that it has: what was sent with one changes nothing, one that was burned since least of all', async () => {
    await using authority = await startTestLanes()
    await using world = await createWorld(authority, randomFrom(5))
    const backup = join(dir, 'backup.db')
    await world.act(PATHS.revoke, { deviceId: FIRST })
    await backUp({ from: authority.file, to: backup })
    const forms = await sendForms(world)
    for (const { keyId } of world.liveKeys('full')) await world.act(PATHS.keyBurn.replace(':id', keyId), {})

    await authority.kill()
    await restoreBackup({ backup, file: authority.file })
    await authority.restart()
    await world.reconnect()
    const before = dump(authority.file)
    for (const { statusCode, body } of await Promise.all(forms.map(world.deliver))) {
      expect([statusCode, body.code]).toEqual([401, 'KEY_BURNED'])
    }
    for (const key of Object.values(authority.keys)) {
      expect((await authority.get(PATHS.usage, key)).body.code).toBe('KEY_BURNED')
      expect((await authority.post(PATHS.validate, { deviceId: FIRST }, key)).body.code).toBe('KEY_BURNED')
    }
    expect(dump(authority.file)).toEqual(before)

    // Whoever has the file can issue a new one, and finds the org disabled.
    const { key } = await authority.service.issueKey({ orgId: authority.orgId, kind: 'full' })
    const { org } = (await authority.get(PATHS.usage, key)).body
    expect(org.disabled).toBe(true)
    expect((await authority.post(PATHS.orgEnable, { ifEpoch: org.epoch }, key)).status).toBe(200)
  })

  test('is what a plain start is not: without a backup nothing is disabled and epochs count on', async () => {
    await using authority = await startTestLanes()
    await using world = await createWorld(authority, randomFrom(4))
    await world.act(PATHS.revoke, { deviceId: FIRST })
    const before = await world.look()
    await authority.restart()
    await world.reconnect()
    expect(await world.look()).toEqual(before)
  })
})
