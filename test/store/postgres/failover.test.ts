import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'

import type { Change } from '../../../src/control-plane/store.ts'
import { createLogger } from '../../../src/log.ts'
import { openControlPlaneStore } from '../../../src/store/postgres/control-plane.ts'
import { createDatabase } from '../../../src/store/postgres/database.ts'
import { tellStore } from '../../../src/store/postgres/enter.ts'
import { KEY, ORG } from '../../contract/control-plane-records.ts'
import { enter, said, seed, stateOf, type EnteredNode } from '../../fixtures/entered-store.ts'
import { noPostgres, startReplicated, type TestPostgres } from '../../fixtures/postgres.ts'
import { startRoute, type Route } from '../../fixtures/route.ts'

describe.skipIf(noPostgres)('a failover', { timeout: 20_000 }, () => {
  let primary: TestPostgres
  let standby: TestPostgres
  let route: Route
  /** Of whichever is the primary. */
  let url: string
  /** The same database on the standby, past the route. */
  let onStandby: string

  beforeEach(async () => {
    ;[primary, standby] = await startReplicated()
    onTestFinished(async () => {
      await primary.close()
      await standby.close()
    })
    route = await startRoute(primary.port)
    const direct = await primary.createDatabase()
    url = route.through(direct)
    onStandby = direct.replace(String(primary.port), String(standby.port))
  })

  async function seeded(): Promise<EnteredNode> {
    const node = await enter(url)
    await seed(primary, url)
    return node
  }
  async function failOver(): Promise<void> {
    primary.kill()
    await standby.promote()
    route.cut()
    route.to(standby.port)
  }
  const revoke = ({ database }: EnteredNode) =>
    database.transact((session) => session.run("UPDATE devices SET revoked = 1 WHERE org_id = 'org_a'"))
  const setStandbys = async (names: string, node: EnteredNode) => {
    await primary.configure(`synchronous_standby_names = '${names}'`)
    primary.reload()
    await expect
      .poll(
        async () =>
          ((await node.watch.durability()) as { synchronousStandbyNames: string }).synchronousStandbyNames,
      )
      .toBe(names)
  }

  test('G5: with synchronous replication every acked stop is there, and everything goes on', async () => {
    const node = await seeded()
    await revoke(node)
    // The old primary lives on, and so do connections to it.
    await standby.promote()
    route.to(standby.port)
    const ports = () =>
      Promise.all(
        Array.from({ length: 4 }, async () => {
          const [row] = await node.database.query('SELECT inet_server_port() AS port, pg_sleep(0.01)')
          return row?.['port']
        }),
      ).catch(() => [])
    await expect.poll(ports).toEqual(Array.from({ length: 4 }, () => standby.port))
    expect(said(node)).toMatch(/a standby took over with all that was acked.* \(timeline 1 to 2\)/)
    expect(node.entered.generation()).toBe(0)
    expect(await stateOf(standby, onStandby)).toMatchObject({ disabled: [0, 0], live_keys: 2 })
    expect(await node.database.query("SELECT revoked FROM devices WHERE org_id = 'org_a'")).toEqual([
      { revoked: 1 },
    ])

    // The old one is refused when the route leads back to it.
    route.to(primary.port)
    route.cut()
    await expect
      .poll(() => node.database.query('SELECT 1').catch(({ code }: { code: string }) => code))
      .toBe('STORE_OLDER')
  })

  test('G5, G6: without it stops may be missing: a new generation, every org disabled, and no restart', async () => {
    const node = await seeded()
    // Its answers would be old.
    await expect(enter(onStandby)).rejects.toMatchObject({ code: 'STORE_IN_RECOVERY' })
    await setStandbys('', node)
    await node.watch.look()
    await failOver()
    await node.watch.look()
    expect(said(node)).toMatch(
      /a new timeline, and commits waited for no standby( of late)? \(timeline 1 before, 2 now\)/,
    )
    const state = await stateOf(standby, onStandby)
    expect(state).toMatchObject({ disabled: [1, 1], live_keys: 0, generation: node.entered.generation() })
    expect(state.generation).toBeGreaterThan(0)
    expect(await node.database.query('SELECT 1 AS one')).toEqual([{ one: 1 }])
  })

  test('G5, G6: a standby that was lost, and missed that commits waited for it no more: a new generation', async () => {
    const node = await seeded()
    await standby.stop()
    await setStandbys('', node)
    await node.watch.look()
    await revoke(node)
    // With the machine of the primary this node dies, which alone knew.
    await node.close()
    primary.kill()
    await standby.start()
    await standby.promote()
    route.cut()
    route.to(standby.port)
    const other = await enter(url)
    expect(said(other)).toMatch(/this node has not seen of late whether commits waited for a standby/)
    expect(await stateOf(standby, onStandby)).toMatchObject({ disabled: [1, 1], live_keys: 0 })
    expect(other.entered.generation()).toBeGreaterThan(0)
  })

  test('G5, G6: so does a node that was cut off from the primary for minutes before', async () => {
    let aheadMs = 0
    const clock = {
      now: () => ({ monotonicMs: performance.now() + aheadMs, wallMs: Date.now() + aheadMs }),
    }
    const node = await enter(url, { clock })
    await seed(primary, url)
    await failOver()
    aheadMs = 121_000
    await node.watch.look()
    expect(said(node)).toMatch(/this node has not seen of late whether commits waited/)
    expect(await stateOf(standby, onStandby)).toMatchObject({ disabled: [1, 1], live_keys: 0 })
  })

  test('G5, G6: so does one that saw that they did not, though another one has noted that nothing is missing', async () => {
    const [trusting, knowing] = [await seeded(), await enter(url)]
    await trusting.close()
    const { admit } = trusting.entered
    await setStandbys('', knowing)
    await knowing.watch.look()
    // This is what the standby has not heard any more.
    await primary.query(url, 'UPDATE holdpoint_control_plane.store_identity SET synchronous_at_ms = 1')
    await setStandbys('standby', knowing)
    await primary.query(url, 'UPDATE holdpoint_control_plane.store_identity SET synchronous_at_ms = 1')
    await failOver()
    const database = createDatabase({
      url,
      schema: 'holdpoint_control_plane',
      name: 'trusting',
      poolSize: 1,
      timeoutMs: 1000,
      admit,
    })
    onTestFinished(() => database.close())
    await expect
      .poll(() => database.query('SELECT 1 AS one').catch(({ code }: { code: string }) => code))
      .toEqual([{ one: 1 }])
    expect(trusting.entered.generation()).toBe(0)
    await knowing.watch.look()
    expect(said(knowing)).toMatch(/commits waited for no standby, as this node has seen/)
    expect(await stateOf(standby, onStandby)).toMatchObject({ disabled: [1, 1], live_keys: 0 })
  })

  test('what an operator has said is believed by nodes that have seen that commits waited for nobody', async () => {
    const node = await seeded()
    await setStandbys('', node)
    await node.watch.look()
    // A switch-over in good order; nodes are led there when it is said.
    await primary.stop()
    await standby.promote()
    await tellStore({ url: onStandby, timeoutMs: 1000 }, 'nothing lost')
    route.cut()
    route.to(standby.port)
    await node.watch.look()
    expect(said(node)).toMatch(/another node has noted it: generation 0/)
    expect(await stateOf(standby, onStandby)).toMatchObject({ generation: 0, disabled: [0, 0], live_keys: 2 })
  })

  test('G5: a change that the standby did not confirm is told as unknown, and never as done', async () => {
    const node = await seeded()
    const unknown = async (interrupt: (pid: number) => Promise<unknown> | void) => {
      standby.freeze()
      const refused = expect(revoke(node)).rejects.toMatchObject({ code: 'STORE_OUTCOME_UNKNOWN' })
      await interrupt(await waitsForStandby(primary, url))
      await refused
      standby.thaw()
    }
    await unknown((pid) => primary.query(url, `SELECT pg_cancel_backend(${pid})`))
    // It is visible here, and perhaps nowhere else.
    expect(
      await primary.query(url, "SELECT revoked FROM holdpoint_control_plane.devices WHERE org_id = 'org_a'"),
    ).toEqual([{ revoked: 1 }])
    await unknown(() => primary.kill())
  })

  test('a stop that no standby can confirm is in force all the same, and holds up no other one', async () => {
    const store = await openControlPlaneStore({
      url: route.through(await primary.createDatabase()),
      poolSize: 4,
      timeoutMs: 300,
      consistency: 'primary',
      log: createLogger({ level: 'silent' }),
    })
    onTestFinished(() => store.close())
    const put = (change: Omit<Change<undefined>, 'result'>) =>
      store.change(ORG.orgId, {}, () => ({ ...change, result: undefined }))
    await put({ org: ORG, keys: [KEY] })
    standby.freeze()
    for (const epoch of [1, 2]) {
      await expect(put({ org: { ...ORG, epoch } })).rejects.toMatchObject({ code: 'STORE_OUTCOME_UNKNOWN' })
      await expect.poll(async () => (await store.reader.read(KEY.keyId, []))?.orgEpoch).toBe(epoch)
    }
    standby.thaw()
  })
})

/** Answers whose COMMIT it is. */
async function waitsForStandby(primary: TestPostgres, url: string): Promise<number> {
  for (;;) {
    const [row] = await primary.query(
      url,
      "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' LIMIT 1",
    )
    if (row !== undefined) return Number(row['pid'])
  }
}
