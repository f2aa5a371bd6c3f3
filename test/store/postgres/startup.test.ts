import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'

import { openDecisionReader } from '../../../src/store/postgres/decision-reader.ts'
import {
  assertCanStart,
  assertDurable,
  AT_RISK,
  durabilityOf,
  reportOf,
  warningsOf,
} from '../../../src/store/postgres/durability.ts'
import type { Settings } from '../../../src/store/postgres/identity.ts'
import { enter, said, seed } from '../../fixtures/entered-store.ts'
import { noPostgres, startPostgres, type TestPostgres } from '../../fixtures/postgres.ts'

const SETTINGS: Settings = {
  version: '18.4',
  versionNumber: 180004,
  fsync: 'on',
  fullPageWrites: 'on',
  synchronousCommit: 'on',
  synchronousStandbyNames: '',
  synchronousStandbys: 0,
  pointInTime: false,
}
const codeOf = (act: () => void) => {
  try {
    act()
    return undefined
  } catch (error) {
    return (error as { code: string }).code
  }
}

describe('which guarantees hold across a failover', () => {
  test.each([
    ['', 'primary', { g1: 'no', g5: 'no' }],
    ['standby', 'primary', { g1: 'fencing', g5: 'holds' }],
    ['standby', 'quorum', { g1: 'holds', g5: 'holds' }],
    ['FIRST 1 (a)', 'quorum', { g1: 'holds', g5: 'holds' }],
    ['ANY 2 (a, b)', 'quorum', { g1: 'holds', g5: 'holds' }],
    ['2 (a, b)', 'quorum', { g1: 'holds', g5: 'holds' }],
    // Not all of them have to confirm, so one that is promoted may lack a stop.
    // Nor do the others leave off confirming for the old primary.
    ['ANY 1 (a, b)', 'quorum', { g1: 'fencing', g5: 'promotion' }],
    ['ANY 2 (a, b, c)', 'quorum', { g1: 'fencing', g5: 'promotion' }],
    ['FIRST 2 (a, b, c)', 'quorum', { g1: 'fencing', g5: 'promotion' }],
    ['a, b', 'quorum', { g1: 'fencing', g5: 'promotion' }],
    ['*', 'quorum', { g1: 'fencing', g5: 'promotion' }],
    ['ANY 1 (*)', 'primary', { g1: 'fencing', g5: 'promotion' }],
  ] as const)('synchronous_standby_names %j with CONSISTENCY=%s: %o', (names, consistency, failover) => {
    const durability = durabilityOf({ ...SETTINGS, synchronousStandbyNames: names }, consistency)
    expect(durability.failover).toEqual(failover)
    expect(reportOf(durability).join('\n')).toMatch(/G5 \(durable\) .*\n.*G1 \(fresh\)/)
  })

  test.each([
    [
      'ANY 1 (a, b, c)',
      /G5 .* holds only where .* as far as the furthest of any 3 of them: 1 of 3 standbys confirms a commit/,
      /G1 .* holds only where G5 does and the old primary is fenced off.* 1 of 3 standbys confirms a commit, so those that are left can go on/,
    ],
    ['FIRST 2 (a, b, c)', /the furthest of any 2 of them: 2 of 3/, /fenced off.*: 2 of 3/],
    ['*', /the furthest of all there are: any 1 of those that are there/, /fenced off.*: any 1 of those/],
    ['ANY 2 (a, b)', /holds: each standby/, /holds: each standby/],
  ])('CONSISTENCY=quorum with %j is told exactly', (names, g5, g1) => {
    const lines = reportOf(durabilityOf({ ...SETTINGS, synchronousStandbyNames: names }, 'quorum'))
    expect(lines.at(-2)).toMatch(g5)
    expect(lines.at(-1)).toMatch(g1)
  })
})

describe('a server that cannot work', () => {
  test('G5: commits that are acked before they are on a disk', () => {
    for (const [change, code] of [
      [{}, undefined],
      [{ synchronousCommit: 'remote_apply' }, undefined],
      [{ fsync: 'off' }, 'STORE_NOT_DURABLE'],
      [{ synchronousCommit: 'off' }, 'STORE_NOT_DURABLE'],
      [{ synchronousCommit: 'local' }, 'STORE_NOT_DURABLE'],
      [{ synchronousCommit: 'remote_write' }, 'STORE_NOT_DURABLE'],
    ] as const) {
      expect([change, codeOf(() => assertDurable({ ...SETTINGS, ...change }, 'db', AT_RISK.stops))]).toEqual([
        change,
        code,
      ])
    }
  })

  test('a version that lacks what is needed; others than the tested one are warned of', () => {
    const old = { ...SETTINGS, version: '12.2', versionNumber: 120002 }
    expect(codeOf(() => assertCanStart(old, 'primary', 'db'))).toBe('STORE_TOO_OLD')
    const untested = { ...SETTINGS, version: '15.3', versionNumber: 150003 }
    expect(codeOf(() => assertCanStart(untested, 'primary', 'db'))).toBeUndefined()
    expect(warningsOf(untested)).toEqual(['Postgres 15.3 is not what the tests run with, which is 18.'])
    expect(warningsOf(SETTINGS)).toEqual([])
  })
})

