import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { rowHash } from '../../src/control-plane/audit-chain.ts'
import { uuidv7 } from '../../src/control-plane/ids.ts'
import { openControlPlaneStore } from '../../src/store/sqlite/control-plane.ts'
import { CONTROL_PLANE_MIGRATIONS } from '../../src/store/sqlite/control-plane-schema.ts'
import { migrate } from '../../src/store/sqlite/migrate.ts'
import { openSqlite } from '../../src/store/sqlite/open.ts'

let dir: string
let file: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'holdpoint-schema-'))
  file = join(dir, 'control-plane.db')
})
afterEach(() => rmSync(dir, { recursive: true }))

const DIGEST = 'ab'.repeat(32)
const [question, older] = [uuidv7(20_000), uuidv7(10_000)]

/** As version 0.1 left it: two orgs, one of them disabled, devices in every state, audit rows and decisions. */
function writeSchema1(): void {
  const db = openSqlite(file)
  migrate(db, file, CONTROL_PLANE_MIGRATIONS.slice(0, 1))
  db.exec(`
    INSERT INTO orgs VALUES
      ('o_1', 41, 1, 40, 'k-admin', 'incident', 4000, 'pro', 'active', 25, 2),
      ('o_2', 0, 0, 0, NULL, NULL, NULL, 'free', 'active', 3, 0);
    INSERT INTO owners VALUES ('o_1', 'owner@example.com');
    INSERT INTO keys VALUES
      ('k-admin', 'o_1', 'admin', '${DIGEST}', NULL),
      ('k-later', 'o_1', 'runtime', '${DIGEST}', '["a:b:*"]'),
      ('k-other', 'o_2', 'full', '${DIGEST}', NULL);
    INSERT INTO devices VALUES
      ('o_1', 'a:b:1', 1, 0, 1, 41, 'leak', '{"team":"billing"}', 100, 200),
      ('o_1', 'a:b:2', 0, 0, 2, 0, NULL, '{}', 100, 100),
      ('o_1', 'a:b:3', 1, 1, NULL, 12, NULL, '{}', 100, 300);
    -- Not in the order they were made.
    INSERT INTO audit VALUES
      ('audit-4', 'o_1', 4000, 'k-admin', 'org.disable', NULL, 'incident', '{"disabled":false}', '{"disabled":true}'),
      ('audit-1', 'o_1', 1000, 'local', 'org.create', NULL, NULL, NULL, '{"kinds":["admin"]}'),
      ('audit-2', 'o_2', 1500, 'platform', 'org.create', NULL, NULL, NULL, NULL),
      ('audit-3b', 'o_1', 2000, 'k-admin', 'device.revoke', 'a:b:1', 'leak', NULL, '{"epoch":41}'),
      ('audit-3a', 'o_1', 2000, 'k-admin', 'key.issue', NULL, NULL, NULL, '{"keyId":"k-later","kind":"runtime"}');
    INSERT INTO decisions VALUES
      ('${question}', 1, 'o_1', 'k-later', 'a:b:2', 'DEVICE_REVOKED', 'validate', 'tool', 't', 'c', 'r', 'p', 20000),
      ('${question}', 0, 'o_1', 'k-later', 'a:b:1', 'DEVICE_REVOKED', 'validate', NULL, NULL, NULL, NULL, NULL, 20000),
      ('${older}', 0, 'o_2', 'k-other', 'x', 'DEVICE_NOT_REGISTERED', 'register', NULL, NULL, NULL, NULL, NULL, 10000)`)
  db.close()
}

