import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'

import { createChainVerifier } from '../../../src/control-plane/audit-verify.ts'
import { firstEpoch } from '../../../src/control-plane/generation.ts'
import { audit } from '../../../src/store/control-plane-rows.ts'
import { openDecisionReader } from '../../../src/store/postgres/decision-reader.ts'
import { tellStore } from '../../../src/store/postgres/enter.ts'
import { followAdmission } from '../../../src/store/postgres/follow.ts'
import { copyByRows, enter, ORGS, said, seed, stateOf } from '../../fixtures/entered-store.ts'
import { noPostgres, startPostgres, type TestPostgres } from '../../fixtures/postgres.ts'

describe.skipIf(noPostgres)('a database that was restored', () => {
  let server: TestPostgres
  let url: string
  beforeAll(async () => {
    server = await startPostgres()
  })
  afterAll(() => server?.close())
  beforeEach(async () => {
    url = await server.createDatabase()
    const first = await enter(url)
    await seed(server, url)
    await first.close()
  })

  const sql = (text: string) => server.query(url, text.replaceAll('$$', 'holdpoint_control_plane.'))

  test('one that was not goes on as it was', async () => {
    const node = await enter(url)
    expect(node.entered.generation()).toBe(0)
    expect(await stateOf(server, url)).toMatchObject({ generation: 0, disabled: [0, 0], live_keys: 2 })
  })

  test('G6: a dump that is restored into a new database begins a new generation, with everything stopped', async () => {
    const restored = await server.createDatabase()
    await (await enter(restored)).close()
    await copyByRows([server, url], [server, restored])

    const node = await enter(restored)
    const state = await stateOf(server, restored)
    expect(state).toMatchObject({
      disabled: [1, 1],
      live_keys: 0,
      waiting: 0,
      open_sessions: 0,
      generation: node.entered.generation(),
    })
    expect(state.generation).toBeGreaterThan(0)
    expect(new Set(state.epochs)).toEqual(new Set([firstEpoch(state.generation) + 1]))
    expect(state.reasons[0]).toMatch(/^Restored from a dump: stops since then are not in it/)
    expect(said(node)).toMatch(/restored, or may lack stops: tables made anew/)
    // The store that it was made from is none the worse for it.
    expect(await stateOf(server, url)).toMatchObject({ generation: 0, disabled: [0, 0] })
  })

  test('G6: so does one that is restored on another server', async () => {
    const other = await startPostgres()
    onTestFinished(() => other.close())
    const restored = await other.createDatabase()
    await (await enter(restored)).close()
    await copyByRows([server, url], [other, restored])
    const node = await enter(restored)
    expect(await stateOf(other, restored)).toMatchObject({ disabled: [1, 1], live_keys: 0 })
    expect(said(node)).toMatch(/another server \(system identifier \d+ before, \d+ now\)/)
  })

  test('G6: and one that its operator marks; its audit chains stay intact, and other nodes are told', async () => {
    await sql('UPDATE $$store_identity SET restored_at_ms = 1')
    const node = await enter(url)
    expect(await stateOf(server, url)).toMatchObject({ disabled: [1, 1], live_keys: 0 })
    for (const org of ORGS) {
      const found = await node.database.query('SELECT * FROM audit WHERE org_id = $1 ORDER BY seq', [org])
      const chain = createChainVerifier(org)
      for (const row of found) chain.add(audit.of(row))
      expect(chain.end()).toMatchObject({ intact: true, rows: 2 })
      expect(found.map(({ action }) => action)).toEqual(['org.disable', 'key.burn'])
    }
    const news = await sql(
      "SELECT org_id, first_seq, last_seq FROM $$news WHERE kind = 'audit' ORDER BY org_id",
    )
    expect(news).toEqual(ORGS.map((org_id) => ({ org_id, first_seq: '1', last_seq: '2' })))
    // Once.
    const generation = node.entered.generation()
    expect((await enter(url)).entered.generation()).toBe(generation)
  })

  test('its keys are kept when the operator says so', async () => {
    await sql('UPDATE $$store_identity SET restored_at_ms = 1, keep_keys = 1')
    await enter(url)
    expect(await stateOf(server, url)).toMatchObject({ disabled: [1, 1], live_keys: 2, open_sessions: 0 })
  })

  test('of three nodes that start at once, one begins the generation', async () => {
    await sql('UPDATE $$store_identity SET restored_at_ms = 1')
    const nodes = await Promise.all([enter(url), enter(url), enter(url)])
    expect(new Set(nodes.map(({ entered }) => entered.generation())).size).toBe(1)
    expect(await sql("SELECT count(*)::int AS n FROM $$audit WHERE action = 'org.disable'")).toEqual([
      { n: 2 },
    ])
    expect(nodes.filter((node) => said(node).includes('has begun'))).toHaveLength(1)
  })

  test('nodes that are running begin it too, without a restart', async () => {
    const nodes = await Promise.all([enter(url), enter(url)])
    await sql('UPDATE $$store_identity SET restored_at_ms = 1')
    await Promise.all(nodes.map(({ watch }) => watch.look()))
    const { generation, disabled } = await stateOf(server, url)
    expect(disabled).toEqual([1, 1])
    expect(nodes.map(({ entered }) => entered.generation())).toEqual([generation, generation])
    expect(generation).toBeGreaterThan(0)
  })

  test('G2, G6: until then no validate is answered, and no thread that serves them begins it by itself', async () => {
    const node = await enter(url)
    // Nobody looks any more.
    await node.close()
    const told: string[] = []
    const { admit, learn } = followAdmission({
      label: 'test',
      learned: node.entered.knowledge.learned(),
      onUnknown: () => void told.push('unknown'),
    })
    const reader = openDecisionReader({ url, poolSize: 1, timeoutMs: 1000, consistency: 'primary', admit })
    onTestFinished(reader.close)
    await sql('UPDATE $$store_identity SET restored_at_ms = 1')
    const ask = () => reader.reader.read('org_a-live', ['a:b:c:d'])
    await expect(ask()).rejects.toMatchObject({ code: 'STORE_RESTORED' })
    expect(told).toEqual(['unknown'])
    expect(await stateOf(server, url)).toMatchObject({ generation: 0, disabled: [0, 0] })
    const after = await enter(url)
    // It was begun by a node that this thread has heard nothing of.
    await expect(ask()).rejects.toMatchObject({ code: 'STORE_RESTORED' })
    learn(after.entered.knowledge.learned())
    expect(await ask()).toMatchObject({ orgDisabled: true, key: { endedAs: 'burned' } })
  })

  test('G6: a copy that lacks what this node has acked is refused, also after the node was started anew', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'holdpoint-seen-'))
    onTestFinished(() => rm(dir, { recursive: true }))
    const seenFile = join(dir, 'seen.json')
    const node = await enter(url, { seenFile })
    const stop = node.entered.noting(async (_, __, decide) => ({
      result: decide(undefined).result,
      audit: [await auditRow()],
    }))
    const auditRow = async () => {
      await sql(`INSERT INTO $$audit (org_id, seq, prev_hash, hash, id, at_ms, actor, action)
        VALUES ('org_a', 1, '', 'h1', 'i', 1, 'k', 'device.revoke')`)
      return { orgId: 'org_a', seq: 1, hash: 'h1' } as never
    }
    await stop('org_a', {}, () => ({ result: undefined }))
    await node.watch.look()
    expect(await node.database.query('SELECT 1 AS one')).toEqual([{ one: 1 }])

    // As a cold copy of the directory from an hour ago: the same server, the same tables, and the stop is not there.
    await sql('DELETE FROM $$audit')
    await server.query(
      server.url,
      'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1',
      ['test'],
    )
    // A connection that was just ended may not know it yet.
    await expect
      .poll(() => node.database.query('SELECT 1 AS one').catch(({ code }: { code: string }) => code))
      .toBe('STORE_OLDER')
    await expect(enter(url, { seenFile })).rejects.toMatchObject({ code: 'STORE_OLDER' })
    // Who says that it was restored can go on.
    await sql('UPDATE $$store_identity SET restored_at_ms = 1')
    await node.watch.look()
    expect(await stateOf(server, url)).toMatchObject({ disabled: [1, 1] })
    expect(await node.database.query('SELECT 1 AS one')).toEqual([{ one: 1 }])
  })

  test('G6: the database of another control plane is refused by a node that is running', async () => {
    const node = await enter(url)
    await sql("UPDATE $$store_identity SET store_id = 'another'")
    await node.watch.look()
    expect(said(node)).toMatch(/belongs to another control plane/)
  })

  test('G6: a generation that was given once is never given again', async () => {
    const node = await enter(url)
    await sql('UPDATE $$store_identity SET restored_at_ms = 1')
    await node.watch.look()
    const first = node.entered.generation()
    // The same backup again, on the same server.
    await sql(
      "UPDATE $$meta SET value = 0 WHERE name = 'generation'; UPDATE $$store_identity SET restored_at_ms = 1",
    )
    await node.watch.look()
    expect(node.entered.generation()).toBeGreaterThan(first)
  })

  describe('and whose new generation could not be committed', () => {
    let seenFile: string
    beforeEach(async () => {
      const dir = await mkdtemp(join(tmpdir(), 'holdpoint-seen-'))
      onTestFinished(() => rm(dir, { recursive: true }))
      seenFile = join(dir, 'seen.json')
    })
    /** COMMIT itself fails, as with a connection that is lost: a node cannot know of that one whether it went through. */
    const failingCommits = () =>
      sql(`CREATE FUNCTION $$fail() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no commit''; END';
        CREATE CONSTRAINT TRIGGER fails AFTER UPDATE ON $$orgs DEFERRABLE INITIALLY DEFERRED
          FOR EACH ROW EXECUTE FUNCTION $$fail()`)
    const mended = () => sql('DROP TRIGGER fails ON $$orgs')
    const begun = async () => Number(JSON.parse(await readFile(seenFile, 'utf8')).begun)

    test.each([
      ['knew', true],
      ['had never seen', false],
    ])('goes on as it was for a node that %s it, when nothing was lost', async (_name, wasHere) => {
      if (wasHere) await (await enter(url, { seenFile })).close()
      await sql('UPDATE $$store_identity SET restored_at_ms = 1')
      await failingCommits()
      await expect(enter(url, { seenFile })).rejects.toThrow('no commit')
      await mended()
      await tellStore({ url, timeoutMs: 1000, seenFile }, 'nothing lost')
      for (let starts = 0; starts < 2; starts++) {
        const node = await enter(url, { seenFile })
        expect(node.entered.generation()).toBe(0)
        await node.close()
      }
      expect(await stateOf(server, url)).toMatchObject({ generation: 0, disabled: [0, 0], live_keys: 2 })
      expect(await begun()).toBeGreaterThan(0)
    })

    test('G6: that generation is never given again, neither by the same process nor by the next one', async () => {
      const node = await enter(url, { seenFile })
      await sql('UPDATE $$store_identity SET restored_at_ms = 1')
      await failingCommits()
      await node.watch.look()
      const first = await begun()
      await node.watch.look()
      const second = await begun()
      expect(second).toBeGreaterThan(first)
      await node.close()
      await mended()
      expect((await enter(url, { seenFile })).entered.generation()).toBeGreaterThan(second)
    })

    test('G6: one that failed before its commit uses none up', async () => {
      const node = await enter(url, { seenFile })
      await sql('UPDATE $$store_identity SET restored_at_ms = 1; ALTER TABLE $$devices RENAME TO away')
      await node.watch.look()
      expect(said(node)).toMatch(/devices/)
      expect(await begun()).toBe(0)
      await sql('ALTER TABLE $$away RENAME TO devices')
    })
  })
})