describe.skipIf(noPostgres)('the start of a node', () => {
  let server: TestPostgres
  let url: string
  beforeAll(async () => {
    server = await startPostgres()
  })
  afterAll(() => server?.close())
  beforeEach(async () => {
    url = await server.createDatabase()
  })
  const set = async (setting: string, expected: string) => {
    const [name = ''] = setting.split(' ')
    await server.configure(setting)
    server.reload()
    await expect.poll(async () => (await server.query(server.url, `SHOW ${name}`))[0]?.[name]).toBe(expected)
  }

  test('says how the server is set up, and what holds', async () => {
    const node = await enter(url)
    expect(said(node)).toMatch(
      /^Postgres 18\.\d+, fsync=on, synchronous_commit=on, synchronous standbys: none/,
    )
    expect(said(node)).toMatch(/While the primary stays the same, .* fresh \(G1\) and durable \(G5\)/)
    expect(await node.watch.durability()).toMatchObject({
      kind: 'postgres',
      failover: { g1: 'no', g5: 'no' },
    })
  })

  test('CONSISTENCY=quorum without a synchronous standby is refused', async () => {
    await expect(enter(url, { consistency: 'quorum' })).rejects.toMatchObject({
      code: 'STORE_NOT_SYNCHRONOUS',
    })
  })

  test('G5: synchronous_commit is on for us, whatever the database says', async () => {
    const name = new URL(url).pathname.slice(1)
    await server.query(server.url, `ALTER DATABASE ${name} SET synchronous_commit = off`)
    const node = await enter(url)
    expect(await node.watch.durability()).toMatchObject({ synchronousCommit: 'on' })
  })

  test('G5: without fsync it is refused, at the start and by connections that were open; without full pages it is warned of', async () => {
    const node = await enter(url)
    await seed(server, url)
    const { admit } = node.entered
    const decisions = openDecisionReader({ url, poolSize: 2, timeoutMs: 1000, consistency: 'primary', admit })
    onTestFinished(decisions.close)
    const ask = () => decisions.reader.read('org_a-live', ['a:b:c:d'])
    const change = () => node.database.transact(({ run }) => run('UPDATE orgs SET epoch = epoch + 1'))
    const codes = () =>
      Promise.all(
        [ask, ask, ask, change, change].map(async (each) => {
          try {
            await each()
            return 'done'
          } catch (error) {
            return (error as { code: string }).code
          }
        }),
      )
    expect(await codes()).toEqual(Array(5).fill('done'))
    await set('fsync = off', 'off')
    await expect(enter(url)).rejects.toMatchObject({ code: 'STORE_NOT_DURABLE' })
    await node.watch.look()
    expect(said(node)).toMatch(/runs with fsync=off/)
    // Nothing is acked or allowed, for as long as it is so.
    for (let again = 0; again < 2; again++) {
      expect(await codes()).toEqual(Array(5).fill('STORE_NOT_DURABLE'))
      await node.watch.look()
    }
    await set('fsync = on', 'on')
    expect(await codes()).toEqual(Array(5).fill('done'))
    await set('full_page_writes = off', 'off')
    expect(said(await enter(url))).toMatch(/full_page_writes is off: a power cut can damage the database/)
    await set('full_page_writes = on', 'on')
  })

  test('its user needs no special right', async () => {
    const name = new URL(url).pathname.slice(1)
    const role = `role_${name}`
    await server.query(
      server.url,
      `CREATE ROLE ${role} LOGIN PASSWORD 'x'; ALTER DATABASE ${name} OWNER TO ${role}`,
    )
    const node = await enter(url.replace('holdpoint:test', `${role}:x`))
    expect(await node.watch.durability()).toMatchObject({ fsync: 'on' })
  })

  test('a database that lost its tables is told from one that is new', async () => {
    const node = await enter(url)
    await server.query(url, 'DROP SCHEMA holdpoint_control_plane CASCADE')
    await node.watch.look()
    expect(said(node)).toMatch(/does not say which store it is/)
  })
})
