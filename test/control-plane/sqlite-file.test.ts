import { mkdirSync, mkdtempSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { openControlPlaneStore } from '../../src/store/sqlite/control-plane.ts'
import { migrate } from '../../src/store/sqlite/migrate.ts'
import { assertVersion, openSqlite } from '../../src/store/sqlite/open.ts'
import { createWriter } from '../../src/store/sqlite/transaction.ts'
import { auditEntry, deviceRecord, ORG } from '../contract/control-plane-store.ts'

let dir: string
let file: string
const opened: { close(): void }[] = []
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'holdpoint-sqlite-'))
  file = join(dir, 'data', 'some.db')
})
afterEach(() => {
  for (const connection of opened.splice(0)) connection.close()
  rmSync(dir, { recursive: true })
})
const keep = <T extends { close(): void }>(connection: T): T => {
  opened.push(connection)
  return connection
}
const pragma = (db: DatabaseSync, name: string) => Object.values(db.prepare(`PRAGMA ${name}`).get() ?? {})[0]

describe('a SQLite file', () => {
  test('G5: is opened so that a COMMIT that returned is on the disk', () => {
    const db = keep(openSqlite(file))
    expect(pragma(db, 'journal_mode')).toBe('wal')
    expect(pragma(db, 'synchronous')).toBe(2)
    expect(pragma(db, 'foreign_keys')).toBe(1)
    expect(pragma(db, 'busy_timeout')).toBe(5000)
    expect(pragma(db, 'trusted_schema')).toBe(0)
    expect(pragma(keep(openSqlite(file, { readOnly: true, timeoutMs: 70 })), 'busy_timeout')).toBe(70)
  })

  test('is created with its directory, for nobody else to read', () => {
    keep(openSqlite(file)).exec('CREATE TABLE t (a)')
    for (const suffix of ['', '-wal', '-shm']) expect(statSync(`${file}${suffix}`).mode & 0o077).toBe(0)
    expect(statSync(join(dir, 'data')).mode & 0o077).toBe(0)
  })

  test('is refused when a setting does not take, rather than used with less', () => {
    const plain = join(dir, 'plain.db')
    keep(new DatabaseSync(plain)).exec('CREATE TABLE t (a)')
    expect(() => openSqlite(plain, { readOnly: true })).toThrow(
      expect.objectContaining({ code: expect.stringMatching(/^(?:SQLITE_SETTING|STORE_NOT_WRITABLE)$/) }),
    )
  })

  test.each([
    ['3.51.2', false],
    ['3.9.9', false],
    ['3.50.7', false],
    ['3.51.3', true],
    ['3.51.10', true],
    ['3.53.4', true],
    ['4.0.0', true],
  ])('SQLite %s will do: %s', (version, will) => {
    if (will) expect(() => assertVersion(version)).not.toThrow()
    else {
      expect(() => assertVersion(version)).toThrow(expect.objectContaining({ code: 'SQLITE_TOO_OLD' }))
      expect(() => assertVersion(version)).toThrow(/3\.51\.3 or newer is needed.* Use Node 24/)
    }
  })
})

describe('a file that cannot be used is one clear error that names it and the next step', () => {
  const refused = (path: string, code: string, next: RegExp) => {
    const attempt = () => openControlPlaneStore({ file: path })
    expect(attempt).toThrow(expect.objectContaining({ code }))
    expect(attempt).toThrow(next)
    expect(attempt).toThrow(path)
  }

  test('a directory that cannot be made', () => {
    writeFileSync(join(dir, 'data'), 'a file')
    refused(file, 'STORE_NOT_WRITABLE', /Check that its directory can be written\.$/)
  })

  test('a file that is no database', () => {
    file = join(dir, 'some.db')
    writeFileSync(file, 'not a database, but long enough to look at '.repeat(100))
    refused(file, 'STORE_CORRUPT', /is not a SQLite database .* Restore it from a backup/)
  })

  test('a directory in its place', () => {
    mkdirSync(file, { recursive: true })
    refused(file, 'STORE_NOT_WRITABLE', /cannot be opened/)
  })

  test('a database that lost its end', async () => {
    await filled()
    truncateSync(file, Math.floor(statSync(file).size / 2 / 4096) * 4096)
    refused(file, 'STORE_CORRUPT', /is damaged .*Restore it from a backup\.$/)
  })

  test('a database with a page overwritten', async () => {
    await filled()
    const handle = await open(file, 'r+')
    for (let page = 3; page < statSync(file).size / 4096; page += 2) {
      await handle.write(Buffer.alloc(4096, 0x5a), 0, 4096, page * 4096)
    }
    await handle.close()
    refused(file, 'STORE_CORRUPT', /is damaged/)
  })

  test('a database of a newer version', async () => {
    await filled()
    const db = new DatabaseSync(file)
    db.exec("INSERT INTO migrations (version, applied_at) VALUES (99, 'later')")
    db.close()
    refused(file, 'STORE_TOO_NEW', /Start the newer version again\.$/)
  })

  test('and after a refusal nothing is left locked', async () => {
    writeFileSync(join(dir, 'data'), 'a file')
    expect(() => openControlPlaneStore({ file })).toThrow()
    rmSync(join(dir, 'data'))
    await openControlPlaneStore({ file }).close()
  })

  async function filled() {
    const store = openControlPlaneStore({ file })
    await store.changeOrg(ORG.orgId, () => ({ org: ORG, audit: auditEntry(), result: undefined }))
    for (let n = 1; n <= 200; n++) {
      const device = { ...deviceRecord(`device-${n}`, n), labels: { padding: 'x'.repeat(200) } }
      await store.changeDevice(ORG.orgId, device.deviceId, () => ({ device, result: undefined }))
    }
    await store.close()
  }
})

