import { closeSync, copyFileSync, existsSync, mkdtempSync, openSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync, writeSync } from 'node:fs' // prettier-ignore
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { rowHash } from '../../src/control-plane/audit-chain.ts'
import { firstEpoch } from '../../src/control-plane/generation.ts'
import { createService, type Caller } from '../../src/control-plane/service.ts'
import type { ControlPlaneStore } from '../../src/control-plane/store.ts'
import { backUp } from '../../src/store/sqlite/backup.ts'
import { openControlPlaneStore } from '../../src/store/sqlite/control-plane.ts'
import { restoreBackup } from '../../src/store/sqlite/restore-backup.ts'
import { auditEntry, deviceRecord, KEY, ORG } from '../contract/control-plane-records.ts'

let dir: string
let file: string
let backup: string
const opened: ControlPlaneStore[] = []
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'holdpoint-backup-'))
  file = join(dir, 'data', 'control-plane.db')
  backup = join(dir, 'monday.db')
})
afterEach(async () => {
  for (const store of opened.splice(0)) await store.close()
  rmSync(dir, { recursive: true })
})

const NOW_MS = Date.UTC(2026, 10, 22, 12)
/** The ten-minute steps since 2026 began. */
const FLOOR = Math.floor((NOW_MS - Date.UTC(2026, 0, 1)) / 600_000)

function open(path = file, nowMs = NOW_MS): ControlPlaneStore {
  const store = openControlPlaneStore({ file: path, nowMs: () => nowMs })
  opened.push(store)
  return store
}
async function closeAll(): Promise<void> {
  for (const store of opened.splice(0)) await store.close()
}
const write = (store: ControlPlaneStore, epoch: number, ids: readonly string[]) =>
  store.change(ORG.orgId, {}, () => ({
    result: undefined,
    org: { ...ORG, cap: 1_000_000, epoch, used: ids.length },
    keys: [KEY],
    devices: ids.map((id, index) =>
      deviceRecord(id, index + 1, { revoked: true, epoch, labels: { padding: 'x'.repeat(200) } }),
    ),
    audit: [auditEntry('write', { after: { epoch } })],
  }))
const refused = (code: string, message: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) })
const orgOf = async (store: ControlPlaneStore) => (await store.findUsage(ORG.orgId, 0))?.org

