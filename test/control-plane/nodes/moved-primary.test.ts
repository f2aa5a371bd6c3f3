import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'

import { PATHS } from '../../../src/machineid/paths.ts'
import { noPostgres, startReplicated, type TestPostgres } from '../../fixtures/postgres.ts'
import { startRoute, type Route } from '../../fixtures/route.ts'
import { PAYMENTS } from '../stops/stream-client.ts'
import { startNodes, type TestNode, type TestNodes } from './nodes-world.ts'

// Threads that answer validates have connections of their own. What the main thread has learned of the store holds for
// each of them, before it acks anything where the store is now.

const OF_VALIDATES = "application_name = 'holdpoint validates'"

describe.skipIf(noPostgres)('threads that answer validates, after a failover', { timeout: 60_000 }, () => {
  let primary: TestPostgres
  let standby: TestPostgres
  let routes: Readonly<Record<'a' | 'b', Route>>
  let world: TestNodes<'a' | 'b'>
  beforeEach(async () => {
    ;[primary, standby] = await startReplicated()
    onTestFinished(async () => {
      await primary.close()
      await standby.close()
    })
    routes = { a: await startRoute(primary.port), b: await startRoute(primary.port) }
    world = await startNodes(primary, ['a', 'b'], {
      through: (name, url) => routes[name].through(url),
      threads: true,
    })
    await world.of.a.post(PATHS.register, { deviceId: PAYMENTS }, world.keys.full)
    // Every thread has its connections.
    expect(new Set(await codes())).toEqual(new Set(['ALLOW']))
  })

  /** What many validates at once are answered, by whichever thread. */
  const codes = ({ url }: TestNode = world.of.a) =>
    Promise.all(
      Array.from({ length: 32 }, async () => {
        const response = await fetch(`${url}${PATHS.validate}`, {
          method: 'POST',
          headers: {
            'x-org-key': world.keys.runtime,
            'content-type': 'application/json',
            connection: 'close',
          },
          body: JSON.stringify({ deviceId: PAYMENTS }),
        })
        const { code } = (await response.json()) as { code: string }
        return code
      }),
    )
  const revoke = async ({ post }: TestNode) => {
    await expect
      .poll(() => post(PATHS.revoke, { deviceId: PAYMENTS, reason: 'test' }, world.keys.stop).catch(String), {
        timeout: 20_000,
      })
      .toMatchObject({ status: 'ok' })
  }
  /** As connections that break one by one. */
  const end = (which: string) =>
    primary.query(
      world.databaseUrl,
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
       WHERE datname = current_database() AND pid <> pg_backend_pid() AND ${which}`,
    )
  const allRefuse = async () => {
    await expect
      .poll(async () => new Set(await codes()), { timeout: 10_000 })
      .toEqual(new Set(['DEVICE_REVOKED']))
  }

  test('G1: nothing is allowed by connections that stayed at the old primary', async () => {
    await standby.promote()
    for (const route of [routes.a, routes.b]) route.to(standby.port)
    await end(`NOT ${OF_VALIDATES}`)
    await revoke(world.of.a)
    expect(await codes()).not.toContain('ALLOW')
    await allRefuse()
  })

  test('G1, G6: nor by new ones to an old primary that came back', async () => {
    await standby.promote()
    for (const route of [routes.a, routes.b]) {
      route.cut()
      route.to(standby.port)
    }
    await revoke(world.of.a)
    routes.a.cut()
    routes.a.to(primary.port)
    for (let again = 0; again < 3; again++) {
      const answered = new Set(await codes())
      expect(answered).not.toContain('ALLOW')
      expect(answered).not.toContain('DEVICE_REVOKED')
    }
    routes.a.cut()
    routes.a.to(standby.port)
    await allRefuse()
  })

  test('G1: and what one of them finds first, the main thread goes by as well', async () => {
    const { a, b } = world.of
    await standby.promote()
    routes.b.cut()
    routes.b.to(standby.port)
    await revoke(b)
    // Only the threads of the other node are led there.
    routes.a.to(standby.port)
    await end(OF_VALIDATES)
    await allRefuse()
    expect(a.store.knowledge.learned().known?.place.timeline).toBe(2)
  })
})
