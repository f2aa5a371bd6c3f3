import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import type { ControlPlaneStore, DecisionReader } from '../../src/control-plane/store.ts'
import { openControlPlaneStore, openDecisionReader } from '../../src/store/sqlite/control-plane.ts'
import { migrate } from '../../src/store/sqlite/migrate.ts'
import { assertVersion, openSqlite } from '../../src/store/sqlite/open.ts'
import { createWriter } from '../../src/store/sqlite/transaction.ts'
import { auditEntry, deviceRecord, KEY, ORG } from '../contract/control-plane-records.ts'

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
/** An org with `count` devices of at least `bytes` each. */
async function fill(store: ControlPlaneStore, count: number, bytes: number): Promise<void> {
  const devices = Array.from({ length: count }, (_, index) =>
    deviceRecord(`device-${index + 1}`, index + 1, { labels: { padding: 'x'.repeat(bytes) } }),
  )
  const org = { ...ORG, used: count }
  await store.change(ORG.orgId, {}, () => ({
    org,
    keys: [KEY],
    devices,
    audit: [auditEntry()],
    result: undefined,
  }))
}
async function overwrite(path: string): Promise<void> {
  const handle = await open(path, 'r+')
  for (let page = 3; page < statSync(path).size / 4096; page += 2) {
    await handle.write(Buffer.alloc(4096, 0x5a), 0, 4096, page * 4096)
  }
  await handle.close()
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
    await overwrite(file)
    refused(file, 'STORE_CORRUPT', /is damaged/)
  })

  test('a database of a newer version', async () => {
    await filled()
    const db = new DatabaseSync(file)
    db.exec("INSERT INTO migrations (version, applied_at) VALUES (99, 'later')")
    db.close()
    refused(file, 'STORE_TOO_NEW', /Start the newer version again\.$/)
  })

  test.each([
    ['NFS', 0x6969],
    ['SMB', 0x517b],
    ['CIFS', 0xff534d42],
    ['SMB2', 0xfe534d42],
    ['9p', 0x01021997],
    ['Ceph', 0x00c36400],
  ])('a file system over the network, such as %s', (name, type) => {
    const asked: string[] = []
    const statfs = (path: string) => {
      asked.push(path)
      return { type }
    }
    const code = process.platform === 'linux' ? 'STORE_ON_NETWORK' : undefined
    if (code === undefined) return expect(() => openControlPlaneStore({ file, statfs })).not.toThrow()
    expect(() => openControlPlaneStore({ file, statfs })).toThrow(expect.objectContaining({ code }))
    expect(() => openSqlite(file, { statfs })).toThrow(
      new RegExp(`${file}.*network file system \\(${name}\\).*local disk: set DATA_DIR`),
    )
    // The directory is not there yet; nothing is made on the way to the refusal.
    expect(new Set(asked)).toEqual(new Set([dir]))
    expect(existsSync(join(dir, 'data'))).toBe(false)
  })

  test('and after a refusal nothing is left locked', async () => {
    writeFileSync(join(dir, 'data'), 'a file')
    expect(() => openControlPlaneStore({ file })).toThrow()
    rmSync(join(dir, 'data'))
    await openControlPlaneStore({ file }).close()
  })

  async function filled() {
    const store = openControlPlaneStore({ file })
    await fill(store, 200, 200)
    await store.close()
  }
})

describe('a file that is damaged while it is in use', () => {
  test('is an error of the read that met it, and nothing is acknowledged from then on', async () => {
    // More than SQLite keeps in memory.
    const before = openControlPlaneStore({ file })
    await fill(before, 4000, 1000)
    await before.close()
    const store = keep(openControlPlaneStore({ file }))
    const lane = keep(openDecisionReader(file))
    await overwrite(file)

    const corrupt = expect.objectContaining({ code: 'STORE_CORRUPT' })
    const everyDevice = Array.from({ length: 4000 }, (_, index) => `device-${index + 1}`)
    const readAll = (reader: DecisionReader) => everyDevice.map((id) => reader.read(KEY.keyId, [id]))
    expect(() => readAll(lane.reader)).toThrow(corrupt)
    expect(store.problem()).toBeUndefined()

    await expect(store.listDevices(ORG.orgId, {})).rejects.toThrow(corrupt)
    expect(store.problem()).toMatchObject({ code: 'STORE_CORRUPT' })
    await expect(store.change(ORG.orgId, {}, () => ({ result: undefined }))).rejects.toThrow(corrupt)
  })

  test('so it is when the decision reader of the main thread meets it', async () => {
    const before = openControlPlaneStore({ file })
    await fill(before, 4000, 1000)
    await before.close()
    const store = keep(openControlPlaneStore({ file }))
    await overwrite(file)
    expect(() => {
      for (let n = 1; n <= 4000; n++) void store.reader.read(KEY.keyId, [`device-${n}`])
    }).toThrow(expect.objectContaining({ code: 'STORE_CORRUPT' }))
    expect(store.problem()).toMatchObject({ code: 'STORE_CORRUPT' })
  })
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

  test('can be functions of the database', () => {
    const db = keep(openSqlite(file))
    migrate(db, file, [valid[0] ?? '', (given) => given.exec('CREATE TABLE c (x INTEGER) STRICT')])
    expect(tables(db)).toEqual(['a', 'c', 'migrations'])
  })

  test('are done once when several processes open a file at the same time', async () => {
    migrate(keep(openSqlite(file)), file, [])
    const program = join(import.meta.dirname, '../store/child-migrate.ts')
    const ends = await Promise.all(
      Array.from({ length: 4 }, async () => {
        const child = spawn(process.execPath, ['--conditions=holdpoint-source', program, file], {
          stdio: ['ignore', 'ignore', 'pipe'],
        })
        const [said, [status]] = await Promise.all([text(child.stderr), once(child, 'exit')])
        return { status: status as number, said }
      }),
    )
    expect(ends).toEqual(Array(4).fill({ status: 0, said: '' }))
    expect(tables(keep(openSqlite(file)))).toEqual(['a', 'b', 'migrations'])
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