describe('a write transaction', () => {
  const writer = () => {
    const db = keep(openSqlite(file, { timeoutMs: 50 }))
    db.exec(`CREATE TABLE IF NOT EXISTS parent (id INTEGER PRIMARY KEY) STRICT;
      CREATE TABLE IF NOT EXISTS child (id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED) STRICT`)
    const rows = () => db.prepare('SELECT count(*) AS n FROM parent').get()?.['n']
    return { db, rows, ...createWriter(db, file) }
  }

  test('is all or nothing, and gives back what its body gave', () => {
    const { db, rows, transact } = writer()
    expect(transact(() => db.prepare('INSERT INTO parent VALUES (1)').run().changes)).toBe(1)
    const failing = () => {
      db.exec('INSERT INTO parent VALUES (2)')
      throw new TypeError('no')
    }
    expect(() => transact(failing)).toThrow(new TypeError('no'))
    expect(rows()).toBe(1)
    expect(db.isTransaction).toBe(false)
  })

  test('G5: whose COMMIT fails is not acked, and no later one either', () => {
    const { db, rows, transact, problem } = writer()
    expect(() =>
      transact(() => db.exec('INSERT INTO parent VALUES (1); INSERT INTO child VALUES (7)')),
    ).toThrow(/FOREIGN KEY/)
    expect(problem()).toMatchObject({ code: 'STORE_FAILED' })
    expect(() => transact(() => db.exec('INSERT INTO parent VALUES (2)'))).toThrow(problem())
    expect(rows()).toBe(0)
  })

  test('that finds the file locked by another fails by itself only', () => {
    const first = writer()
    const second = writer()
    first.db.exec('BEGIN IMMEDIATE')
    const insert = () => second.transact(() => second.db.exec('INSERT INTO parent VALUES (1)'))
    expect(insert).toThrow(expect.objectContaining({ code: 'STORE_LOCKED' }))
    first.db.exec('ROLLBACK')
    expect(second.problem()).toBeUndefined()
    insert()
    expect(first.rows()).toBe(1)
  })
})

describe('migrations', () => {
  const steps = ['CREATE TABLE a (x) STRICT', 'CREATE TABLE b (x INTEGER) STRICT']
  const valid = steps.map((sql) => sql.replace('(x)', '(x INTEGER)'))
  const tables = (db: DatabaseSync) =>
    db
      .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
      .all()
      .map(({ name }) => name)

  test('go forward step by step, each once', () => {
    const db = keep(openSqlite(file))
    migrate(db, file, valid.slice(0, 1))
    expect(tables(db)).toEqual(['a', 'migrations'])
    migrate(db, file, valid)
    migrate(db, file, valid)
    expect(tables(db)).toEqual(['a', 'b', 'migrations'])
  })

  test('that fail leave nothing of their step', () => {
    const db = keep(openSqlite(file))
    expect(() => migrate(db, file, [valid[0] ?? '', 'CREATE TABLE b (x INTEGER) STRICT; nonsense'])).toThrow(
      /nonsense/,
    )
    expect(tables(db)).toEqual(['a', 'migrations'])
    migrate(db, file, valid)
    expect(tables(db)).toEqual(['a', 'b', 'migrations'])
  })
})
