import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { Client } from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'

import type { ControlPlaneStore } from '../../../src/control-plane/store.ts'
import { rowHash } from '../../../src/control-plane/audit-chain.ts'
import { createLogger } from '../../../src/log.ts'
import { openControlPlaneStore } from '../../../src/store/postgres/control-plane.ts'
import { openDecisionReader } from '../../../src/store/postgres/decision-reader.ts'
import {
  auditEntry,
  deviceRecord,
  KEY,
  keyRecord,
  lockRecord,
  ORG,
} from '../../contract/control-plane-records.ts'
import { describeControlPlaneStore } from '../../contract/control-plane-store.ts'
import { noPostgres, startPostgres, type TestPostgres } from '../../fixtures/postgres.ts'

describe.skipIf(noPostgres)('on Postgres', () => {
  let server: TestPostgres
  let url: string
  beforeAll(async () => {
    server = await startPostgres()
    url = await server.createDatabase()
  })
  afterAll(() => server.close())

  const open = () =>
    openControlPlaneStore({
      url,
      poolSize: 4,
      timeoutMs: 10_000,
      consistency: 'primary',
      log: createLogger({ level: 'silent' }),
    })
  /** As in a new database, and much faster. */
  const empty = async () => void (await server.query(url, EMPTY))

  describeControlPlaneStore('Postgres', async () => ({ open, discard: empty }))

  describe('several stores on one database', () => {
    let stores: ControlPlaneStore[]
    beforeEach(async () => {
      stores = await Promise.all([open(), open(), open()])
      await some(0).change(ORG.orgId, {}, () => ({ org: ORG, keys: [KEY], result: undefined }))
    })
    const some = (index: number) => stores[index % stores.length] as ControlPlaneStore
    const closeAll = async () => {
      await Promise.all(stores.map((store) => store.close()))
      await empty()
    }
    beforeEach(() => closeAll)

    test('G7: registers at once never exceed the cap, and take each slot once', async () => {
      const register = (store: ControlPlaneStore, deviceId: string) =>
        store.change(ORG.orgId, { freeSlot: true }, (snapshot) => {
          const { org, lowestFreeSlot: slot } = snapshot ?? {}
          if (org === undefined || slot === undefined || org.used >= org.cap) return { result: undefined }
          return {
            org: { ...org, used: org.used + 1 },
            devices: [deviceRecord(deviceId, slot)],
            audit: [auditEntry('device.register', { deviceId })],
            result: slot,
          }
        })
      const results = await Promise.all(
        Array.from({ length: 48 }, (_, index) => register(some(index), `d:${index}`)),
      )
      const slots = results.flatMap(({ result }) => result ?? []).sort((a, b) => a - b)
      expect(slots).toEqual(Array.from({ length: ORG.cap }, (_, index) => index + 1))
      const seen = await some(1).change(ORG.orgId, { devices: { all: true } }, (found) => ({ result: found }))
      expect(seen.result).toMatchObject({ deviceCount: ORG.cap, org: { used: ORG.cap } })
    })

    test('changes at once make one chain', async () => {
      await Promise.all(
        Array.from({ length: 30 }, (_, index) =>
          some(index).change(ORG.orgId, {}, () => ({
            audit: [auditEntry('one'), auditEntry('two')],
            result: 0,
          })),
        ),
      )
      const rows = await some(0).listAudit(ORG.orgId, { after: 0, limit: 100 })
      expect(rows.map(({ seq }) => seq)).toEqual(Array.from({ length: 60 }, (_, index) => index + 1))
      let prevHash = '0'.repeat(64)
      for (const row of rows) {
        expect(row).toMatchObject({ prevHash, hash: rowHash(row) })
        prevHash = row.hash
      }
    })

    test('of those that make an org at once one does, and the others are told that it is there', async () => {
      const made = await Promise.all(
        Array.from({ length: 9 }, (_, index) =>
          some(index).change<number | 'there'>('o_new', {}, (snapshot) => {
            if (snapshot !== undefined) return { result: 'there' }
            const org = { ...ORG, orgId: 'o_new', cap: index }
            return { org, result: index }
          }),
        ),
      )
      const makers = made.map(({ result }) => result).filter((result) => result !== 'there')
      expect(makers).toHaveLength(1)
      expect((await some(0).findUsage('o_new', 0))?.org.cap).toBe(makers[0])
    })

    test('G2: what one has committed, the others read at once', async () => {
      for (let epoch = 1; epoch <= 20; epoch++) {
        await some(epoch).change(ORG.orgId, {}, () => ({
          org: { ...ORG, epoch, used: 1 },
          devices: [deviceRecord('a', 1, { epoch, revoked: epoch % 2 === 1 })],
          result: undefined,
        }))
        const read = await Promise.all(stores.map(async ({ reader }) => reader.read(KEY.keyId, ['a'])))
        for (const snapshot of read) {
          expect(snapshot).toMatchObject({ orgEpoch: epoch, devices: [{ epoch, revoked: epoch % 2 === 1 }] })
        }
      }
    })

    test('a thousand devices are one change', async () => {
      const devices = Array.from({ length: 1000 }, (_, index) => deviceRecord(`d:${index}`, index + 1))
      const audit = devices.map(({ deviceId }) =>
        auditEntry('device.revoke', { deviceId, after: { epoch: 1 } }),
      )
      await some(0).change(ORG.orgId, {}, () => ({
        org: { ...ORG, used: 1000 },
        devices,
        audit,
        result: undefined,
      }))
      const found = await some(1).change(ORG.orgId, { devices: { pattern: 'd:*' } }, (snapshot) => ({
        result: snapshot?.devices,
      }))
      expect(found.result?.length).toBe(1000)
      expect(await some(2).listAudit(ORG.orgId, { after: 999, limit: 9 })).toMatchObject([{ seq: 1000 }])
    })

    test('text that Postgres cannot hold is altered before it is hashed, and what has it is not found', async () => {
      const odd = 'a\0b \ud800'
      const kept = 'a\u{FFFD}b \u{FFFD}'
      const store = some(0)
      await store.change(ORG.orgId, {}, () => ({
        org: { ...ORG, used: 2, activeLocks: 1, orgSwitch: { ...ORG.orgSwitch, reason: odd } },
        devices: [
          deviceRecord('a', 1, { reason: odd, labels: { [odd]: odd } }),
          deviceRecord('b', 2, { labels: { 'x,': ':', ',y': 'z' } }),
        ],
        keys: [keyRecord('k-2', { name: odd })],
        locks: [lockRecord('l-1', 'z', { reason: odd })],
        audit: [auditEntry('odd', { reason: odd, before: odd, after: { pattern: odd } })],
        result: undefined,
      }))
      const [row] = await store.listAudit(ORG.orgId, { after: 0, limit: 1 })
      expect(row).toMatchObject({
        reason: kept,
        before: odd,
        after: { pattern: odd },
        hash: row && rowHash(row),
      })
      expect(await store.findKey('k-2')).toMatchObject({ name: kept })
      const find = async (label: { name: string; value: string }) =>
        (
          await store.change(ORG.orgId, { devices: { label } }, (snapshot) => ({ result: snapshot?.devices }))
        ).result?.map(({ reason, labels }) => ({ reason, labels }))
      expect(await find({ name: odd, value: odd })).toEqual([{ reason: kept, labels: { [odd]: odd } }])
      expect(await find({ name: ',y', value: 'z' })).toHaveLength(1)
      // A part of another member's text.
      expect(await find({ name: ':', value: ',' })).toEqual([])
      expect(await store.findKey('k\0')).toBeUndefined()
      expect((await store.reader.read(KEY.keyId, ['a\0', '\ud800']))?.devices).toEqual([undefined, undefined])
      expect(await store.locksOn(ORG.orgId, 'z\0:\ud800')).toEqual([])
      const page = { order: 'oldest', from: 0, limit: 9 } as const
      expect((await store.searchAudit(ORG.orgId, { device: odd }, page)).rows).toHaveLength(1)
    })

    test('changes of one org that wait hold up no stop in another one', async () => {
      await some(0).change('o_2', {}, () => ({ org: { ...ORG, orgId: 'o_2' }, result: undefined }))
      const other = new Client({ connectionString: url })
      await other.connect()
      onTestFinished(() => other.end())
      await other.query(
        `BEGIN; SELECT FROM holdpoint_control_plane.orgs WHERE org_id = '${ORG.orgId}' FOR UPDATE`,
      )
      const change = (orgId: string) =>
        some(0).change(orgId, {}, (snapshot) => ({ result: snapshot?.org.orgId }))
      const waiting = Promise.all(Array.from({ length: 20 }, () => change(ORG.orgId)))
      expect(await change('o_2')).toMatchObject({ result: 'o_2' })
      await other.query('COMMIT')
      expect(await waiting).toHaveLength(20)
    })

    test('reads that take long hold up no stop', async () => {
      const store = some(0)
      const other = new Client({ connectionString: url })
      await other.connect()
      onTestFinished(() => other.end())
      await other.query('BEGIN; LOCK TABLE holdpoint_control_plane.decisions')
      const reads = Promise.all(
        Array.from({ length: 50 }, () => store.listDecisions(ORG.orgId, {}, { limit: 1 })),
      )
      expect(await store.findKey(KEY.keyId)).toEqual(KEY)
      expect(await store.findSession('none')).toBeUndefined()
      expect(await store.change(ORG.orgId, { isStop: true }, () => ({ result: 'done' }))).toMatchObject({
        result: 'done',
      })
      await other.query('COMMIT')
      expect(await reads).toHaveLength(50)
    })

    test.each(['40001', '40P01'])(
      'a change that gave way to another transaction (%s) is decided anew',
      async (state) => {
        await server.query(url, failingOnce(state))
        onTestFinished(async () => void (await server.query(url, 'DROP SCHEMA failing CASCADE')))
        let decided = 0
        const changed = await some(0).change(ORG.orgId, { keyId: KEY.keyId }, (snapshot) => {
          decided += 1
          return { keys: [keyRecord('k-2')], audit: [auditEntry('one')], result: snapshot?.key?.keyId }
        })
        expect(changed).toMatchObject({ result: KEY.keyId, audit: [{ seq: 1 }] })
        expect(decided).toBe(2)
        expect(await some(1).findKey('k-2')).toEqual(keyRecord('k-2'))
      },
    )
  })

  test('while Postgres is down each call is refused, and none once it is back', async () => {
    const store = await open()
    onTestFinished(async () => {
      await store.close()
      await empty()
    })
    await store.change(ORG.orgId, {}, () => ({ org: ORG, keys: [KEY], result: undefined }))
    expect(await store.reader.read(KEY.keyId, [])).toMatchObject({ orgEpoch: 0 })
    server.kill()
    await expect(store.reader.read(KEY.keyId, [])).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' })
    await expect(store.change(ORG.orgId, {}, () => ({ result: 0 }))).rejects.toMatchObject({
      code: 'STORE_UNREACHABLE',
    })
    await server.start()
    expect(await store.reader.read(KEY.keyId, [])).toMatchObject({ orgEpoch: 0 })
    expect(await store.reader.read('none', [])).toBeUndefined()
  })

  test('G1: a server in recovery is never believed, also by a connection that nobody looked at', async () => {
    const store = await open()
    const decisions = openDecisionReader({
      url,
      poolSize: 2,
      timeoutMs: 10_000,
      consistency: 'primary',
      admit: async () => () => true,
    })
    onTestFinished(async () => {
      await Promise.all([store.close(), decisions.close()])
      await empty()
    })
    await store.change(ORG.orgId, {}, () => ({ org: ORG, keys: [KEY], result: undefined }))
    expect(await decisions.reader.read(KEY.keyId, ['a'])).toMatchObject({ orgEpoch: 0 })
    const signal = join(server.dir, 'data', 'standby.signal')
    await server.stop()
    await writeFile(signal, '')
    await server.start()
    for (const keyId of [KEY.keyId, 'none']) {
      await expect(decisions.reader.read(keyId, ['a'])).rejects.toMatchObject({ code: 'STORE_IN_RECOVERY' })
    }
    await expect(store.reader.read(KEY.keyId, [])).rejects.toMatchObject({ code: 'STORE_IN_RECOVERY' })
    await expect(store.findKey(KEY.keyId)).rejects.toMatchObject({ code: 'STORE_IN_RECOVERY' })
    await server.stop()
    await rm(signal)
    await server.start()
    expect(await decisions.reader.read(KEY.keyId, ['a'])).toMatchObject({ orgEpoch: 0 })
    expect(await store.reader.read(KEY.keyId, [])).toMatchObject({ orgEpoch: 0 })
  })
})

/** The first key that is written fails; a sequence is not rolled back. */
const failingOnce = (state: string) => `
  CREATE SCHEMA failing;
  CREATE SEQUENCE failing.times;
  CREATE FUNCTION failing.once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF nextval('failing.times') = 1 THEN RAISE SQLSTATE '${state}'; END IF;
    RETURN NEW;
  END $$;
  CREATE TRIGGER failing BEFORE INSERT ON holdpoint_control_plane.keys FOR EACH ROW EXECUTE FUNCTION failing.once()`

// Without the checks of foreign keys, which would want an order.
const EMPTY = `DO $$
  DECLARE name text;
  BEGIN
    SET LOCAL session_replication_role = replica;
    FOR name IN
      SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
      WHERE schemaname = 'holdpoint_control_plane'
        AND tablename NOT IN ('migrations', 'meta', 'store_identity', 'chores')
    LOOP
      EXECUTE 'DELETE FROM ' || name;
    END LOOP;
  END $$`
