import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { endedByRestore } from '../../src/control-plane/generation.ts'
import { keyIdOf } from '../../src/control-plane/keys.ts'
import type { KeyRecord } from '../../src/control-plane/records.ts'
import { createService, type Caller, type ControlPlaneService } from '../../src/control-plane/service.ts'
import type { ControlPlaneStore } from '../../src/control-plane/store.ts'
import { KEY_KINDS } from '../../src/machineid/wire.ts'
import { backUp } from '../../src/store/sqlite/backup.ts'
import { openControlPlaneStore } from '../../src/store/sqlite/control-plane.ts'
import { restoreBackup } from '../../src/store/sqlite/restore-backup.ts'

// A burn is a stop, and a backup knows nothing of those that came after it.

const LOCAL: Caller = { actor: 'local', kind: 'local', requestId: null, origin: null }
const NOW_MS = Date.UTC(2026, 10, 22, 12)
const RESTORED_MS = NOW_MS + 60_000

let dir: string
let file: string
let backup: string
let store: ControlPlaneStore
let service: ControlPlaneService
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'holdpoint-backup-keys-'))
  file = join(dir, 'data', 'control-plane.db')
  backup = join(dir, 'monday.db')
  open(NOW_MS)
})
afterEach(async () => {
  await store.close()
  rmSync(dir, { recursive: true })
})

function open(nowMs: number): void {
  store = openControlPlaneStore({ file, nowMs: () => nowMs })
  const clock = { now: () => ({ monotonicMs: 0, wallMs: nowMs }) }
  service = createService({ store, onDecisionsLost: () => {}, clock })
}
const makeBackup = () => backUp({ from: file, to: backup, nowMs: () => NOW_MS })
async function restore(options: { readonly keepKeys?: boolean } = {}): Promise<void> {
  await store.close()
  await restoreBackup({ backup, file, ...options })
  open(RESTORED_MS)
}
const idOf = (key: string) => keyIdOf(key) ?? ''
const stateOf = async (key: string) => {
  const { endedAs, endedAtMs } = (await service.findKey(key)) as KeyRecord
  return { endedAs, endedAtMs }
}
const burnRows = async (orgId: string) =>
  (await store.listAudit(orgId, { after: 0, limit: 100 })).filter(({ action }) => action === 'key.burn')
const asCaller = (key: string, kind: Caller['kind']): Caller => ({
  actor: idOf(key),
  kind,
  keyId: idOf(key),
  requestId: 'r',
  origin: null,
})