describe('a file of schema 1', () => {
  test('is carried over with every row', async () => {
    writeSchema1()
    const store = openControlPlaneStore({ file })
    const fresh = { accessUntilMs: null, activeLocks: 0 }
    const listed = await store.listDevices('o_1', {})
    expect(listed?.org).toEqual({
      ...fresh,
      orgId: 'o_1',
      epoch: 41,
      disabled: true,
      orgSwitch: { epoch: 40, by: 'k-admin', reason: 'incident', atMs: 4000 },
      planTier: 'pro',
      planState: 'active',
      cap: 25,
      used: 2,
    })
    const { result } = await store.change(
      'o_1',
      { devices: { ids: ['a:b:1', 'a:b:2', 'a:b:3'] } },
      (found) => ({
        result: found?.devices,
      }),
    )
    expect(result).toEqual([
      {
        deviceId: 'a:b:1',
        revoked: true,
        removed: false,
        slot: 1,
        epoch: 41,
        reason: 'leak',
        remindAtMs: null,
        labels: { team: 'billing' },
        createdAtMs: 100,
        changedAtMs: 200,
      },
      expect.objectContaining({ deviceId: 'a:b:2', slot: 2, revoked: false, labels: {} }),
      expect.objectContaining({ deviceId: 'a:b:3', slot: null, revoked: true, removed: true, epoch: 12 }),
    ])
    const born = {
      name: null,
      endsAtMs: null,
      endedAtMs: null,
      endedAs: null,
      replacedBy: null,
      digest: DIGEST,
    }
    expect(await store.listKeys('o_1')).toEqual([
      {
        ...born,
        keyId: 'k-admin',
        orgId: 'o_1',
        kind: 'admin',
        bindings: null,
        createdAtMs: 1000,
        createdBy: 'local',
        lastUsedAtMs: null,
      },
      {
        ...born,
        keyId: 'k-later',
        orgId: 'o_1',
        kind: 'runtime',
        bindings: ['a:b:*'],
        createdAtMs: 2000,
        createdBy: 'k-admin',
        lastUsedAtMs: null,
      },
    ])
    expect(await store.findKey('k-other')).toMatchObject({ createdAtMs: 1500, createdBy: 'platform' })
    expect(await store.listOwners('o_1')).toEqual(['owner@example.com'])
    expect(await store.findUsage('o_1', 0)).toMatchObject({ revoked: 1, overdue: 0 })
    const decisions = await store.listDecisions('o_1', { requestId: question }, { limit: 9 })
    expect(decisions.map(({ ordinal, deviceId, tool }) => [ordinal, deviceId, tool])).toEqual([
      [0, 'a:b:1', null],
      [1, 'a:b:2', 't'],
    ])
    expect(await store.listDecisions('o_2', {}, { limit: 9 })).toMatchObject([
      { requestId: older, asked: 'register' },
    ])
    expect(store.generation).toBe(0)
    await store.close()
  })

  test('G8: gets a chain over the audit rows it had, to which new ones are added', async () => {
    writeSchema1()
    const store = openControlPlaneStore({ file })
    await store.change('o_1', {}, () => ({
      result: undefined,
      audit: [
        {
          id: 'audit-5',
          atMs: 5000,
          actor: 'k-admin',
          actorKind: 'admin',
          requestId: 'r',
          origin: '127.0.0.1',
          action: 'org.enable',
          deviceId: null,
          reason: null,
          before: null,
          after: null,
        },
      ],
    }))
    const rows = await store.listAudit('o_1', { after: 0, limit: 100 })
    expect(rows.map(({ id, seq }) => `${seq} ${id}`)).toEqual([
      '1 audit-1',
      '2 audit-3a',
      '3 audit-3b',
      '4 audit-4',
      '5 audit-5',
    ])
    let prevHash = '0'.repeat(64)
    for (const row of rows) {
      expect(row).toMatchObject({ prevHash, hash: rowHash(row) })
      prevHash = row.hash
    }
    expect(rows[3]).toMatchObject({
      orgId: 'o_1',
      atMs: 4000,
      actor: 'k-admin',
      actorKind: null,
      reason: 'incident',
      before: { disabled: false },
      after: { disabled: true },
    })
    expect((await store.listAudit('o_2', { after: 0, limit: 100 })).map(({ seq }) => seq)).toEqual([1])
    await store.close()
  })

  test('has afterwards the very tables and indexes of a new file', async () => {
    writeSchema1()
    await openControlPlaneStore({ file }).close()
    const newFile = join(dir, 'new.db')
    await openControlPlaneStore({ file: newFile }).close()
    const schema = (path: string) => {
      const db = new DatabaseSync(path)
      const found = db.prepare('SELECT type, name, sql FROM sqlite_schema ORDER BY type, name').all()
      expect(db.prepare('PRAGMA foreign_key_check').all()).toEqual([])
      expect(db.prepare('PRAGMA integrity_check').get()).toEqual({ integrity_check: 'ok' })
      db.close()
      return found
    }
    expect(schema(file)).toEqual(schema(newFile))
    expect(schema(file).map(({ name }) => name)).not.toContain('audit_1')
  })
})