describe('a backup', () => {
  test('is one private file, on the disk under its name only when it is whole', async () => {
    const ids = Array.from({ length: 20_000 }, (_, index) => `device-${index}`)
    await write(open(), 1, ids)
    const progress: number[] = []
    await backUp({
      from: file,
      to: backup,
      onProgress: (done) => {
        progress.push(done)
        expect(existsSync(backup)).toBe(false)
      },
    })
    expect(progress.length).toBeGreaterThan(1)
    expect(progress).toEqual(progress.toSorted((a, b) => a - b))
    expect(progress.at(-1)).toBe(1)
    expect(readdirSync(dir).sort()).toEqual(['data', 'monday.db'])
    expect(statSync(backup).mode & 0o777).toBe(0o600)
  })

  test('of a control plane that goes on writing is what it was at one moment', async () => {
    const store = open()
    const ids = Array.from({ length: 40 }, (_, index) => `device-${index}`)
    const bulk = Array.from({ length: 30_000 }, (_, index) => `z-${index}`)
    await write(store, 1, [...ids, ...bulk])
    const rate = { during: 0 }
    let running = true
    const work = (async () => {
      for (let epoch = 2; running; epoch++) {
        await write(store, epoch, ids)
        rate.during++
        await new Promise(setImmediate)
      }
    })()
    await backUp({ from: file, to: backup })
    running = false
    await work
    expect(rate.during).toBeGreaterThan(5)

    const db = new DatabaseSync(backup, { readOnly: true })
    const epoch = db.prepare('SELECT epoch FROM orgs').get()?.['epoch'] as number
    expect(db.prepare("SELECT DISTINCT epoch FROM devices WHERE device_id LIKE 'device-%'").all()).toEqual([
      { epoch },
    ])
    expect(db.prepare('SELECT count(*) AS n, max(seq) AS last FROM audit').get()).toEqual({
      n: epoch,
      last: epoch,
    })
    expect(db.prepare('SELECT count(*) AS n FROM devices').get()).toEqual({ n: 30_040 })
    db.close()
  })

  test('is made of a control plane that is stopped, too', async () => {
    await write(open(), 7, ['a'])
    await closeAll()
    await backUp({ from: file, to: backup })
    await restoreBackup({ backup, file: join(dir, 'other.db') })
    expect((await open(join(dir, 'other.db')).listDevices(ORG.orgId, {}))?.devices).toHaveLength(1)
  })

  test('overwrites nothing, and makes no directory', async () => {
    await write(open(), 1, ['a'])
    writeFileSync(backup, 'precious')
    await expect(backUp({ from: file, to: backup })).rejects.toThrow(
      refused('BACKUP_EXISTS', /Give another file name/),
    )
    expect(statSync(backup).size).toBe(8)
    rmSync(backup)
    const inTheMeantime = () => writeFileSync(backup, 'precious')
    await expect(backUp({ from: file, to: backup, onProgress: inTheMeantime })).rejects.toThrow(
      refused('BACKUP_EXISTS', /is not overwritten/),
    )
    expect(statSync(backup).size).toBe(8)
    const nowhere = join(dir, 'not-mounted', 'monday.db')
    await expect(backUp({ from: file, to: nowhere })).rejects.toThrow(
      refused('BACKUP_DIRECTORY_MISSING', /mount its disk/),
    )
    expect(existsSync(join(dir, 'not-mounted'))).toBe(false)
  })

  test('of a database that is not there, or damaged, is refused and leaves nothing behind', async () => {
    await expect(backUp({ from: file, to: backup })).rejects.toThrow(refused('STORE_MISSING', /Set DATA_DIR/))
    expect(existsSync(file)).toBe(false)
    await write(
      open(),
      1,
      Array.from({ length: 2000 }, (_, index) => `device-${index}`),
    )
    await closeAll()
    // Only where the rows are: it can be opened and copied.
    damage(file, 60)
    await expect(backUp({ from: file, to: backup })).rejects.toThrow(
      refused(
        'STORE_CORRUPT',
        /control-plane\.db is damaged \(Tree .*so would be its backup\. Restore an earlier one/,
      ),
    )
    expect(readdirSync(dir)).toEqual(['data'])
  })
})

describe('a restored backup', () => {
  const backedUp = async () => {
    const store = open()
    await write(store, 40, ['a:b:1', 'a:b:2'])
    await store.change(ORG.orgId, {}, (found) => ({
      result: undefined,
      org: { ...(found?.org ?? ORG), epoch: 42, activeLocks: 1, orgSwitch: { ...ORG.orgSwitch, epoch: 41 } },
      locks: [
        { lockId: 'l', pattern: 'a:*', active: true, epoch: 42, reason: 'r', by: 'k', remindAtMs: null, createdAtMs: 1, changedAtMs: 1 }, // prettier-ignore
      ],
      devices: [deviceRecord('a:b:2', 2), deviceRecord('a:b:3', null, { epoch: 12 })],
    }))
    await backUp({ from: file, to: backup, nowMs: () => NOW_MS - 1000 })
    await closeAll()
  }

  test('G6: starts in a new generation, with every org disabled and every epoch above all before', async () => {
    await backedUp()
    await restoreBackup({ backup, file })
    const store = open()
    const epoch = firstEpoch(FLOOR + 1) + 1
    expect(store.generation).toBe(FLOOR + 1)
    expect(Number.isSafeInteger(epoch)).toBe(true)
    expect(await orgOf(store)).toMatchObject({
      epoch,
      disabled: true,
      orgSwitch: {
        epoch,
        by: 'local',
        atMs: NOW_MS,
        reason: expect.stringMatching(
          /^Restored from a backup of 2026-11-22T11:59:59\.000Z: .* then enable the org\.$/,
        ),
      },
    })
    const { result } = await store.change(
      ORG.orgId,
      { devices: { ids: ['a:b:1', 'a:b:2', 'a:b:3'] }, lock: { lockId: 'l' } },
      (found) => ({ result: found }),
    )
    expect(result?.devices.map((device) => device.epoch)).toEqual([epoch, epoch, epoch])
    expect(result?.devices.map((device) => device.revoked)).toEqual([true, false, false])
    expect(result?.lock).toMatchObject({ epoch, active: true })
    expect(store.reader.read(KEY.keyId, ['a:b:2'])).toMatchObject({ orgDisabled: true, orgEpoch: epoch })
  })

  test('G8: tells so in the audit of each org, in its chain', async () => {
    await backedUp()
    await restoreBackup({ backup, file })
    const rows = await open().listAudit(ORG.orgId, { after: 0, limit: 100 })
    const epoch = firstEpoch(FLOOR + 1) + 1
    expect(rows.slice(1)).toMatchObject([
      {
        seq: 2,
        prevHash: rows[0]?.hash,
        action: 'org.disable',
        actor: 'local',
        atMs: NOW_MS,
        before: { disabled: false, epoch: 41 },
        after: { disabled: true, epoch, generation: FLOOR + 1 },
      },
      {
        seq: 3,
        prevHash: rows[1]?.hash,
        action: 'key.burn',
        actor: 'local',
        atMs: NOW_MS,
        reason:
          'Restored from a backup of 2026-11-22T11:59:59.000Z: keys burned since then must not work again.',
        after: { keyIds: [KEY.keyId], epoch },
      },
    ])
    for (const row of rows) expect(row.hash).toBe(rowHash(row))
  })

  test('is a backup no more once it was opened: the next opening changes nothing', async () => {
    await backedUp()
    await restoreBackup({ backup, file })
    const before = await orgOf(open())
    await closeAll()
    const again = open(file, NOW_MS + 86_400_000)
    expect(await orgOf(again)).toEqual(before)
    expect(again.generation).toBe(FLOOR + 1)
    expect(await again.listAudit(ORG.orgId, { after: 0, limit: 100 })).toHaveLength(3)
  })

  test('is one as well when somebody copied it into place by hand', async () => {
    await backedUp()
    rmSync(file)
    copyFileSync(backup, file)
    expect(await orgOf(open())).toMatchObject({ disabled: true, epoch: firstEpoch(FLOOR + 1) + 1 })
  })

  test('twice in the same place never has the same generation, whatever the clock says', async () => {
    await backedUp()
    const generations: number[] = []
    for (const nowMs of [NOW_MS, NOW_MS, NOW_MS - 86_400_000, 0]) {
      await restoreBackup({ backup, file, nowMs: () => NOW_MS + generations.length })
      generations.push(open(file, nowMs).generation)
      await closeAll()
    }
    expect(generations).toEqual([FLOOR + 1, FLOOR + 2, FLOOR + 3, FLOOR + 4])
  })

  test('in another place begins above what the first place has given out', async () => {
    await backedUp()
    await restoreBackup({ backup, file })
    const first = open(file, NOW_MS).generation
    const elsewhere = join(dir, 'elsewhere', 'control-plane.db')
    await restoreBackup({ backup, file: elsewhere })
    expect(open(elsewhere, NOW_MS + 600_000).generation).toBeGreaterThan(first)
  })

  test('keeps what was there aside, whole', async () => {
    await backedUp()
    const store = open()
    await store.change(ORG.orgId, {}, () => ({ result: undefined, devices: [deviceRecord('later', 9)] }))
    await closeAll()
    // As after kill -9: the last changes are in the WAL alone.
    writeFileSync(`${file}-wal`, '')
    const { movedTo } = await restoreBackup({ backup, file, nowMs: () => NOW_MS })
    expect(movedTo).toBe(`${file}.before-restore-2026-11-22T12-00-00-000Z`)
    expect(existsSync(`${movedTo}-wal`)).toBe(true)
    expect(existsSync(`${file}-wal`)).toBe(false)
    const kept = open(movedTo)
    expect((await kept.listDevices(ORG.orgId, {}))?.devices.map((device) => device.deviceId)).toContain(
      'later',
    )
    expect((await open().listDevices(ORG.orgId, {}))?.devices.map((device) => device.deviceId)).not.toContain(
      'later',
    )
  })

  test('opens a file of a place that never had one', async () => {
    await backedUp()
    const elsewhere = join(dir, 'elsewhere', 'control-plane.db')
    expect(await restoreBackup({ backup, file: elsewhere })).toEqual({ movedTo: undefined })
    expect(statSync(elsewhere).mode & 0o777).toBe(0o600)
    expect(await orgOf(open(elsewhere))).toMatchObject({ disabled: true })
  })
})

describe('G6: no form from before a restore undoes a stop', () => {
  const LOCAL: Caller = { actor: 'local', kind: 'local', requestId: null, origin: null }
  const serve = (store: ControlPlaneStore) =>
    createService({
      store,
      onDecisionsLost: () => {},
      clock: { now: () => ({ monotonicMs: 0, wallMs: NOW_MS }) },
    })

  test('a device, a lock and the org that were stopped at some epoch are not restored by a form of that epoch', async () => {
    const before = serve(open())
    const { orgId } = await before.createOrg({ kinds: ['full'] })
    await before.register(LOCAL, orgId, { deviceId: 'a:b:1' })
    await before.register(LOCAL, orgId, { deviceId: 'a:b:2' })
    const revoked = await before.revoke(LOCAL, orgId, { deviceId: 'a:b:1' })
    const lock = await before.lock(LOCAL, orgId, { pattern: 'a:*', reason: 'incident' })
    await before.remove(LOCAL, orgId, { deviceId: 'a:b:2' })
    const off = await before.disableOrg(LOCAL, orgId)
    await backUp({ from: file, to: backup })
    // What happens now is not in the backup, and takes the very epochs that it will give out no more.
    const on = await before.enableOrg(LOCAL, orgId, { ifEpoch: off.epoch })
    await closeAll()
    await restoreBackup({ backup, file })

    const store = open()
    const after = serve(store)
    const stale = expect.objectContaining({ code: 'EPOCH_STALE' })
    for (let ifEpoch = 0; ifEpoch <= on.epoch + 10; ifEpoch++) {
      const form = { ifEpoch, deviceId: 'a:b:1', unconditional: false }
      await expect(after.unrevoke(LOCAL, orgId, form)).rejects.toThrow(stale)
      await expect(after.enableOrg(LOCAL, orgId, { ifEpoch })).rejects.toThrow(stale)
      await expect(after.releaseLock(LOCAL, orgId, { lockId: lock.lockId, ifEpoch })).rejects.toThrow(stale)
      const returning = { deviceId: 'a:b:2', restoreRemoved: true, ifEpoch }
      await expect(after.register(LOCAL, orgId, returning)).rejects.toThrow(stale)
    }
    const { epoch } = (await after.usage(orgId)).org.orgSwitch
    expect(epoch).toBeGreaterThan(on.epoch)
    expect(revoked.epoch).toBeLessThan(epoch)
    await after.enableOrg(LOCAL, orgId, { ifEpoch: epoch })
    await after.unrevoke(LOCAL, orgId, { deviceId: 'a:b:1', ifEpoch: epoch, unconditional: false })
    expect((await after.usage(orgId)).org).toMatchObject({ disabled: false, epoch: epoch + 2 })
  })

  test('a device that was revoked after the backup stays denied', async () => {
    const before = serve(open())
    const { orgId, keys } = await before.createOrg({ kinds: ['runtime'] })
    await before.register(LOCAL, orgId, { deviceId: 'a:b:1' })
    await backUp({ from: file, to: backup })
    await before.revoke(LOCAL, orgId, { deviceId: 'a:b:1' })
    await closeAll()
    await restoreBackup({ backup, file })
    const store = open()
    const [keyId = ''] = (await store.listKeys(orgId)).map((key) => key.keyId)
    expect(Object.keys(keys)).toEqual(['runtime'])
    expect(store.reader.read(keyId, ['a:b:1'])).toMatchObject({ orgDisabled: true })
  })
})

describe('what is no backup is not restored, and nothing is moved', () => {
  const expectRefused = async (code: string, message: RegExp) => {
    const before = readdirSync(join(dir, 'data')).sort()
    await expect(restoreBackup({ backup, file })).rejects.toThrow(refused(code, message))
    expect(readdirSync(join(dir, 'data')).sort()).toEqual(before)
    await closeAll()
    expect((await open().listDevices(ORG.orgId, {}))?.devices.length).toBeGreaterThan(0)
    await closeAll()
  }
  beforeEach(async () => {
    await write(
      open(),
      1,
      Array.from({ length: 500 }, (_, index) => `device-${index}`),
    )
  })

  test('a file that is not there', async () => {
    await closeAll()
    await expectRefused('STORE_MISSING', /Give the file that the backup command has written\.$/)
  })

  test('a plain copy of the database', async () => {
    await closeAll()
    copyFileSync(file, backup)
    await expectRefused('BACKUP_NOT_MARKED', /monday\.db is not marked as a backup.*npx holdpoint backup/)
  })

  test('a backup that was opened as a store of its own', async () => {
    await backUp({ from: file, to: backup })
    await closeAll()
    open(backup)
    await closeAll()
    await expectRefused('BACKUP_NOT_MARKED', /not marked/)
  })

  test('another kind of database, an empty file, and no database at all', async () => {
    await closeAll()
    const other = new DatabaseSync(backup)
    other.exec('CREATE TABLE t (a)')
    other.close()
    await expectRefused('BACKUP_NOT_MARKED', /not marked/)
    writeFileSync(backup, '')
    await expectRefused('BACKUP_NOT_MARKED', /not marked/)
    writeFileSync(backup, 'not a database, but long enough to look at '.repeat(100))
    await expectRefused('BACKUP_DAMAGED', /monday\.db is damaged .*Use another one\.$/)
  })

  test('a backup that is damaged, or cut short', async () => {
    await backUp({ from: file, to: backup })
    await closeAll()
    copyFileSync(backup, `${backup}.whole`)
    damage(backup)
    await expectRefused('BACKUP_DAMAGED', /Use another one\.$/)
    copyFileSync(`${backup}.whole`, backup)
    truncateSync(backup, Math.floor(statSync(backup).size / 2 / 4096) * 4096)
    await expectRefused('BACKUP_DAMAGED', /Use another one\.$/)
  })

  test('a backup of a newer version', async () => {
    await backUp({ from: file, to: backup })
    await closeAll()
    const db = new DatabaseSync(backup)
    db.exec("INSERT INTO migrations (version, applied_at) VALUES (99, 'later')")
    db.close()
    await expectRefused('STORE_TOO_NEW', /schema 99.*Restore it with the newer version\.$/)
  })

  test('while a control plane is running', async () => {
    await backUp({ from: file, to: backup })
    await expectRefused('STORE_IN_USE', /in use by another control plane\. Stop that one/)
  })

  test('when the copy cannot be written', async () => {
    await backUp({ from: file, to: backup })
    await closeAll()
    writeFileSync(`${file}.restoring-${process.pid}`, '')
    await expect(restoreBackup({ backup, file })).rejects.toThrow(refused('STORE_NOT_WRITABLE', /directory/))
    expect(await orgOf(open())).toMatchObject({ disabled: false })
  })
})

test('what a restore moved aside is not opened again without a word: stops of the newer one are not in it (G6)', async () => {
  await write(open(), 1, ['a:b'])
  await backUp({ from: file, to: backup })
  await closeAll()
  const { movedTo } = await restoreBackup({ backup, file })
  open()
  await closeAll()
  for (const suffix of ['', '-wal', '-shm']) rmSync(`${file}${suffix}`, { force: true })
  copyFileSync(movedTo as string, file)
  expect(() => open()).toThrow(expect.objectContaining({ code: 'STORE_OLDER' }))

  // The way that the message names.
  await backUp({ from: file, to: `${backup}.again` })
  await restoreBackup({ backup: `${backup}.again`, file })
  expect(await orgOf(open())).toMatchObject({ disabled: true })
})

/** Overwrites every second page from `first` on. */
function damage(path: string, first = 3): void {
  const handle = openSync(path, 'r+')
  for (let page = first; page < statSync(path).size / 4096; page += 2) {
    writeSync(handle, Buffer.alloc(4096, 0x5a), 0, 4096, page * 4096)
  }
  closeSync(handle)
}
