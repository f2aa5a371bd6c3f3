import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'

import { createAdmission } from '../../../src/store/postgres/admit.ts'
import { createDatabase, type OwnConnection } from '../../../src/store/postgres/database.ts'
import { openDecisionReader } from '../../../src/store/postgres/decision-reader.ts'
import { createBarrier } from '../../../src/store/postgres/quorum.ts'
import { enter, seed } from '../../fixtures/entered-store.ts'
import { noPostgres, startReplicated, type TestPostgres } from '../../fixtures/postgres.ts'

const TIMEOUT_MS = 300
const WAITING = "SELECT count(*)::int AS waiting FROM pg_stat_activity WHERE wait_event = 'SyncRep'"

describe.skipIf(noPostgres)('CONSISTENCY=quorum', { timeout: 20_000 }, () => {
  let primary: TestPostgres
  let standby: TestPostgres
  let url: string
  beforeAll(async () => {
    ;[primary, standby] = await startReplicated()
    url = await primary.createDatabase()
  })
  afterAll(async () => {
    await primary?.close()
    await standby?.close()
  })

  async function connection(timeoutMs = TIMEOUT_MS): Promise<OwnConnection> {
    const database = createDatabase({
      url,
      timeoutMs,
      schema: 'holdpoint_control_plane',
      name: 'test',
      poolSize: 1,
    })
    const own = await database.connect('quorum')
    onTestFinished(async () => {
      own.destroy()
      await database.close()
    })
    return own
  }
  function reader(consistency: 'primary' | 'quorum') {
    const settle = () => Promise.reject(new Error('There is nothing to settle.'))
    const { admit } = createAdmission({ label: 'test', settle })
    const opened = openDecisionReader({ url, poolSize: 1, timeoutMs: TIMEOUT_MS, consistency, admit })
    onTestFinished(opened.close)
    return opened.reader
  }
  const transactions = async () => {
    const [row] = await primary.query(
      primary.url,
      'SELECT pg_snapshot_xmax(pg_current_snapshot())::text::int AS n',
    )
    return Number(row?.['n'])
  }

  test('G1: reads that are sent while one message is under way share the next one', async () => {
    const own = await connection(2000)
    const { confirmed } = createBarrier(own, 'test')
    const before = await transactions()
    const answers = await Promise.all(
      Array.from({ length: 500 }, (_, n) => confirmed(() => own.session.query('SELECT $1::int AS n', [n]))),
    )
    expect(answers).toEqual(Array.from({ length: 500 }, (_, n) => [{ n }]))
    expect(await transactions()).toBe(before + 2)
  })

  test('G1: an answer waits for the standby: without it there is none, and with it there is one again', async () => {
    await enter(url)
    await seed(primary, url)
    const [fresh, plain] = [reader('quorum'), reader('primary')]
    expect(await fresh.read('org_a-live', ['a:b:c:d'])).toMatchObject({ orgDisabled: false })
    standby.freeze()
    await expect(fresh.read('org_a-live', ['a:b:c:d'])).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' })
    expect(await plain.read('org_a-live', ['a:b:c:d'])).toMatchObject({ orgDisabled: false })
    // Each question has a new connection: those that were given up do not wait for the standby, until there is no other.
    await expect.poll(() => primary.query(url, WAITING)).toEqual([{ waiting: 0 }])
    standby.thaw()
    expect(await fresh.read('org_a-live', ['a:b:c:d'])).toMatchObject({ orgDisabled: false })
  })

  test('G1: a message whose wait was cancelled confirms nothing, and its connection is gone', async () => {
    const own = await connection(2000)
    const { confirmed } = createBarrier(own, 'test')
    const ended = new Promise<void>((resolve) => own.onEnd(resolve))
    standby.freeze()
    const refused = expect(confirmed(() => own.session.query('SELECT 1'))).rejects.toMatchObject({
      code: 'STORE_NOT_CONFIRMED',
    })
    for (let found = false; !found;) {
      const [row] = await primary.query(
        primary.url,
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'",
      )
      found = row !== undefined
    }
    await refused
    standby.thaw()
    await ended
    await expect(confirmed(() => own.session.query('SELECT 1'))).rejects.toMatchObject({
      code: 'STORE_UNREACHABLE',
    })
  })

  test('G1: nor does one that waited for nobody, because the standbys were taken out of the settings', async () => {
    const own = await connection()
    const { confirmed } = createBarrier(own, 'test')
    await primary.configure("synchronous_standby_names = ''")
    primary.reload()
    await expect
      .poll(() => confirmed(() => own.session.query('SELECT 1')).catch((error: Error) => error.message))
      .toMatch(/synchronous_standby_names is empty/)
    await primary.configure("synchronous_standby_names = 'standby'")
    primary.reload()
    const again = await connection()
    await expect
      .poll(async () => (await again.session.query('SHOW synchronous_standby_names'))[0])
      .toEqual({
        synchronous_standby_names: 'standby',
      })
  })

  test('G1: a primary that was deposed and lives on answers nothing; without quorum it answers what is long over', async () => {
    const [fresh, plain] = [reader('quorum'), reader('primary')]
    const ask = (of: typeof fresh) => of.read('org_b-live', ['a:b:c:d'])
    expect(await ask(fresh)).toMatchObject({ devices: [{ revoked: false }] })
    expect(await ask(plain)).toMatchObject({ devices: [{ revoked: false }] })

    await standby.promote()
    const onStandby = url.replace(String(primary.port), String(standby.port))
    // Acked by the new primary.
    await standby.query(onStandby, 'UPDATE holdpoint_control_plane.devices SET revoked = 1')

    // Why there is CONSISTENCY=quorum, and why without it the old primary must be fenced off.
    expect(await ask(plain)).toMatchObject({ devices: [{ revoked: false }] })
    await expect(ask(fresh)).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' })
    await expect(ask(fresh)).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' })
  })
})