describe('G6: a key that was burned after the backup', () => {
  test('works no more once the backup is restored, for nobody and nothing', async () => {
    const { orgId, keys } = await service.createOrg({ kinds: KEY_KINDS })
    await service.register(LOCAL, orgId, { deviceId: 'a:b:1' })
    await makeBackup()
    for (const key of Object.values(keys)) await service.burnKey(LOCAL, orgId, { keyId: idOf(key) })
    await restore()
    for (const [kind, key] of Object.entries(keys)) {
      expect(await stateOf(key), kind).toEqual({ endedAs: 'burned', endedAtMs: RESTORED_MS })
      expect(store.reader.read(idOf(key), ['a:b:1'])).toMatchObject({ key: { endedAs: 'burned' } })
      const { org } = await service.usage(orgId)
      const enabling = service.enableOrg(asCaller(key, kind as Caller['kind']), orgId, {
        ifEpoch: org.orgSwitch.epoch,
      })
      await expect(enabling, kind).rejects.toThrow(expect.objectContaining({ code: 'KEY_BURNED' }))
    }
  })

  test('works no more when somebody has copied the backup into place by hand', async () => {
    const { orgId, keys } = await service.createOrg({ kinds: ['runtime'] })
    const { runtime = '' } = keys
    await makeBackup()
    await service.burnKey(LOCAL, orgId, { keyId: idOf(runtime) })
    await store.close()
    copyFileSync(backup, file)
    open(RESTORED_MS)
    expect(await stateOf(runtime)).toMatchObject({ endedAs: 'burned' })
  })

  test('has company: every key ends, of every org, a rotated one too, and each chain names them', async () => {
    const first = await service.createOrg({ kinds: ['admin', 'runtime'] })
    const second = await service.createOrg({ kinds: ['full'] })
    const third = await service.createOrg({ kinds: [] })
    const rotated = await service.rotateKey(LOCAL, first.orgId, { keyId: idOf(first.keys.runtime ?? '') })
    const before = await service.issueKey({ orgId: first.orgId, kind: 'stop' })
    await service.burnKey(LOCAL, first.orgId, { keyId: before.keyId })
    await makeBackup()
    await restore()
    const ended = [idOf(first.keys.admin ?? ''), idOf(first.keys.runtime ?? ''), rotated.keyId].sort()
    const [, restoreRow] = await burnRows(first.orgId)
    expect(restoreRow).toMatchObject({ actor: 'local', atMs: RESTORED_MS, after: { keyIds: ended } })
    expect((await burnRows(second.orgId)).map(({ after }) => after)).toMatchObject([
      { keyIds: [idOf(second.keys.full ?? '')] },
    ])
    // Of no keys there is nothing to say.
    expect(await burnRows(third.orgId)).toEqual([])
    expect((await service.usage(third.orgId)).org.disabled).toBe(true)

    // What had ended before ended then, by whom it did.
    expect(await stateOf(before.key)).toEqual({ endedAs: 'burned', endedAtMs: NOW_MS })
    const restoreEnded = async (key: string) =>
      endedByRestore(store, (await service.findKey(key)) as KeyRecord)
    expect(await restoreEnded(before.key)).toBe(false)
    expect(await restoreEnded(first.keys.admin ?? '')).toBe(true)
    expect(await restoreEnded(second.keys.full ?? '')).toBe(true)

    // Nor does what ends later, by a burn or by its overlap, end by the restore.
    await store.close()
    open(RESTORED_MS + 1000)
    const { key: burned, keyId } = await service.issueKey({ orgId: first.orgId, kind: 'stop' })
    const { key: replaced, keyId: replacedId } = await service.issueKey({ orgId: second.orgId, kind: 'stop' })
    await service.burnKey(LOCAL, first.orgId, { keyId })
    await service.rotateKey(LOCAL, second.orgId, { keyId: replacedId, overlapSeconds: 1 })
    await store.close()
    open(RESTORED_MS + 2000)
    await service.endKeys()
    expect(await stateOf(replaced)).toMatchObject({ endedAs: 'expired' })
    expect([await restoreEnded(burned), await restoreEnded(replaced)]).toEqual([false, false])
    expect(await restoreEnded(first.keys.admin ?? '')).toBe(true)
  })

  test('ends in the same transaction as all the rest, or nothing of it happens', async () => {
    const { orgId, keys } = await service.createOrg({ kinds: ['admin'] })
    await makeBackup()
    await store.close()
    await restoreBackup({ backup, file })
    withDatabase((db) => {
      db.exec("CREATE TRIGGER failing BEFORE UPDATE ON keys BEGIN SELECT RAISE(ABORT, 'no'); END")
    })
    expect(() => open(RESTORED_MS)).toThrow(/could not be used/)
    withDatabase((db) => {
      expect(db.prepare('SELECT disabled, epoch FROM orgs').all()).toEqual([{ disabled: 0, epoch: 0 }])
      expect(db.prepare("SELECT value FROM meta WHERE name = 'generation'").get()).toEqual({ value: 0 })
      db.exec('DROP TRIGGER failing')
    })
    open(RESTORED_MS)
    expect((await service.usage(orgId)).org.disabled).toBe(true)
    expect(await stateOf(keys.admin ?? '')).toMatchObject({ endedAs: 'burned' })
  })
})

describe('with keepKeys', () => {
  test('keys go on as the backup has them, the org disabled all the same', async () => {
    const { orgId, keys } = await service.createOrg({ kinds: ['admin'] })
    const { admin = '' } = keys
    await makeBackup()
    await service.burnKey(LOCAL, orgId, { keyId: idOf(admin) })
    await restore({ keepKeys: true })
    expect(await stateOf(admin)).toEqual({ endedAs: null, endedAtMs: null })
    expect(await burnRows(orgId)).toEqual([])
    const { org } = await service.usage(orgId)
    expect(org.disabled).toBe(true)
    await service.enableOrg(asCaller(admin, 'admin'), orgId, { ifEpoch: org.orgSwitch.epoch })
  })

  test('holds for one opening: what is restored from that file later does not keep them', async () => {
    const { keys } = await service.createOrg({ kinds: ['admin'] })
    await makeBackup()
    await store.close()
    await restoreBackup({ backup, file, keepKeys: true })
    copyFileSync(file, backup)
    open(RESTORED_MS)
    expect(withDatabase((db) => db.prepare('SELECT name FROM meta').all())).toEqual([{ name: 'generation' }])
    await restore()
    expect(await stateOf(keys.admin ?? '')).toMatchObject({ endedAs: 'burned' })
  })
})

function withDatabase<T>(use: (db: DatabaseSync) => T): T {
  const db = new DatabaseSync(file)
  try {
    return use(db)
  } finally {
    db.close()
  }
}
