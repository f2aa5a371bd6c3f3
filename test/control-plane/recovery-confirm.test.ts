import { describe, expect, test, vi } from 'vitest'

import { systemClock, type Clock } from '../../src/clock.ts'
import { createLinkLives } from '../../src/control-plane/recovery-link-lives.ts'
import type { RecoveryLink } from '../../src/control-plane/recovery-links.ts'
import { createService } from '../../src/control-plane/service.ts'
import { createLogger } from '../../src/log.ts'
import { RecoverConfirmResponse } from '../../src/machineid/wire-orgs.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { openControlPlaneStore } from '../../src/store/sqlite/control-plane.ts'
import { auditOf, LOCAL, OWNER, startTestRecovery, type TestRecovery } from '../fixtures/recovery.ts'

const DEVICE = 'a:test:x:1'
const REVOKED = 'a:test:x:2'
const LOCKED = 'a:test:y:1'
const MINUTE_MS = 60_000
const LIFE_MS = 15 * MINUTE_MS

const keysOf = async ({ authority }: TestRecovery) =>
  (await authority.service.listKeys(authority.orgId)).map(({ keyId }) => keyId)

const validate = async ({ authority }: TestRecovery, deviceId: string) =>
  (await authority.post(PATHS.validate, { deviceId }, authority.keys.runtime)).body.code as string

describe('confirming a recovery link', () => {
  test('issues an admin key that works, and writes down for whom', async () => {
    await using recovery = await startTestRecovery()
    const { authority } = recovery
    const answer = await recovery.confirm(await recovery.newToken())
    expect(answer.headers.get('cache-control')).toBe('no-store')
    const { key, keyId, orgId } = RecoverConfirmResponse.parse(answer.body)
    expect(orgId).toBe(authority.orgId)
    const listed = await authority.get(PATHS.keys, key)
    expect(listed.body.keys).toContainEqual(
      expect.objectContaining({ keyId, kind: 'admin', createdBy: 'recovery', state: 'active' }),
    )
    const [row] = auditOf(authority, 'org.recover')
    expect(row).toMatchObject({
      actor: 'recovery',
      origin: '127.0.0.1',
      after: { keyId, kind: 'admin', email: OWNER },
    })
    expect(JSON.stringify(row)).not.toContain(key)
  })

  test('tells every owner, from where and when, and how to undo it, and never the key', async () => {
    await using recovery = await startTestRecovery()
    const second = 'second@example.org'
    await recovery.authority.service.changeOwners(LOCAL, recovery.authority.orgId, { add: [second] })
    const { body } = await recovery.confirm(await recovery.newToken())
    await recovery.authority.controlPlane.recovery.flush()
    for (const email of [OWNER, second]) {
      const mail = recovery.mailsTo(email).at(-1)
      expect(mail?.text).toContain(`mailed to ${OWNER}`)
      expect(mail?.text).toContain(`Key ID: ${body.keyId}\nMade from 127.0.0.1, 20`)
      expect(mail?.text).toContain(`/api/v1/org/keys/${body.keyId}/burn`)
      expect(mail?.raw).not.toContain(body.key)
    }
  })

  test('works once: of twenty at once one gets a key, and later none', async () => {
    await using recovery = await startTestRecovery()
    const before = await keysOf(recovery)
    const token = await recovery.newToken()
    const answers = await Promise.all(Array.from({ length: 20 }, () => recovery.confirm(token)))
    const statuses = answers.map(({ status }) => status).toSorted()
    expect(statuses).toEqual([200, ...Array.from({ length: 19 }, () => 410)])
    expect((await recovery.confirm(token)).status).toBe(410)
    expect(await keysOf(recovery)).toHaveLength(before.length + 1)
    expect(auditOf(recovery.authority, 'org.recover')).toHaveLength(1)
  })

  test('is decided in the transaction, whatever was read before it', async () => {
    await using recovery = await startTestRecovery()
    const token = await recovery.newToken()
    await recovery.authority.kill()
    const store = openControlPlaneStore({ file: recovery.authority.file })
    let readers = 0
    const all = Promise.withResolvers<void>()
    const service = createService({
      store: {
        ...store,
        findLink: async (digest) => {
          const link = await store.findLink(digest)
          if (++readers === 20) all.resolve()
          await all.promise
          return link
        },
      },
      onDecisionsLost: () => {},
    })
    const racing = Array.from({ length: 20 }, () => service.recover(LOCAL, token, () => false))
    const settled = await Promise.allSettled(racing)
    expect(settled.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    await store.close()
  })

  test('restores, releases, enables and burns nothing, and raises no epoch', async () => {
    await using recovery = await startTestRecovery()
    const { authority } = recovery
    const { keys } = authority
    for (const deviceId of [DEVICE, REVOKED, LOCKED]) await authority.register(deviceId)
    await authority.revoke(REVOKED)
    await authority.post(PATHS.locks, { pattern: 'a:test:y:*', reason: 'test' }, keys.stop)
    const state = async () => ({
      usage: { ...(await authority.get(PATHS.usage, keys.viewer)).body, request_id: '' },
      devices: (await authority.get(PATHS.list, keys.viewer)).body.devices as unknown,
      locks: (await authority.get(PATHS.locks, keys.viewer)).body.locks as unknown,
    })
    const before = await state()
    expect((await recovery.confirm(await recovery.newToken())).status).toBe(200)
    expect(await state()).toMatchObject({ usage: before.usage, locks: before.locks })
    expect([
      await validate(recovery, DEVICE),
      await validate(recovery, REVOKED),
      await validate(recovery, LOCKED),
    ]).toEqual(['ALLOW', 'DEVICE_REVOKED', 'DEVICE_LOCKED'])

    await authority.post(PATHS.orgDisable, {}, keys.stop)
    const disabled = await state()
    const { body } = await recovery.confirm(await recovery.newToken())
    expect((await state()).usage).toEqual(disabled.usage)
    expect(await validate(recovery, DEVICE)).toBe('ORG_DISABLED')
    // It is an admin's key: enabling is a step of its own, against the epoch.
    const enabled = await authority.post(PATHS.orgEnable, { ifEpoch: disabled.usage.org.epoch }, body.key)
    expect(enabled.status).toBe(200)
    for (const kind of ['viewer', 'stop', 'operator', 'admin', 'full'] as const) {
      expect((await authority.get(PATHS.usage, keys[kind])).status).toBe(200)
    }
  })

  test('used, expired, unknown and malformed links are refused alike', async () => {
    const clock = movableClock()
    await using recovery = await startTestRecovery({ clock })
    const used = await recovery.newToken()
    await recovery.confirm(used)
    const expired = await recovery.newToken()
    clock.move({ wallMs: LIFE_MS, monotonicMs: LIFE_MS })
    const answers = []
    for (const token of [used, expired, `hpr_${'a'.repeat(43)}`, 'hpr_', "' OR 1=1 --", `${used}x`, '#']) {
      const { status, body } = await recovery.confirm(token)
      answers.push({ status, body: { ...body, request_id: '' } })
    }
    expect(answers[0]).toMatchObject({ status: 410, body: { code: 'RECOVERY_LINK_INVALID' } })
    for (const answer of answers) expect(answer).toEqual(answers[0])
  })

  test('a link whose owner was taken off since does not work', async () => {
    await using recovery = await startTestRecovery()
    const token = await recovery.newToken()
    const asked = { add: ['other@example.org'], remove: [OWNER] }
    await recovery.authority.service.changeOwners(LOCAL, recovery.authority.orgId, asked)
    expect((await recovery.confirm(token)).status).toBe(410)
    await recovery.authority.service.changeOwners(LOCAL, recovery.authority.orgId, { add: [OWNER] })
    expect((await recovery.confirm(token)).status).toBe(410)
  })

  test('a link of before a restored backup does not work: it may have been used since', async () => {
    await using recovery = await startTestRecovery()
    const token = await recovery.newToken()
    await recovery.authority.kill()
    const store = openControlPlaneStore({ file: recovery.authority.file })
    const restored = createService({
      store: { ...store, generation: store.generation + 1 },
      onDecisionsLost: () => {},
    })
    await expect(restored.recover(LOCAL, token, () => false)).rejects.toMatchObject({
      code: 'RECOVERY_LINK_INVALID',
    })
    const same = createService({ store, onDecisionsLost: () => {} })
    expect((await same.recover(LOCAL, token, () => false)).email).toBe(OWNER)
    await store.close()
  })
})

describe('the fifteen minutes of a link', () => {
  test('end on time', async () => {
    const clock = movableClock()
    await using recovery = await startTestRecovery({ clock })
    const early = await recovery.newToken()
    clock.move({ wallMs: LIFE_MS - MINUTE_MS, monotonicMs: LIFE_MS - MINUTE_MS })
    expect((await recovery.confirm(early)).status).toBe(200)
    const late = await recovery.newToken()
    clock.move({ wallMs: LIFE_MS, monotonicMs: LIFE_MS })
    expect((await recovery.confirm(late)).status).toBe(410)
  })

  test('once they were seen to be over do not come back, neither with the clock nor with a restart', async () => {
    const clock = movableClock()
    await using recovery = await startTestRecovery({ clock })
    const [used, expired] = [await recovery.newToken(), await recovery.newToken()]
    await recovery.confirm(used)
    clock.move({ wallMs: LIFE_MS })
    expect((await recovery.confirm(expired)).status).toBe(410)
    clock.move({ wallMs: MINUTE_MS - LIFE_MS })
    for (const token of [used, expired]) expect((await recovery.confirm(token)).status).toBe(410)
    await recovery.authority.restart()
    for (const token of [used, expired]) expect((await recovery.confirm(token)).status).toBe(410)
  })

  test('are over by the monotonic clock too, when the wall clock was set back', async () => {
    const clock = movableClock()
    await using recovery = await startTestRecovery({ clock })
    const token = await recovery.newToken()
    clock.move({ wallMs: MINUTE_MS, monotonicMs: LIFE_MS })
    expect((await recovery.confirm(token)).status).toBe(410)
  })

  test('are over for a link of the future: nobody knows how old it is', async () => {
    const clock = movableClock()
    await using recovery = await startTestRecovery({ clock })
    const token = await recovery.newToken()
    await recovery.authority.restart()
    clock.move({ wallMs: -MINUTE_MS })
    expect((await recovery.confirm(token)).status).toBe(410)
    clock.move({ wallMs: MINUTE_MS })
    expect((await recovery.confirm(token)).status).toBe(410)
  })

  test('end by themselves, so that after a restart no clock finds a link to bring back', async () => {
    await using recovery = await startTestRecovery()
    await recovery.authority.kill()
    const store = openControlPlaneStore({ file: recovery.authority.file })
    const service = createService({ store, onDecisionsLost: () => {} })
    const link = await service.createRecoveryLink(LOCAL, recovery.authority.orgId, OWNER)
    vi.useFakeTimers({ toFake: ['setTimeout'] })
    const lives = createLinkLives(service, systemClock, createLogger({ level: 'silent' }))
    lives.begin(link as RecoveryLink)
    vi.advanceTimersByTime(LIFE_MS - 1)
    const works = async () => {
      const { createdAtMs = 0, expiresAtMs = 0 } = (await store.findLink(link?.digest ?? '')) ?? {}
      return expiresAtMs > createdAtMs
    }
    expect(await works()).toBe(true)
    vi.advanceTimersByTime(1)
    vi.useRealTimers()
    expect(await works()).toBe(false)
    await store.close()
  })

  test('outlive a restart', async () => {
    await using recovery = await startTestRecovery()
    const token = await recovery.newToken()
    await recovery.authority.restart()
    expect((await recovery.confirm(token)).status).toBe(200)
  })
})

/** Both clocks of this process, each moved at will. */
function movableClock(): Clock & { move(by: { wallMs: number; monotonicMs?: number }): void } {
  const moved = { wallMs: 0, monotonicMs: 0 }
  return {
    now: () => ({
      monotonicMs: performance.now() + moved.monotonicMs,
      wallMs: Date.now() + moved.wallMs,
    }),
    move: ({ wallMs, monotonicMs = 0 }) => {
      moved.wallMs += wallMs
      moved.monotonicMs += monotonicMs
    },
  }
}
